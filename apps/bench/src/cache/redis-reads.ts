/**
 * Reads from Redis of 1 KB values, 100 in flight: throughput, and CPU of this process for each read. The first tier is kept
 * useless by reading far more keys than it may hold, so that every read goes to Redis. One process a candidate and round, which
 * warms up first; of its five measurements the middle one counts.
 */
import { createCacheManager, type CacheManager } from '@xiaoke/cache';
import { startRedis } from '@xiaoke/test-servers';
import { createCache as createDedupe } from 'async-cache-dedupe';
import { BentoCache, bentostore } from 'bentocache';
import { redisDriver } from 'bentocache/drivers/redis';
import { Redis } from 'ioredis';
import { Loader, RedisCache } from 'layered-loader';
import { compare, median, type Figures } from '../harness.ts';
import { argument, isolated } from './support/isolated.ts';

const KEYS = 500;
const WARM_UP = 40_000;
const READS = 10_000;
const TIMES = 5;
const IN_FLIGHT = 100;

const text = 'x'.repeat(1_000);
const keys = Array.from({ length: KEYS }, (_, i) => `k${i}`);
const value = { id: 1, name: 'Ada Lovelace', notes: text.slice(0, 940) };

type Read = (key: string) => Promise<unknown>;

async function readAll(read: Read, reads: number): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < reads) {
      next += 1;
      const found = await read(keys[next % KEYS] ?? '');
      if (found == null) throw new Error('a read found nothing');
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

async function measure(read: Read): Promise<Figures> {
  await readAll(read, WARM_UP);
  const rates: number[] = [];
  const costs: number[] = [];
  for (let time = 0; time < TIMES; time += 1) {
    const cpu = process.cpuUsage();
    const start = performance.now();
    await readAll(read, READS);
    rates.push(READS / (performance.now() - start));
    const { user, system } = process.cpuUsage(cpu);
    costs.push((user + system) / READS);
  }
  return { 'k reads/s': median(rates), 'cpu µs/read': median(costs) };
}

const given = argument('redis');
await using server = given === undefined ? await startRedis() : undefined;
const url = given ?? server?.url ?? '';

async function ours<V>(stored: V): Promise<Figures> {
  const namespace = typeof stored;
  const cache: CacheManager<V> = createCacheManager<V>({
    redis: url,
    namespace,
    maxEntries: 1,
    redisTimeout: '2s',
  });
  await cache.ready();
  for (const key of keys) await cache.set(key, stored, { ttl: '10m' });
  const figures = await measure((key) => cache.get(key));
  const { hits } = cache.stats().redis;
  if (hits !== WARM_UP + TIMES * READS) throw new Error('not every read went to Redis');
  return figures;
}

async function raw(options: object, read: (redis: Redis, key: string) => Promise<unknown>): Promise<Figures> {
  const redis = new Redis(url, options);
  for (const key of keys) {
    await redis.set(key, text);
    await redis.set(`json:${key}`, JSON.stringify(value));
  }
  return measure((key) => read(redis, key));
}

const load = async (key: string): Promise<string> => (key === '' ? key : text);

const candidates = {
  xiaoke: () => ours(text),
  'xiaoke objects': () => ours(value),
  'ioredis autopipelining': () => raw({ enableAutoPipelining: true }, (redis, key) => redis.get(key)),
  'ioredis autopipelining, JSON.parse': () =>
    raw(
      { enableAutoPipelining: true },
      async (redis, key) => JSON.parse((await redis.get(`json:${key}`)) ?? '') as unknown,
    ),
  'ioredis plain': () => raw({}, (redis, key) => redis.get(key)),
  'layered-loader': async () => {
    const layered = new Loader<string>({
      asyncCache: new RedisCache<string>(new Redis(url) as never, { prefix: 'll:', ttlInMsecs: 600_000 }),
      dataSources: [
        { name: 'source', get: load, getMany: async (wanted: string[]) => wanted.map(() => text) },
      ],
    });
    for (const key of keys) await layered.get(key);
    return measure((key) => layered.get(key));
  },
  'async-cache-dedupe': async () => {
    const dedupe = createDedupe({
      ttl: 600,
      storage: { type: 'redis', options: { client: new Redis(url) } },
    });
    const defined = dedupe.define('load', load);
    for (const key of keys) await defined.load(key);
    return measure((key) => defined.load(key));
  },
  bentocache: async () => {
    const bento = new BentoCache({
      default: 'redis',
      stores: { redis: bentostore().useL2Layer(redisDriver({ connection: new Redis(url) })) },
      ttl: 600_000,
    });
    for (const key of keys) await bento.set({ key, value: text });
    return measure((key) => bento.get({ key }));
  },
};

const spread = await isolated(import.meta.url, candidates, [`--redis=${url}`]);
if (spread !== undefined) {
  await compare({
    name: 'cache/redis-reads',
    candidates: spread,
    rounds: 3,
    lowerIsBetter: ['cpu µs/read'],
    bars: [
      { figure: 'k reads/s', versus: 'ioredis autopipelining', atLeast: 1.4 },
      { figure: 'cpu µs/read', versus: 'ioredis autopipelining', atMost: 0.6 },
      { figure: 'k reads/s', versus: 'best peer', atLeast: 1 },
      {
        figure: 'k reads/s',
        of: 'xiaoke objects',
        versus: 'ioredis autopipelining, JSON.parse',
        atLeast: 1.4,
      },
      {
        figure: 'cpu µs/read',
        of: 'xiaoke objects',
        versus: 'ioredis autopipelining, JSON.parse',
        atMost: 0.6,
      },
    ],
  });
}
