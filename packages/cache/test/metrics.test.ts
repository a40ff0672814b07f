import { FakeClock, recordingMetrics } from '@xiaoke/core/testing';
import { startRedis } from '@xiaoke/test-servers';
import { expect, it } from 'vitest';
import { fleet, fresh, make } from './support/caches.ts';

it('reads, loads, evictions and fillings are reported when they are asked for', async () => {
  const metrics = recordingMetrics();
  const clock = new FakeClock();
  const cache = make<number>({ metrics, clock, name: 'users', maxEntries: 2, ttl: '1s', staleFor: '1s' });
  await cache.set('a', 1);
  await cache.get('a');
  await cache.get('b');
  await cache.getOrSet('c', () => 3);
  await cache.getOrSet('d', () => 4);
  await expect(cache.getOrSet('e', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  await clock.advance(1_500);
  await cache.getOrSet('d', () => 5);
  // The stale value is loaded again behind it.
  await clock.advance(0);
  await metrics.collect();
  const requests = (result: string): number =>
    metrics.value('xiaoke_cache_requests_total', { cache: 'users', tier: 'memory', result });
  expect([requests('hit'), requests('miss'), requests('stale')]).toEqual([1, 4, 1]);
  const loads = (outcome: string): number =>
    metrics.value('xiaoke_cache_loads_total', { cache: 'users', outcome });
  expect([loads('success'), loads('failure'), loads('timeout')]).toEqual([3, 1, 0]);
  expect(metrics.observations('xiaoke_cache_load_duration_seconds', { cache: 'users' })).toHaveLength(4);
  const memory = { cache: 'users', tier: 'memory' };
  expect(metrics.value('xiaoke_cache_evictions_total', { ...memory, reason: 'capacity' })).toBe(1);
  expect(metrics.value('xiaoke_cache_entries', memory)).toBe(2);
  expect(metrics.value('xiaoke_cache_size_bytes', memory)).toBe(0);
});

it('counters never go back: neither when statistics begin again nor when the cache is closed', async () => {
  const metrics = recordingMetrics();
  const cache = make<number>({ metrics });
  const hits = (): number =>
    metrics.value('xiaoke_cache_requests_total', { cache: 'default', tier: 'memory', result: 'hit' });
  await cache.set('a', 1);
  await cache.get('a');
  cache.resetStats();
  expect(hits()).toBe(1);
  await cache.get('a');
  await metrics.collect();
  expect(hits()).toBe(2);
  expect(cache.stats().memory.hits).toBe(1);
  await cache.get('a');
  await cache.close();
  expect(hits()).toBe(3);
  await metrics.collect();
  expect(hits()).toBe(3);
});

it('the second tier reports its reads, what it compressed, and whom it spared a load', async () => {
  const metrics = recordingMetrics();
  const [a, b] = await fleet<string>(2, { metrics, name: 'pages', compression: 'gzip' });
  await a.set('long', 'x'.repeat(10_000));
  expect(await b.get('long')).toHaveLength(10_000);
  expect(await b.get('absent')).toBeUndefined();
  await Promise.all([1, 2, 3].map(() => a.getOrSet('k', async () => 'v')));
  await metrics.collect();
  const redis = { cache: 'pages', tier: 'redis' };
  expect(metrics.value('xiaoke_cache_requests_total', { ...redis, result: 'hit' })).toBe(1);
  expect(metrics.value('xiaoke_cache_requests_total', { ...redis, result: 'miss' })).toBe(2);
  expect(metrics.value('xiaoke_cache_compressed_bytes_total', { cache: 'pages', stage: 'in' })).toBe(10_000);
  const out = metrics.value('xiaoke_cache_compressed_bytes_total', { cache: 'pages', stage: 'out' });
  expect(out).toBeGreaterThan(0);
  expect(out).toBeLessThan(1_000);
  expect(metrics.value('xiaoke_cache_coalesced_total', { cache: 'pages' })).toBe(2);
});

it('what fails is reported with its tier and operation', async () => {
  const metrics = recordingMetrics();
  await using redis = await startRedis();
  const cache = make<string>({ redis: redis.url, namespace: fresh(), name: 'c', metrics });
  expect(await cache.ready()).toBe(true);
  await cache.set('k', 'v');
  redis.pause();
  await cache.getOrSet('cold', () => 'v');
  expect(metrics.value('xiaoke_cache_errors_total', { cache: 'c', tier: 'redis', op: 'read' })).toBe(1);
  const policy = {
    onInsert: () => {},
    onHit: () => {},
    onRemove: () => {},
    victim: () => undefined as never,
  };
  const broken = make<number>({ metrics, name: 'broken', strategy: policy, maxEntries: 1 });
  await broken.set('a', 1);
  expect(await broken.getOrSet('b', () => 2)).toBe(2);
  const memory = { cache: 'broken', tier: 'memory', op: 'policy' };
  expect(metrics.value('xiaoke_cache_errors_total', memory)).toBe(1);
});

it('only the documented names are used', async () => {
  const metrics = recordingMetrics();
  make({ metrics });
  expect([...metrics.names()].sort()).toEqual(
    [
      'coalesced_total',
      'compressed_bytes_total',
      'entries',
      'errors_total',
      'evictions_total',
      'load_duration_seconds',
      'loads_total',
      'requests_total',
      'size_bytes',
    ].map((name) => `xiaoke_cache_${name}`),
  );
});
