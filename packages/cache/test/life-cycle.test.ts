import { recordingLogger, trackLeaks, eventually } from '@xiaoke/core/testing';
import { sharedRedis, spawnNode, startRedis } from '@xiaoke/test-servers';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { createCacheManager, getCacheManager, type CacheEvents } from '../src/index.ts';
import { deferred, fleet, fresh, make, onRedis } from './support/caches.ts';

describe('close()', () => {
  it('leaves no timer and no socket, with one tier and with two', async () => {
    const { url } = await sharedRedis();
    const check = trackLeaks();
    const memory = createCacheManager<number>({ ttl: '1s', staleFor: '1s' });
    await memory.set('k', 1);
    await memory.get('k');
    await memory.close();
    const cache = createCacheManager<number>({ redis: url, namespace: fresh(), redisTimeout: '5s' });
    await cache.ready();
    await cache.getOrSet('k', async () => 1, { tags: ['t'] });
    void cache.getOrSet('slow', () => new Promise(() => {})).catch(() => {});
    void cache.getOrSetMany(['a', 'b'], () => new Promise(() => {})).catch(() => {});
    await eventually(() => cache.stats().loads.started === 3);
    await cache.close();
    await check();
  });

  it('lets the process end, also one that never closed anything but has only a first tier', async () => {
    const { url } = await sharedRedis();
    const code = `
      import { createCacheManager } from '@xiaoke/cache';
      const memory = createCacheManager({ ttl: '1h', staleFor: '1h', earlyRefresh: true });
      await memory.getOrSet('k', async () => 1);
      const cache = createCacheManager({ redis: process.argv.at(-1), namespace: 'exit', redisTimeout: '5s' });
      await cache.ready({ timeout: '10s' });
      await cache.getOrSet('k', async () => 1);
      void cache.getOrSet('never', () => new Promise(() => {})).catch(() => {});
      await cache.close();
    `;
    await using child = spawnNode({ code, from: import.meta.url }, { args: [url] });
    expect(await child.exited).toMatchObject({ code: 0 });
  });

  it('tells who waits, is idempotent, and refuses what comes later', async () => {
    const cache = createCacheManager<number>();
    const loading = cache.getOrSet('k', () => new Promise(() => {}));
    const many = cache.getOrSetMany(['a'], () => new Promise(() => {}));
    const closing = cache.close();
    expect(cache.close()).toBe(closing);
    const closed = expect.objectContaining({ code: 'CACHE_CLOSED' });
    await expect(loading).rejects.toEqual(closed);
    await expect(many).rejects.toEqual(closed);
    await closing;
    expect(cache.closed).toBe(true);
    await expect(cache.get('k')).rejects.toEqual(closed);
    await expect(cache.getOrSet('k', () => 1)).rejects.toEqual(closed);
    await expect(cache.set('k', 1)).rejects.toEqual(closed);
    await expect(cache.delete('k')).rejects.toEqual(closed);
    await expect(cache.clear()).rejects.toEqual(closed);
    await expect(cache.invalidateTags('t')).rejects.toEqual(closed);
    await expect(cache.getMany(['k'])).rejects.toEqual(closed);
    await expect(cache.deleteMany(['k'])).rejects.toEqual(closed);
    await expect(cache.warm([])).rejects.toEqual(closed);
    expect(() => cache.getSync('k')).toThrow(closed);
    expect(cache.peek('k')).toBeUndefined();
    expect(await cache.healthIndicator().check({ signal: AbortSignal.timeout(100) })).toEqual({
      status: 'unhealthy',
      code: 'CACHE_CLOSED',
    });
    expect(cache.stats().memory.entries).toBe(0);
  });

  it('is quick while another process has the lease that is waited for, and then loads nothing', async () => {
    const [a, b] = await fleet<number>(2);
    const go = deferred<number>();
    const first = a.getOrSet('k', () => go.promise);
    await eventually(() => a.stats().loads.started === 1);
    let loads = 0;
    const waiting = b.getOrSet('k', () => (loads += 1)).catch((error: unknown) => error);
    const batch = b
      .getOrSetMany(['k'], () => new Map([['k', (loads += 1)]]))
      .catch((error: unknown) => error);
    const start = performance.now();
    await b.close();
    expect(performance.now() - start).toBeLessThan(1_500);
    expect(await waiting).toMatchObject({ code: 'CACHE_CLOSED' });
    expect(await batch).toMatchObject({ code: 'CACHE_CLOSED' });
    go.resolve(1);
    expect(await first).toBe(1);
    expect(loads).toBe(0);
  });

  it('leaves a client that was handed in open, and as it was', async () => {
    const client = new Redis((await sharedRedis()).url);
    const before = client.eventNames().map((name) => [name, client.listenerCount(name)]);
    const cache = make<number>({ redis: client, namespace: fresh(), redisTimeout: '5s' });
    expect(await cache.ready()).toBe(true);
    await cache.set('k', 1);
    await cache.close();
    expect(await client.ping()).toBe('PONG');
    expect(client.eventNames().map((name) => [name, client.listenerCount(name)])).toEqual(before);
    client.disconnect();
  });

  it('is what `await using` does', async () => {
    let seen;
    {
      await using cache = createCacheManager<number>();
      seen = cache;
    }
    expect(seen.closed).toBe(true);
  });
});

it('two hundred lost connections leave no listener behind', { timeout: 120_000 }, async () => {
  await using redis = await startRedis();
  const client = new Redis(redis.url);
  client.on('error', () => {});
  const warnings: unknown[] = [];
  const warn = (warning: unknown): void => void warnings.push(warning);
  process.on('warning', warn);
  const cache = make<number>({ redis: client, namespace: fresh(), redisTimeout: '5s', heartbeat: 50 });
  expect(await cache.ready()).toBe(true);
  const count = (): number => client.eventNames().reduce((sum, name) => sum + client.listenerCount(name), 0);
  const before = count();
  const killer = new Redis(redis.url);
  for (let i = 0; i < 200; i += 1) {
    const closed = new Promise((resolve) => client.once('close', resolve));
    await killer.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await killer.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await closed;
    await eventually(() => client.status === 'ready', { interval: 1 });
  }
  killer.disconnect();
  await eventually(() => cache.stats().redis.state === 'up');
  expect(count()).toBe(before);
  process.off('warning', warn);
  expect(warnings).toEqual([]);
  client.disconnect();
});

it('the same arguments give the same cache until it is closed', async () => {
  const one = getCacheManager({ namespace: 'life-cycle' });
  expect(getCacheManager({ namespace: 'life-cycle' })).toBe(one);
  expect(getCacheManager()).not.toBe(one);
  await one.close();
  expect(getCacheManager({ namespace: 'life-cycle' })).not.toBe(one);
  await Promise.all([getCacheManager().close(), getCacheManager({ namespace: 'life-cycle' }).close()]);
});

describe('events', () => {
  it('tell what happens, to who listens', async () => {
    const cache = make<number>({ maxEntries: 2 });
    const seen: unknown[] = [];
    const names: (keyof CacheEvents)[] = ['hit', 'miss', 'set', 'delete', 'evict', 'load', 'invalidate'];
    for (const name of names) cache.on(name, (...args) => seen.push([name, ...args]));
    await cache.set('a', 1);
    await cache.get('a');
    cache.getSync('a');
    await cache.get('b');
    await cache.getOrSet('b', () => 2);
    await cache.set('c', 3);
    await cache.delete('c');
    await cache.invalidateTags('t');
    await cache.namespace('n').clear();
    expect(seen).toEqual([
      ['set', { key: 'a' }],
      ['hit', { key: 'a', tier: 'memory', stale: false }],
      ['hit', { key: 'a', tier: 'memory', stale: false }],
      ['miss', { key: 'b' }],
      ['load', { key: 'b', durationMs: expect.any(Number), outcome: 'success', fenced: false }],
      ['evict', { key: 'a', reason: 'capacity' }],
      ['set', { key: 'c' }],
      ['evict', { key: 'c', reason: 'deleted' }],
      ['delete', { key: 'c' }],
      ['invalidate', { tags: ['t'], origin: 'local' }],
      ['invalidate', { tags: [], namespace: 'n', origin: 'local' }],
    ]);
  });

  it('reach a listener once, or no longer, as it wants; one that fails hurts nobody', async () => {
    const logger = recordingLogger();
    const cache = make<number>({ logger });
    const seen: string[] = [];
    const listener = (): void => void seen.push('on');
    cache.on('set', () => {
      throw new Error('broken listener');
    });
    cache.once('set', () => seen.push('once'));
    cache.on('set', listener);
    await cache.set('a', 1);
    cache.off('set', listener);
    await cache.set('a', 2);
    expect(seen).toEqual(['once', 'on']);
    expect(logger.lines.length).toBeGreaterThanOrEqual(1);
    expect(cache.peek('a')).toBe(2);
  });

  it('of another process arrive too, and those of Redis', async () => {
    const [a, b] = await fleet<number>(2);
    const seen: unknown[] = [];
    b.on('invalidate', (event) => seen.push(event));
    const states: unknown[] = [];
    const c = await onRedis({ namespace: fresh() });
    c.on('redis', ({ state }) => states.push(state));
    await a.invalidateTags('t', 'u');
    await a.namespace('n').clear();
    await eventually(() => seen.length === 2);
    expect(seen).toEqual([
      { tags: ['t', 'u'], origin: 'remote' },
      { tags: [], namespace: 'n', origin: 'remote' },
    ]);
    expect(await b.healthIndicator().check({ signal: AbortSignal.timeout(1_000) })).toEqual({
      status: 'healthy',
    });
    expect(b.healthIndicator().name).toMatch(/^cache:/);
  });
});

it('statistics tell both tiers, and begin again on request', async () => {
  const [a, b] = await fleet<number>(2);
  await a.set('k', 1);
  await b.get('k');
  await b.get('absent');
  await b.getOrSet('loaded', () => 2);
  const stats = b.stats();
  expect(stats.redis).toMatchObject({ hits: 1, misses: 2, stale: 0, state: 'up' });
  expect(stats.memory).toMatchObject({ misses: 3 });
  expect(stats.loads).toMatchObject({ started: 1, succeeded: 1, running: 0 });
  expect(stats.loads.p99Ms).toBeGreaterThanOrEqual(stats.loads.p50Ms);
  expect(stats.hitRatio).toBeCloseTo(1 / 3);
  b.resetStats();
  expect(b.stats()).toMatchObject({
    memory: { misses: 0 },
    redis: { hits: 0 },
    loads: { started: 0, totalMs: 0 },
  });
  expect(b.stats().hitRatio).toBe(0);
});
