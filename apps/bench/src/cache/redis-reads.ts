/**
 * Reads from Redis of 1 KB values, 100 in flight: throughput, and CPU of this process for each read. The first tier is kept
 * useless by reading far more keys than it may hold, so that every read goes to Redis.
 */
import { createCacheManager } from '@xiaoke/cache';
import { startRedis } from '@xiaoke/test-servers';
import { createCache as createDedupe } from 'async-cache-dedupe';
import { BentoCache, bentostore } from 'bentocache';
import { redisDriver } from 'bentocache/drivers/redis';
import { Redis } from 'ioredis';
import { Loader, RedisCache } from 'layered-loader';
import { compare, type Figures } from '../harness.ts';

const KEYS = 500;
const READS = 60_000;
const IN_FLIGHT = 100;

await using server = await startRedis();
const text = 'x'.repeat(1_000);
const keys = Array.from({ length: KEYS }, (_, i) => `k${i}`);

async function measure(read: (key: string) => Promise<unknown>): Promise<Figures> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < READS) {
      next += 1;
      const value = await read(keys[next % KEYS] ?? '');
      if (value == null) throw new Error('a read found nothing');
    }
  };
  const cpu = process.cpuUsage();
  const start = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  const elapsed = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  return { 'k reads/s': READS / elapsed, 'cpu µs/read': (user + system) / READS };
}

const plain = new Redis(server.url);
const pipelined = new Redis(server.url, { enableAutoPipelining: true });
const cache = createCacheManager<string>({
  redis: server.url,
  namespace: 'bench',
  maxEntries: 1,
  redisTimeout: '2s',
});
const objects = createCacheManager<object>({
  redis: server.url,
  namespace: 'bench-objects',
  maxEntries: 1,
  redisTimeout: '2s',
});
await Promise.all([cache.ready(), objects.ready()]);
const value = { id: 1, name: 'Ada Lovelace', notes: text.slice(0, 940) };

const load = async (key: string): Promise<string> => (key === '' ? key : text);
const layered = new Loader<string>({
  asyncCache: new RedisCache<string>(new Redis(server.url) as never, { prefix: 'll:', ttlInMsecs: 600_000 }),
  dataSources: [{ name: 'source', get: load, getMany: async (wanted: string[]) => wanted.map(() => text) }],
});
const dedupe = createDedupe({
  ttl: 600,
  storage: { type: 'redis', options: { client: new Redis(server.url) } },
});
const defined = dedupe.define('load', load);
const bento = new BentoCache({
  default: 'redis',
  stores: { redis: bentostore().useL2Layer(redisDriver({ connection: new Redis(server.url) })) },
  ttl: 600_000,
});

for (const key of keys) {
  await plain.set(key, text);
  await plain.set(`json:${key}`, JSON.stringify(value));
  await cache.set(key, text, { ttl: '10m' });
  await objects.set(key, value, { ttl: '10m' });
  await layered.get(key);
  await defined.load(key);
  await bento.set({ key, value: text });
}

await compare({
  name: 'cache/redis-reads',
  candidates: {
    xiaoke: () => measure((key) => cache.get(key)),
    'xiaoke objects': () => measure((key) => objects.get(key)),
    'ioredis autopipelining': () => measure((key) => pipelined.get(key)),
    'ioredis autopipelining, JSON.parse': () =>
      measure(async (key) => JSON.parse((await pipelined.get(`json:${key}`)) ?? '') as unknown),
    'ioredis plain': () => measure((key) => plain.get(key)),
    'layered-loader': () => measure((key) => layered.get(key)),
    'async-cache-dedupe': () => measure((key) => defined.load(key)),
    bentocache: () => measure((key) => bento.get({ key })),
  },
  lowerIsBetter: ['cpu µs/read'],
  bars: [
    { figure: 'k reads/s', versus: 'ioredis autopipelining', atLeast: 1.4 },
    { figure: 'cpu µs/read', versus: 'ioredis autopipelining', atMost: 0.6 },
    { figure: 'k reads/s', versus: 'best peer', atLeast: 1 },
    { figure: 'k reads/s', of: 'xiaoke objects', versus: 'ioredis autopipelining, JSON.parse', atLeast: 1.4 },
  ],
});
process.exit(0);
