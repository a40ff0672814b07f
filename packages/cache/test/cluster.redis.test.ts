import { eventually } from '@xiaoke/core/testing';
import { startRedisCluster, type RedisCluster } from '@xiaoke/test-servers';
import { Cluster } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CacheManager } from '../src/index.ts';
import { fresh, make } from './support/caches.ts';

let servers: RedisCluster;
const clients: Cluster[] = [];

beforeAll(async () => {
  servers = await startRedisCluster();
});
afterAll(async () => {
  for (const client of clients) client.disconnect();
  await servers.stop();
});

async function pair(): Promise<[CacheManager<number>, CacheManager<number>]> {
  const namespace = fresh();
  const made = [1, 2].map(() => {
    const redis = new Cluster(servers.nodes.map(({ host, port }) => ({ host, port })));
    clients.push(redis);
    return make<number>({ redis, namespace, redisTimeout: '5s', heartbeat: 300 });
  });
  for (const cache of made) expect(await cache.ready({ timeout: '10s' })).toBe(true);
  return made as [CacheManager<number>, CacheManager<number>];
}

it('ten thousand keys of all slots are written, read and deleted in batches', async () => {
  const [a, b] = await pair();
  const keys = Array.from({ length: 10_000 }, (_, i) => `${['{', '}', 'é', ':', 'x'][i % 5] ?? ''}k${i}`);
  await a.setMany(keys.map((key, i) => [key, i] as const));
  const found = await b.getMany(keys);
  expect(found.size).toBe(10_000);
  expect(found.get('{k0')).toBe(0);
  expect(await a.deleteMany(keys)).toBe(10_000);
  expect((await a.getMany(keys)).size).toBe(0);
  expect(a.stats().redis).toMatchObject({ state: 'up', errors: 0, timeouts: 0 });
});

it('one load, fenced by an invalidation in another process, and tags and namespaces over all nodes', async () => {
  const [a, b] = await pair();
  let loads = 0;
  const load = async (): Promise<number> => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return (loads += 1);
  };
  expect(await Promise.all([a, b].flatMap((one) => [1, 2].map(() => one.getOrSet('k', load))))).toEqual([
    1, 1, 1, 1,
  ]);
  const slow = a.getOrSet('fenced', async () => {
    await b.delete('fenced');
    return 1;
  });
  expect(await slow).toBe(1);
  expect(a.peek('fenced')).toBeUndefined();
  expect(await b.get('fenced')).toBeUndefined();
  const keys = Array.from({ length: 100 }, (_, i) => `t${i}`);
  await a.setMany(
    keys.map((key) => [key, 1] as const),
    { tags: ['tag'] },
  );
  await a.namespace('n').setMany(keys.map((key) => [key, 2] as const));
  expect((await b.getMany(keys)).size).toBe(100);
  expect((await b.namespace('n').getMany(keys)).size).toBe(100);
  await a.invalidateTags('tag');
  await a.namespace('n').clear();
  await eventually(async () => {
    expect((await b.getMany(keys)).size).toBe(0);
    expect((await b.namespace('n').getMany(keys)).size).toBe(0);
  });
});

it('a killed node costs its keys alone, and the cache goes on', async () => {
  const [a] = await pair();
  const [, victim] = servers.nodes;
  await victim?.kill();
  const keys = Array.from({ length: 50 }, (_, i) => `k${i}`);
  const start = performance.now();
  for (const key of keys) expect(await a.getOrSet(key, () => 1)).toBe(1);
  expect(performance.now() - start).toBeLessThan(15_000);
  expect((await a.getMany(keys)).size).toBe(50);
});
