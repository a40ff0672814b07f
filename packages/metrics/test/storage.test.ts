import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { sharedRedis, spawnNode, startRedis } from '@xiaoke/test-servers';
import { eventually, FakeClock } from '@xiaoke/core/testing';
import {
  createTimeSeriesStore,
  fileStorage,
  memoryStorage,
  redisStorage,
  type ChunkStorage,
  type NewChunk,
} from '@xiaoke/metrics/store';
import { chunkStorageContract } from '@xiaoke/metrics/testing';
import { decodeChunk, encodeChunk } from '../src/store/chunk-codec.ts';

const directories: string[] = [];
function directory(): string {
  const made = mkdtempSync(join(tmpdir(), 'metrics-store-'));
  directories.push(made);
  return made;
}
afterEach(() => {
  for (const made of directories.splice(0)) rmSync(made, { recursive: true, force: true });
});

const shared = await sharedRedis();
let namespaces = 0;

function chunk(start: number, series = 'a', step = 10_000): NewChunk {
  const column = Array.from({ length: 120 }, (_, i) => start + i);
  const payload = encodeChunk({ flags: column.map(() => 1), base: 0, columns: [column] });
  return { labels: { __name__: 'm', series }, kind: 'counter', step, start, slots: 120, payload };
}

type Make = () => { storage: ChunkStorage; again: (() => ChunkStorage) | undefined };
const BACKENDS: Readonly<Record<string, Make>> = {
  memory: () => ({ storage: memoryStorage(), again: undefined }),
  file: () => {
    const path = directory();
    const make = (): ChunkStorage => fileStorage(path, { segmentBytes: 1_000 });
    return { storage: make(), again: make };
  },
  redis: () => {
    const namespace = `metrics-${process.pid}-${(namespaces += 1)}-${Math.random()}`;
    const make = (): ChunkStorage => redisStorage(shared.url, { namespace });
    return { storage: make(), again: make };
  },
};

describe.each(Object.entries(BACKENDS))('the %s storage', (_name, make) => {
  test.each(chunkStorageContract(make))('$name', async ({ run }) => {
    await run();
  });

  test('a store answers the same after it was closed and opened', async () => {
    const { storage, again } = make();
    if (again === undefined) return;
    const clock = new FakeClock();
    const fill = async (
      store: ReturnType<typeof createTimeSeriesStore>,
      from: number,
      count: number,
    ): Promise<void> => {
      for (let i = 0; i < count; i++) {
        await clock.advance(10_000);
        const sample = { labels: { __name__: 'c_total' }, value: (from + i) * 3, kind: 'counter' as const };
        await store.append(clock.now(), [sample]);
      }
    };
    const first = createTimeSeriesStore({ storage, clock });
    await fill(first, 0, 500);
    const time = clock.now();
    const before = await first.query('increase(c_total[20m])', { time });
    await first.close();
    const second = createTimeSeriesStore({ storage: again(), clock });
    expect(await second.query('increase(c_total[20m])', { time })).toEqual(before);
    // The counter begins anew, as the process did.
    await fill(second, 1, 100);
    const after = await second.query('increase(c_total[80m])', { time: clock.now() });
    const [increase] = after.type === 'vector' ? (after.series[0]?.points[0]?.slice(1) ?? []) : [];
    // Eighty minutes are 480 steps of 3, and nothing is seen twice where the two runs meet.
    expect(increase).toBeGreaterThan(1_425);
    expect(increase).toBeLessThanOrEqual(1_443);
    await second.close();
  });
});

describe('files', () => {
  test(
    'a process killed while it flushes, fifty times, loses no acknowledged chunk',
    { timeout: 240_000 },
    async () => {
      const path = directory();
      const acknowledged = new Set<number>();
      const rounds = process.env['XIAOKE_CHAOS'] === 'nightly' ? 500 : 50;
      let next = 0;
      for (let round = 0; round < rounds; round++) {
        const child = spawnNode(new URL('./fixtures/flush-until-killed.ts', import.meta.url), {
          args: [path, String(next)],
        });
        await child.message((message) => message['kind'] === 'ready');
        // At a point of its own each time, in the middle of what it does.
        const enough = 1 + (round % 7);
        await eventually(() => child.messages.length > enough, { interval: 1 });
        await child.kill('SIGKILL');
        for (const message of child.messages)
          if (message['kind'] === 'acknowledged') acknowledged.add(Number(message['n']));
        next += 1_000;
      }
      // And a torn end on top.
      const last =
        readdirSync(path)
          .filter((name) => name.endsWith('.segment'))
          .at(-1) ?? '';
      appendFileSync(join(path, last), Buffer.from([200, 0, 0, 0, 1, 2, 3, 4, 5]));
      const storage = fileStorage(path);
      const stored = await storage.open();
      const payloads = await storage.read(stored.map(({ handle }) => handle));
      const found = new Map<number, number>();
      for (const [i, { start, labels }] of stored.entries()) {
        const values = decodeChunk(payloads[i] ?? new Uint8Array()).columns[0];
        expect(values?.[1]).toBe((start / 120) * 1_000 + Number(labels['series']) + 0.5);
        found.set(start / 120, (found.get(start / 120) ?? 0) + 1);
      }
      expect(acknowledged.size).toBeGreaterThan(rounds);
      for (const n of acknowledged) expect(found.get(n)).toBe(20);
      await storage.close();
    },
  );

  test('a damaged record ends its segment, and what stood before it stays', async () => {
    const path = directory();
    const storage = fileStorage(path);
    await storage.open();
    await storage.write([chunk(0)]);
    await storage.write([chunk(120)]);
    await storage.close();
    const file = join(path, readdirSync(path).find((name) => name.endsWith('.segment')) ?? '');
    const bytes = readFileSync(file);
    bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 255;
    writeFileSync(file, bytes);
    const next = fileStorage(path);
    expect((await next.open()).map(({ start }) => start)).toEqual([0]);
    await next.write([chunk(240)]);
    await next.close();
    const last = fileStorage(path);
    expect((await last.open()).map(({ start }) => start)).toEqual([0, 240]);
    await last.close();
  });

  test('a directory belongs to one process at a time', async () => {
    const path = directory();
    const one = fileStorage(path);
    await one.open();
    await expect(fileStorage(path).open()).rejects.toMatchObject({ code: 'STORE_LOCKED' });
    await one.close();
    writeFileSync(join(path, 'lock'), '999999999');
    const two = fileStorage(path);
    await two.open();
    await two.close();
    expect(() => fileStorage('')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});

test('with Redis away samples are kept, and written when it is back', { timeout: 60_000 }, async () => {
  const redis = await startRedis();
  const clock = new FakeClock();
  const store = createTimeSeriesStore({ storage: redisStorage(redis.url, { namespace: 'away' }), clock });
  const append = async (from: number, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await clock.advance(10_000);
      const sample = { labels: { __name__: 'g' }, value: from + i, kind: 'gauge' as const };
      await store.append(clock.now(), [sample]).catch(() => {});
    }
  };
  await append(0, 130);
  await store.flush();
  expect(store.stats().pending).toBe(0);
  await redis.kill();
  await append(130, 130);
  expect(store.stats().pending).toBeGreaterThan(0);
  await redis.restart();
  await eventually(async () => {
    await store.flush();
    expect(store.stats().pending).toBe(0);
  });
  const result = await store.query('max_over_time(g[30m])', { time: clock.now() });
  expect(result.type === 'vector' && result.series[0]?.points[0]?.[1]).toBe(259);
  await store.close();
  await redis.stop();
});

describe('with a Redis that hangs', { timeout: 60_000 }, () => {
  const step = 10_000;
  const sample = (value: number) => [{ labels: { __name__: 'g' }, value, kind: 'gauge' as const }];

  test('the last minutes are answered, samples are taken, and nothing that was kept is lost', async () => {
    await using redis = await startRedis();
    const clock = new FakeClock();
    const start = clock.now();
    const store = createTimeSeriesStore({
      clock,
      storage: redisStorage(redis.url, { namespace: 'hangs' }),
      storageTimeout: 300,
    });
    const at = (i: number): number => start + i * step;
    // Two chunks of 120 are sealed and kept, a third is open.
    for (let i = 0; i < 250; i++) await store.append(at(i), sample(i));
    await store.flush();
    expect(store.stats().pending).toBe(0);
    redis.pause();
    const ask = async (query: string): Promise<unknown> => {
      const result = await store.query(query, { time: at(249) });
      return result.type === 'vector' && result.series[0]?.points[0]?.[1];
    };
    const before = performance.now();
    // Reaches back into the newest of the kept chunks.
    expect(await ask('min_over_time(g[5m])')).toBe(219);
    expect(performance.now() - before).toBeLessThan(5_000);
    // Further back is Redis's, which is said and not waited for.
    await expect(ask('min_over_time(g[40m])')).rejects.toThrow();
    const again = performance.now();
    await expect(ask('min_over_time(g[40m])')).rejects.toMatchObject({ code: 'PROMQL_EVALUATION' });
    expect(performance.now() - again).toBeLessThan(250);
    for (let i = 250; i < 700; i++) await store.append(at(i), sample(i));
    expect((await store.query('g', { time: at(699) })).type).toBe('vector');
    redis.resume();
    await clock.advance(10_000);
    await eventually(async () => {
      await clock.advance(5_000);
      await store.flush();
      expect(store.stats().pending).toBe(0);
    });
    const counted = await store.query('count_over_time(g[2h])', { time: at(699) });
    expect(counted.type === 'vector' && counted.series[0]?.points[0]?.[1]).toBe(700);
    await store.close();
  });

  test('from the start, questions are refused in time, and answered when it is back', async () => {
    await using redis = await startRedis();
    const clock = new FakeClock();
    const storage = redisStorage(redis.url, { namespace: 'from-the-start' });
    const store = createTimeSeriesStore({ clock, storage, storageTimeout: 300 });
    redis.pause();
    const before = performance.now();
    await expect(store.query('g')).rejects.toThrow();
    await expect(store.append(clock.now(), sample(1))).rejects.toMatchObject({ code: 'PROMQL_EVALUATION' });
    expect(performance.now() - before).toBeLessThan(5_000);
    redis.resume();
    await clock.advance(10_000);
    await eventually(() => store.append(clock.now(), sample(2)));
    const result = await store.query('g', { time: clock.now() });
    expect(result.type === 'vector' && result.series[0]?.points[0]?.[1]).toBe(2);
    await store.close();
  });
});

test('with a storage that takes nothing and never says so, the store stays within its bytes', async () => {
  const clock = new FakeClock();
  const never = new Promise<never>(() => {});
  const memory = memoryStorage();
  const storage: ChunkStorage = {
    bytes: 0,
    open: () => memory.open(),
    write: () => never,
    read: () => never,
    saveHeads: () => never,
    dropBefore: () => never,
    dropOldest: () => Promise.resolve(false),
    close: () => never,
  };
  const store = createTimeSeriesStore({ clock, storage, storageTimeout: 5, maxBytes: 80_000 });
  const start = clock.now();
  let most = 0;
  for (let i = 0; i < 1_200; i++) {
    // A float that does not compress.
    const value = Math.sin(i) * 1e9 + Math.random();
    const samples = [...'abcdefgh'].map((n) => ({
      labels: { __name__: 'g', n },
      value,
      kind: 'gauge' as const,
    }));
    await store.append(start + i * 10_000, samples).catch(() => {});
    await clock.advance(10_000);
    most = Math.max(most, store.stats().bytes);
  }
  expect(most).toBeLessThanOrEqual(80_000);
  expect(store.stats().dropped).toBeGreaterThan(0);
  const before = performance.now();
  await store.close({ timeout: 200 });
  expect(performance.now() - before).toBeLessThan(5_000);
});
