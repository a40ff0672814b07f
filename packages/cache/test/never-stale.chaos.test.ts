import { eventually } from '@xiaoke/core/testing';
import { chaosProxy, spawnNode, startRedis } from '@xiaoke/test-servers';
import { describe, expect, it } from 'vitest';
import type { CacheManager } from '../src/index.ts';
import { seeded } from '../src/testing/index.ts';
import { deferred, fleet, fresh, make } from './support/caches.ts';

const nightly = process.env['XIAOKE_CHAOS'] === 'nightly';
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('a load that an invalidation overtakes, at any moment of the load', () => {
  const ways: [string, (cache: CacheManager<number>) => Promise<unknown>][] = [
    ['delete', (cache) => cache.delete('k')],
    ['deleteMany', (cache) => cache.deleteMany(['j', 'k'])],
    ['tag', (cache) => cache.invalidateTags('t')],
    ['clear', (cache) => cache.clear()],
  ];
  const rounds = nightly ? 1_000 : 100;

  it.each(ways)('is never read again after a %s in the same process', async (_, invalidate) => {
    const [cache] = await fleet<number>(1);
    const random = seeded(1);
    await everyMoment(cache, cache, { invalidate, random, rounds });
  });

  it.each(ways)('is never read again after a %s in another process', async (_, invalidate) => {
    const [a, b] = await fleet<number>(2);
    const random = seeded(2);
    await everyMoment(a, b, { invalidate, random, rounds });
  });
});

interface Moments {
  readonly invalidate: (cache: CacheManager<number>) => Promise<unknown>;
  readonly random: () => number;
  readonly rounds: number;
}

/** Loads in `loading` while `other` changes the source and invalidates; the next read must be of the new source. */
async function everyMoment(
  loading: CacheManager<number>,
  other: CacheManager<number>,
  { invalidate, random, rounds }: Moments,
): Promise<void> {
  let source = 0;
  const load = async (): Promise<number> => {
    const seen = source;
    await pause(random() * 3);
    return seen;
  };
  for (let round = 0; round < rounds; round += 1) {
    const running = loading.getOrSet('k', load, { tags: ['t'] });
    await pause(random() * 4);
    source += 1;
    await invalidate(other);
    // Whoever invalidated reads the new one at once.
    expect(await other.getOrSet('k', load, { tags: ['t'] })).toBe(source);
    await running;
    expect(await other.getOrSet('k', load, { tags: ['t'] })).toBe(source);
    await eventually(async () => (await loading.getOrSet('k', load, { tags: ['t'] })) === source, {
      interval: 1,
    });
    await invalidate(loading);
  }
}

it('callers in four processes see one load of a cold key, and wait hardly longer than it takes', async () => {
  await using redis = await startRedis();
  const code = `
    import { createCacheManager } from '@xiaoke/cache';
    const cache = createCacheManager({ redis: process.argv.at(-1), namespace: 'stampede', redisTimeout: '5s' });
    await cache.ready({ timeout: '10s' });
    process.on('message', async ({ key, at }) => {
      let loads = 0;
      const loader = async () => { loads += 1; await new Promise((resolve) => setTimeout(resolve, 300)); return 'v'; };
      await new Promise((resolve) => setTimeout(resolve, at - Date.now()));
      const start = performance.now();
      await Promise.all(Array.from({ length: 2_500 }, () => cache.getOrSet(key, loader)));
      process.send({ key, loads, took: performance.now() - start });
    });
    process.send({ ready: true });
  `;
  const children = Array.from({ length: 4 }, () =>
    spawnNode({ code, from: import.meta.url }, { args: [redis.url] }),
  );
  await Promise.all(children.map((child) => child.message(({ ready }) => ready === true)));
  const at = Date.now() + 200;
  for (const child of children) child.send({ key: 'k', at });
  const answers = await Promise.all(children.map((child) => child.message(({ key }) => key === 'k')));
  expect(answers.reduce((sum, { loads }) => sum + Number(loads), 0)).toBe(1);
  expect(Math.max(...answers.map(({ took }) => Number(took)))).toBeLessThan(300 * 2.4);
  await Promise.all(children.map((child) => child.kill()));
});

it('a process that dies with the lease costs the others one lease, and they load', async () => {
  await using redis = await startRedis();
  const code = `
    import { createCacheManager } from '@xiaoke/cache';
    const cache = createCacheManager({ redis: process.argv.at(-1), namespace: 'dies', leaseTtl: 500, redisTimeout: '5s' });
    await cache.ready({ timeout: '10s' });
    void cache.getOrSet('k', () => { process.send({ loading: true }); return new Promise(() => {}); });
  `;
  await using holder = spawnNode({ code, from: import.meta.url }, { args: [redis.url] });
  await holder.message(({ loading }) => loading === true);
  const cache = make<string>({ redis: redis.url, namespace: 'dies', leaseTtl: 500, redisTimeout: '5s' });
  expect(await cache.ready()).toBe(true);
  let settled = false;
  const waiting = cache.getOrSet('k', () => 'mine').finally(() => (settled = true));
  // Renewed three times a lease, it outlasts several of them.
  await pause(1_200);
  expect(settled).toBe(false);
  await holder.kill('SIGKILL');
  const start = performance.now();
  expect(await waiting).toBe('mine');
  expect(performance.now() - start).toBeLessThan(1_500);
});

it('set() while a load runs wins, in both tiers and in every process', async () => {
  const [a, b] = await fleet<string>(2);
  for (const setter of [a, b]) {
    const key = setter === a ? 'same' : 'other';
    const started = deferred();
    const go = deferred();
    const loading = a.getOrSet(key, async () => {
      started.resolve();
      await go.promise;
      return 'loaded';
    });
    await started.promise;
    await setter.set(key, 'set');
    go.resolve();
    expect(await loading).toBe('loaded');
    await eventually(async () => (await a.get(key)) === 'set' && (await b.get(key)) === 'set');
  }
});

it('clocks that are ten minutes apart neither keep a value too long nor drop it too soon', async () => {
  await using redis = await startRedis();
  const namespace = fresh();
  const skewed = (by: number): object => {
    const now = (): number => Date.now() + by;
    return { ...clockOfThisProcess, now };
  };
  const [a, b] = [600_000, -600_000].map((by) =>
    make<number>({ redis: redis.url, namespace, redisTimeout: '5s', clock: skewed(by) as never }),
  ) as [CacheManager<number>, CacheManager<number>];
  expect([await a.ready(), await b.ready()]).toEqual([true, true]);
  await a.set('k', 1, { ttl: 1_000, tags: ['t'] });
  await a.set('long', 1, { ttl: '1h', tags: ['t'] });
  await pause(500);
  expect(await b.get('k')).toBe(1);
  await pause(600);
  expect(await b.get('k')).toBeUndefined();
  expect(await b.get('long')).toBe(1);
  await b.invalidateTags('t');
  await eventually(async () => (await a.get('long')) === undefined);
  await b.set('long', 2, { tags: ['t'] });
  await eventually(async () => (await a.get('long')) === 2);
});

const clockOfThisProcess = {
  monotonic: (): number => performance.now(),
  setTimeout: (callback: () => void, delay: number) => timerOf(setTimeout(callback, delay)),
  setInterval: (callback: () => void, period: number) => timerOf(setInterval(callback, period)),
};

function timerOf(handle: NodeJS.Timeout): object {
  const timer = {
    cancel: () => clearTimeout(handle),
    unref: () => (handle.unref(), timer),
    ref: () => (handle.ref(), timer),
  };
  return timer;
}

it('an idle value in Redis lives on while one process reads it from its first tier', async () => {
  const [a, b] = await fleet<number>(2);
  await a.set('used', 1, { ttl: '1h', idleTtl: 400 });
  await a.set('idle', 1, { ttl: '1h', idleTtl: 400 });
  for (let i = 0; i < 12; i += 1) {
    await pause(80);
    expect(await a.get('used')).toBe(1);
  }
  expect(await b.get('used')).toBe(1);
  expect(await b.get('idle')).toBeUndefined();
});

it('a thousand keys: those of both tiers are not loaded, the rest by one call', async () => {
  const [a, b] = await fleet<number>(2);
  const keys = Array.from({ length: 1_000 }, (_, i) => `k${i}`);
  await a.setMany(keys.slice(0, 700).map((key, i) => [key, i] as const));
  await eventually(async () => (await b.getMany(keys.slice(0, 300))).size === 300 && b.peek('k0') === 0);
  const calls: string[][] = [];
  const loader = async (missing: string[]): Promise<Map<string, number>> => {
    calls.push(missing);
    await pause(20);
    return new Map(missing.map((key) => [key, -1] as const));
  };
  const other = a.getOrSetMany(keys.slice(700, 800), loader);
  await eventually(() => calls.length === 1);
  const result = await b.getOrSetMany(keys, loader);
  await other;
  expect(calls.map((missing) => missing.length)).toEqual([100, 200]);
  expect([...result.keys()]).toEqual(keys);
  expect(result.get('k750')).toBe(-1);
  expect(result.get('k500')).toBe(500);
});

it(
  'under random operations, delays and lost connections, nothing older than a finished invalidation is read',
  { timeout: 120_000 },
  async () => {
    await using redis = await startRedis();
    await using proxy = await chaosProxy({ target: redis });
    const namespace = fresh();
    const heartbeat = 200;
    const options = { redis: proxy.url('redis'), namespace, heartbeat, ttl: '1h', redisTimeout: '1s' };
    const caches = [1, 2, 3].map(() => make<number>(options));
    for (const cache of caches) expect(await cache.ready({ timeout: '10s' })).toBe(true);
    const random = seeded(Number(process.env['XIAOKE_SEED'] ?? 11));
    const keys = ['a', 'b', 'c', 'd'];
    const source = new Map<string, number>(keys.map((key) => [key, 0]));
    /** What was true before the last finished invalidation, by process; a read there must be newer. */
    const floor = caches.map(() => new Map<string, number>());
    let reads = 0;
    const old: unknown[] = [];
    const end = performance.now() + (nightly ? 60_000 : 6_000);
    const trouble = async (): Promise<void> => {
      while (performance.now() < end) {
        await pause(100 + random() * 300);
        const dice = random();
        if (dice < 0.3) proxy.cut();
        else if (dice < 0.6) await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub').catch(() => '');
        else proxy.delay(dice < 0.8 ? Math.floor(random() * 20) : 0);
      }
    };
    const worker = async (own: number): Promise<void> => {
      const cache = caches[own] as CacheManager<number>;
      while (performance.now() < end) {
        const key = keys[Math.floor(random() * keys.length)] ?? 'a';
        if (random() < 0.2) {
          const version = (source.get(key) ?? 0) + 1;
          source.set(key, version);
          if (random() < 0.5) await cache.delete(key);
          else await cache.invalidateTags(`tag-${key}`);
          floor[own]?.set(key, Math.max(floor[own]?.get(key) ?? 0, version));
        } else {
          const least = floor[own]?.get(key) ?? 0;
          const load = async (): Promise<number> => {
            const seen = source.get(key) ?? 0;
            await pause(random() * 5);
            return seen;
          };
          const seen = await cache.getOrSet(key, load, { tags: [`tag-${key}`] });
          if (seen < least) old.push({ key, process: own, seen, least });
          reads += 1;
        }
        await pause(random() * 3);
      }
    };
    await Promise.all([trouble(), ...caches.map((_, i) => worker(i)), ...caches.map((_, i) => worker(i))]);
    proxy.delay(0);
    expect(old).toEqual([]);
    expect(reads).toBeGreaterThan(300);
    await eventually(() => caches.every((cache) => cache.stats().redis.state === 'up'));
    // And in the end all agree on what is true.
    await eventually(async () => {
      for (const cache of caches)
        for (const key of keys)
          expect(await cache.getOrSet(key, async () => source.get(key) ?? 0, { tags: [`tag-${key}`] })).toBe(
            source.get(key),
          );
    });
  },
);
