import { eventually } from '@xiaoke/core/testing';
import { chaosProxy, startRedis, type RedisServer } from '@xiaoke/test-servers';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import type { CacheManager } from '../src/index.ts';
import { deferred, fresh, make } from './support/caches.ts';

/** Milliseconds `work` takes, without those for which this process did not get to run at all. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  let last = start;
  let stopped = 0;
  const tick = setInterval(() => {
    const now = performance.now();
    stopped += Math.max(0, now - last - 4);
    last = now;
  }, 2);
  await work();
  clearInterval(tick);
  const now = performance.now();
  return now - start - stopped - Math.max(0, now - last - 4);
}

async function connected(
  redis: RedisServer,
  options: { namespace?: string; maxPendingInvalidations?: number; redisTimeout?: string } = {},
): Promise<CacheManager<string>> {
  const cache = make<string>({ redis: redis.url, namespace: fresh(), ...options });
  expect(await cache.ready()).toBe(true);
  return cache;
}

it('a frozen Redis costs one call at most 100 ms, and then nothing; once it answers again it is used', async () => {
  await using redis = await startRedis();
  const namespace = fresh();
  const cache = await connected(redis, { namespace });
  await cache.set('hot', 'v');
  redis.pause();
  const first = await timed(() => cache.getOrSet('cold', () => 'loaded'));
  expect(first).toBeLessThan(100);
  const later: number[] = [];
  for (let i = 0; i < 50; i += 1) later.push(await timed(() => cache.getOrSet(`cold-${i}`, () => 'loaded')));
  expect(later.toSorted((a, b) => a - b)[45]).toBeLessThan(5);
  expect(await cache.get('hot')).toBe('v');
  expect(cache.stats().redis.state).toBe('down');
  redis.resume();
  const back = await timed(() => eventually(() => cache.stats().redis.state === 'up'));
  expect(back).toBeLessThan(3_000);
  await cache.set('again', 'v');
  expect(await redis.cli('EXISTS', `xc:${namespace}:e::{again}:v`)).toBe('1');
  // What was loaded meanwhile stayed here.
  expect(await redis.cli('EXISTS', `xc:${namespace}:e::{cold}:v`)).toBe('0');
});

it('the first call waits for a connection that comes about, however early it is', async () => {
  await using redis = await startRedis();
  const client = new Redis(redis.url);
  for (const given of [redis.url, { host: redis.host, port: redis.port }, client]) {
    const namespace = fresh();
    const cache = make<string>({ redis: given, namespace });
    await cache.set('k', 'v');
    expect(cache.stats().redis.state).toBe('up');
    expect(await redis.cli('EXISTS', `xc:${namespace}:e::{k}:v`)).toBe('1');
    expect(await cache.ready()).toBe(true);
  }
  client.disconnect();
});

it('a Redis that is frozen from the start costs the first call at most 100 ms', async () => {
  await using redis = await startRedis();
  redis.pause();
  const cache = make<string>({ redis: redis.url, namespace: fresh() });
  expect(await timed(() => cache.getOrSet('k', () => 'loaded'))).toBeLessThan(100);
  expect(await timed(() => cache.getOrSet('j', () => 'loaded'))).toBeLessThan(20);
  expect(cache.stats().redis.state).toBe('down');
  redis.resume();
  await eventually(() => cache.stats().redis.state === 'up');
});

it('a dead Redis costs no call more than 100 ms, at any moment, and a load that runs is given to its callers', async () => {
  await using redis = await startRedis();
  const cache = await connected(redis);
  const started = deferred();
  const go = deferred();
  const loading = cache.getOrSet('k', async () => {
    started.resolve();
    await go.promise;
    return 'loaded';
  });
  await started.promise;
  await redis.kill();
  go.resolve();
  expect(await timed(() => loading)).toBeLessThan(100);
  expect(await loading).toBe('loaded');
  expect(await timed(() => cache.getOrSet('j', () => 'loaded'))).toBeLessThan(100);
  expect(await timed(() => cache.set('s', 'v'))).toBeLessThan(100);
  expect(await timed(() => cache.delete('s'))).toBeLessThan(100);
  expect(await timed(() => cache.invalidateTags('t'))).toBeLessThan(100);
  expect(await timed(() => cache.clear())).toBeLessThan(100);
  expect(cache.stats().redis.pendingInvalidations).toBeGreaterThan(0);
  expect(await cache.healthIndicator().check({ signal: AbortSignal.timeout(1_000) })).toEqual({
    status: 'degraded',
    code: 'CACHE_INVALIDATIONS_PENDING',
  });
});

it('a Redis that dies during loads and comes back empty: they return, nothing is unhandled, and nothing old is read', async () => {
  await using redis = await startRedis();
  const namespace = fresh();
  const a = await connected(redis, { namespace, redisTimeout: '1s' });
  const b = await connected(redis, { namespace, redisTimeout: '1s' });
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  const kept = Array.from({ length: 20 }, (_, i) => `kept${i}`);
  await a.setMany(kept.map((key) => [key, 'old', { tags: ['t'] }] as const));
  await eventually(async () => (await b.getMany(kept)).size === kept.length);
  const started = deferred();
  const go = deferred();
  const loads = Array.from({ length: 20 }, (_, i) =>
    a.getOrSet(`loading${i}`, async () => {
      if (i === 19) started.resolve();
      await go.promise;
      return `loaded${i}`;
    }),
  );
  await started.promise;
  await redis.kill();
  go.resolve();
  expect(await Promise.all(loads)).toEqual(loads.map((_, i) => `loaded${i}`));
  await eventually(() => a.stats().redis.state === 'down' && b.stats().redis.state === 'down');
  // The first tiers serve what they have, and this process what it has changed.
  expect(a.peek('loading0')).toBe('loaded0');
  await a.delete('kept0');
  await a.set('kept1', 'new');
  expect([await a.get('kept0'), await a.get('kept1'), await a.get('kept2')]).toEqual([
    undefined,
    'new',
    'old',
  ]);
  await a.invalidateTags('t');
  expect(await a.get('kept2')).toBeUndefined();
  expect(a.stats().redis.pendingInvalidations).toBeGreaterThan(0);
  await redis.restart();
  const up = (): boolean => a.stats().redis.state === 'up' && b.stats().redis.state === 'up';
  await eventually(() => up() && a.stats().redis.pendingInvalidations === 0, { timeout: 10_000 });
  for (const key of kept.slice(2)) expect(await a.get(key)).toBeUndefined();
  await eventually(async () => (await b.getMany(kept)).size === 0);
  expect(await b.getOrSet('kept0', () => 'again')).toBe('again');
  await eventually(async () => (await a.get('kept0')) === 'again');
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});

it('a Redis that was never there costs the first call at most 100 ms', async () => {
  const cache = make<string>({ redis: 'redis://127.0.0.1:1', namespace: fresh() });
  await eventually(() => cache.stats().redis.state !== 'connecting');
  expect(await timed(() => cache.getOrSet('k', () => 'loaded'))).toBeLessThan(100);
  expect(await cache.ready({ timeout: 20 })).toBe(false);
});

it('what was deleted while Redis was away is gone when it comes back with its old data', async () => {
  await using redis = await startRedis({ appendonly: 'always' });
  const namespace = fresh();
  const a = await connected(redis, { namespace, redisTimeout: '1s' });
  const b = await connected(redis, { namespace, redisTimeout: '1s' });
  await a.set('k', 'old');
  await a.set('tagged', 'old', { tags: ['t'] });
  expect(await b.get('k')).toBe('old');
  redis.pause();
  await a.delete('k');
  await a.invalidateTags('t');
  expect(await a.get('k')).toBeUndefined();
  expect(a.stats().redis.pendingInvalidations).toBe(2);
  redis.resume();
  const seen = new Set<unknown>();
  await eventually(async () => {
    seen.add(await a.get('k'));
    seen.add(await a.get('tagged'));
    return a.stats().redis.state === 'up';
  });
  seen.add(await a.get('k'));
  expect(seen).toEqual(new Set([undefined]));
  await eventually(async () => (await b.get('k')) === undefined && (await b.get('tagged')) === undefined, {
    timeout: 3_000,
  });
});

it('more invalidations than are kept invalidate everything', async () => {
  await using redis = await startRedis();
  const namespace = fresh();
  const a = await connected(redis, { namespace, maxPendingInvalidations: 10, redisTimeout: '1s' });
  const b = await connected(redis, { namespace, redisTimeout: '1s' });
  await b.set('untouched', 'v');
  redis.pause();
  await a.deleteMany(Array.from({ length: 20 }, (_, i) => `k${i}`));
  expect(a.stats().redis.pendingInvalidations).toBe(1);
  redis.resume();
  await eventually(() => a.stats().redis.state === 'up');
  await eventually(async () => (await b.get('untouched')) === undefined);
});

it('a connection that swallows everything is replaced', async () => {
  await using redis = await startRedis();
  await using proxy = await chaosProxy({ target: redis });
  const cache = make<string>({ redis: proxy.url('redis'), namespace: fresh() });
  expect(await cache.ready()).toBe(true);
  proxy.halfOpen(true);
  expect(await timed(() => cache.getOrSet('k', () => 'v'))).toBeLessThan(100);
  proxy.halfOpen(false);
  await eventually(() => cache.stats().redis.state === 'up', { timeout: 8_000 });
});

it('close() is quick with a frozen Redis', async () => {
  await using redis = await startRedis();
  const cache = await connected(redis);
  redis.pause();
  expect(await timed(() => cache.close())).toBeLessThan(1_500);
});
