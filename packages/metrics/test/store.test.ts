import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { FakeClock, recordingLogger, trackLeaks } from '@xiaoke/core/testing';
import { createMetricsCollector } from '@xiaoke/metrics';
import {
  createTimeSeriesStore,
  fileStorage,
  memoryStorage,
  type TimeSeriesStore,
} from '@xiaoke/metrics/store';
import { decodeChunk, encodeChunk } from '../src/store/chunk-codec.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const open: TimeSeriesStore[] = [];
afterEach(async () => {
  for (const store of open.splice(0)) await store.close();
});
function make(options: Parameters<typeof createTimeSeriesStore>[0] = {}): {
  store: TimeSeriesStore;
  clock: FakeClock;
} {
  const clock = new FakeClock();
  const store = createTimeSeriesStore({ clock, ...options });
  open.push(store);
  return { store, clock };
}
const labels = (name: string, more: Record<string, string> = {}) => ({ __name__: name, ...more });
async function points(store: TimeSeriesStore, query: string, time: number): Promise<number[]> {
  const result = await store.query(query, { time });
  if (result.type === 'scalar' || result.type === 'string') return [];
  return result.series.flatMap((series) => series.points.map(([, value]) => value));
}

describe('chunks', () => {
  test('any values, gaps and ends come back exactly', () => {
    const value = fc.oneof(
      fc.integer(),
      fc.double(),
      fc.constantFrom(NaN, Infinity, -Infinity, -0, 0, 1e300, 2 ** 53, 0.1, 123_456.789),
      fc.integer({ min: 0, max: 1e9 }).map((n) => n / 1e6),
    );
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 1, 2), { maxLength: 200 }),
        fc.array(value),
        fc.double(),
        (flags, pool, base) => {
          const count = flags.filter((flag) => flag === 1).length;
          const column = Array.from({ length: count }, (_, i) => pool[i % Math.max(1, pool.length)] ?? 0);
          const decoded = decodeChunk(
            encodeChunk({ flags, base: Number.isNaN(base) ? 0 : base, columns: [column] }),
          );
          expect(Array.from(decoded.flags)).toEqual(flags);
          expect(Array.from(decoded.columns[0] ?? [])).toEqual(column);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('integer series take less than three bytes a sample', () => {
    let seed = 1;
    const random = (): number => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
    const series: Record<string, () => number> = {};
    let [idle, busy, depth] = [0, 0, 20];
    series['idle counter'] = () => (idle += random() < 0.1 ? 1 : 0);
    series['busy counter'] = () => (busy += 450 + Math.floor(random() * 100));
    series['queue depth'] = () => (depth = Math.max(0, depth + Math.floor(random() * 7) - 3));
    series['constant'] = () => 1;
    let bytes = 0;
    for (const next of Object.values(series)) {
      const column = Array.from({ length: 120 }, next);
      bytes += encodeChunk({ flags: column.map(() => 1), base: 0, columns: [column] }).length;
    }
    expect(bytes / (4 * 120)).toBeLessThan(3);
  });
});

describe('tiers', () => {
  test('a random walk is the same in every tier as in a plain list, across gaps, resets and boundaries', async () => {
    const { store, clock } = make();
    const began = Math.ceil(clock.now() / HOUR) * HOUR;
    const kept: { time: number; gauge: number; counter: number }[] = [];
    let [gauge, counter, seed] = [0, 0, 3];
    const random = (): number => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
    let increase = 0;
    for (let i = 0; i < 6 * 360 * 3; i++) {
      const time = began + i * 10_000;
      await clock.advance(Math.max(0, time - clock.now()));
      if (i % 500 > 470) continue;
      gauge += random() * 10 - 5;
      const step = Math.floor(random() * 5);
      const reset = i % 1_000 === 999;
      increase += i === 0 ? 0 : step;
      counter = reset ? step : counter + step;
      kept.push({ time, gauge, counter });
      await store.append(
        time,
        [
          { labels: labels('g'), value: gauge, kind: 'gauge' },
          { labels: labels('c_total'), value: counter, kind: 'counter' },
        ],
        `source-${i}`,
      );
    }
    const last = kept.at(-1)?.time ?? 0;
    const within = (from: number, to: number) => kept.filter(({ time }) => time >= from && time <= to);
    // The last hour is raw, the day before it in minutes.
    const recent = within(last - 30 * MINUTE, last).map((one) => one.gauge);
    expect(await points(store, 'max_over_time(g[30m])', last)).toEqual([Math.max(...recent)]);
    expect(await points(store, 'count_over_time(g[30m])', last)).toEqual([recent.length]);
    for (const hoursAgo of [3, 5, 10]) {
      const to = last - hoursAgo * HOUR - ((last - hoursAgo * HOUR) % HOUR) - 10_000;
      const from = to - HOUR + 10_000;
      const own = within(from, to).map((one) => one.gauge);
      const range = `[${HOUR / 1_000 - 10}s]`;
      expect(await points(store, `max_over_time(g${range})`, to)).toEqual([Math.max(...own)]);
      expect(await points(store, `min_over_time(g${range})`, to)).toEqual([Math.min(...own)]);
      expect(await points(store, `count_over_time(g${range})`, to)).toEqual([own.length]);
      const [average] = await points(store, `avg_over_time(g${range})`, to);
      expect(average).toBeCloseTo(own.reduce((a, b) => a + b) / own.length, 9);
    }
    // From the first sample of the minutes to the last raw one: no tier boundary and no reset shows.
    const all = await store.query('c_total', { from: began, to: last, step: '1m' });
    expect(all.type).toBe('matrix');
    const read = await store.select([{ name: '__name__', op: '=', value: 'c_total' }], began, last);
    const values = Array.from(read[0]?.values ?? []).filter((_, i) => read[0]?.stale?.[i] !== 1);
    for (let i = 1; i < values.length; i++) expect(values[i]).toBeGreaterThanOrEqual(values[i - 1] ?? 0);
    const firstMinute = within(began, began + 50_000).at(-1)?.counter ?? 0;
    expect((values.at(-1) ?? 0) - (values[0] ?? 0)).toBe(increase - (firstMinute - (kept[0]?.counter ?? 0)));
  });

  test('a clock that goes back overwrites nothing', async () => {
    const { store, clock } = make();
    const now = clock.now();
    const sample = (value: number) => [{ labels: labels('g'), value, kind: 'gauge' as const }];
    await store.append(now, sample(1));
    await store.append(now + 20_000, sample(2));
    await store.append(now + 10_000, sample(99));
    await store.append(now + 20_000, sample(99));
    expect(await points(store, 'g', now + 20_000)).toEqual([2]);
    expect(await points(store, 'max_over_time(g[1m])', now + 20_000)).toEqual([2]);
    expect(store.stats()).toMatchObject({ samples: 2, dropped: 2 });
  });

  test('a series that ends is gone at once, and a gap is no zero', async () => {
    const { store, clock } = make();
    const now = clock.now();
    const sample = (name: string) => ({ labels: labels(name), value: 5, kind: 'gauge' as const });
    await store.append(now, [sample('stays'), sample('goes')]);
    await store.append(now + 10_000, [sample('stays')]);
    await store.append(now + 60_000, [sample('stays')]);
    expect(await points(store, 'goes', now + 10_000)).toEqual([]);
    expect(await points(store, 'goes', now)).toEqual([5]);
    expect(await points(store, 'min_over_time(stays[1m])', now + 60_000)).toEqual([5]);
    expect(await points(store, 'count_over_time(stays[1m])', now + 60_000)).toEqual([3]);
  });

  test('chunks never take more than the limit, and the oldest go first', async () => {
    const { store, clock } = make({ maxBytes: 60_000, tiers: [{ step: '10s', keep: '30d' }] });
    let [seed, most] = [5, 0];
    const began = clock.now();
    for (let i = 0; i < 3_000; i++) {
      const value = (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0);
      const samples = Array.from({ length: 10 }, (_, n) => ({
        labels: labels('g', { n: String(n) }),
        value: value / (n + 1),
        kind: 'gauge' as const,
      }));
      await clock.advance(10_000);
      await store.append(clock.now(), samples);
      most = Math.max(most, store.stats().bytes);
    }
    expect(most).toBeLessThanOrEqual(60_000);
    expect(store.stats().oldest).toBeGreaterThan(began + HOUR);
    expect(await points(store, 'count(g)', clock.now())).toEqual([10]);
  });

  test('with no room for a new series it is refused, and counted', async () => {
    const { store, clock } = make({ maxBytes: 8_192 });
    const many = Array.from({ length: 100 }, (_, n) => ({
      labels: labels('g', { n: String(n) }),
      value: 1,
      kind: 'gauge' as const,
    }));
    await store.append(clock.now(), many);
    expect(store.stats().series).toBeLessThan(30);
    expect(store.stats().dropped).toBeGreaterThan(70);
  });

  test('what its tier keeps no longer is forgotten, and so are series that ended', async () => {
    const { store, clock } = make({
      tiers: [
        { step: '10s', keep: '10m' },
        { step: '1m', keep: '1h' },
      ],
    });
    for (let i = 0; i < 60 * 6 * 12; i++) {
      await clock.advance(10_000);
      const churn = String(Math.floor(i / 360));
      await store.append(clock.now(), [{ labels: labels('g', { churn }), value: i, kind: 'gauge' }]);
    }
    const { series, oldest } = store.stats();
    expect(series).toBeLessThanOrEqual(3);
    expect(clock.now() - (oldest ?? 0)).toBeLessThan(3 * HOUR);
  });
});

test(
  'files, chunks and series stay as many as retention asks for, ten times over',
  { timeout: 60_000 },
  async () => {
    const clock = new FakeClock();
    const directory = mkdtempSync(join(tmpdir(), 'retention-'));
    const store = createTimeSeriesStore({
      clock,
      storage: fileStorage(directory, { segmentBytes: 20_000 }),
      tiers: [
        { step: '10s', keep: '20m' },
        { step: '1m', keep: '1h' },
      ],
    });
    const bytesOnDisk = (): number =>
      readdirSync(directory, { recursive: true, encoding: 'utf8' })
        // One may be put in the place of another meanwhile.
        .map((file) => statSync(join(directory, file), { throwIfNoEntry: false }))
        .reduce((sum, file) => sum + (file?.isFile() === true ? file.size : 0), 0);
    const sizes: { disk: number; bytes: number; series: number }[] = [];
    // Ten hours for an hour of retention; the series themselves change every half hour.
    for (let i = 0; i < 3_600; i++) {
      await clock.advance(10_000);
      const churn = String(Math.floor(i / 180));
      const samples = Array.from({ length: 10 }, (_, n) => ({
        labels: { __name__: 'g', n: String(n), churn },
        value: Math.sin(i + n),
        kind: 'gauge' as const,
      }));
      await store.append(clock.now(), samples);
      if (i % 36 !== 35) continue;
      await store.flush();
      const { bytes, series } = store.stats();
      sizes.push({ disk: bytesOnDisk(), bytes, series });
    }
    // How much of a file has to go already depends on the moment, so hours are compared and not moments.
    const most = (of: 'disk' | 'bytes' | 'series', from: number, to: number): number =>
      Math.max(...sizes.slice(from, to).map((size) => size[of]));
    expect(most('disk', 60, 100)).toBeLessThan(most('disk', 20, 60) * 1.5);
    expect(most('bytes', 60, 100)).toBeLessThan(most('bytes', 20, 60) * 1.5);
    expect(most('series', 60, 100)).toBeLessThanOrEqual(60);
    await store.close();
    rmSync(directory, { recursive: true });
  },
);

describe('attached collectors', () => {
  test('are sampled at every step with extra labels, and report the store itself', async () => {
    const { store, clock } = make();
    const metrics = createMetricsCollector({ clock, selfMetrics: false });
    const jobs = metrics.counter({ name: 'jobs_total', help: 'h' });
    const wait = metrics.histogram({ name: 'wait_seconds', help: 'h', buckets: [1] });
    const detach = store.attach(metrics, { labels: { instance: 'i1' } });
    for (let i = 0; i < 30; i++) {
      jobs.inc(2);
      wait.observe(0.5);
      await clock.advance(10_000);
    }
    expect((await points(store, 'rate(jobs_total{instance="i1"}[2m])', clock.now()))[0]).toBeCloseTo(0.2, 12);
    expect(
      await points(store, 'histogram_quantile(0.5, rate(wait_seconds_bucket[2m]))', clock.now()),
    ).toEqual([0.5]);
    const text = String((await metrics.metrics()).body);
    expect(text).toMatch(/xiaoke_tsdb_samples_total [1-9]/);
    expect(text).toMatch(/xiaoke_tsdb_series [1-9]/);
    const before = store.stats().samples;
    detach();
    await clock.advance(60_000);
    expect(store.stats().samples).toBe(before);
    expect(store.metadata()).toEqual([]);
  });

  test('a collection that is slower than the step is not started twice', async () => {
    const { store, clock } = make();
    const metrics = createMetricsCollector({ clock, selfMetrics: false, collectTimeout: '1h' });
    let running = 0;
    let most = 0;
    const release: (() => void)[] = [];
    metrics.gauge({
      name: 'slow',
      help: 'h',
      collect: async () => {
        most = Math.max(most, (running += 1));
        await new Promise<void>((resolve) => release.push(resolve));
        running -= 1;
      },
    });
    store.attach(metrics);
    await clock.advance(60_000);
    expect(most).toBe(1);
    for (const go of release) go();
  });
});

test('closing leaves nothing alive, and refuses what comes after', async () => {
  const check = trackLeaks();
  const logger = recordingLogger();
  const store = createTimeSeriesStore({ storage: memoryStorage(), logger });
  const metrics = createMetricsCollector();
  store.attach(metrics);
  await store.sample();
  await store.close();
  await store.close();
  await expect(store.query('up')).rejects.toMatchObject({ code: 'STORE_CLOSED' });
  await check();
  expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([]);
});

test.each([
  [{ tiers: [] }, 'tiers'],
  [
    {
      tiers: [
        { step: '1s', keep: '1h' },
        { step: '1500ms', keep: '2h' },
      ],
    },
    'tiers.1.step',
  ],
  [
    {
      tiers: [
        { step: '1s', keep: '1h' },
        { step: '2s', keep: '1m' },
      ],
    },
    'tiers.1.keep',
  ],
  [{ maxBytes: 1 }, 'maxBytes'],
  [{ lookback: 'x' }, 'lookback'],
])('%j is refused', (options, option) => {
  expect(() => createTimeSeriesStore(options as never)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', details: expect.objectContaining({ option }) }),
  );
});

test('a range query that makes too many points, or reads too many samples, is refused', async () => {
  const { store, clock } = make({ maxQuerySamples: 5 });
  const now = clock.now();
  for (let i = 0; i < 10; i++) {
    await store.append(now + i * 10_000, [{ labels: labels('g'), value: i, kind: 'gauge' }]);
  }
  await expect(store.query('g', { from: 0, to: now, step: '1s' })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
  });
  await expect(store.query('g', { from: now, to: now - 1 })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
  });
  await expect(store.query('g[10m]', { time: now + 90_000 })).rejects.toThrow('more than 5 samples');
});
