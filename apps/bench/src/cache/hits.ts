/**
 * How long a hit in memory takes, one process a candidate. `sync` is the lookup alone; `async` is `await` on what the library
 * gives. All hold the same 10,000 entries and are read in the same Zipf order, again and again for a second in short rounds, of
 * which the middle one counts: one in which the machine did something else does not.
 */
import { createCacheManager } from '@xiaoke/cache';
import { createCache as createDedupe } from 'async-cache-dedupe';
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { createCache as createManager } from 'cache-manager';
import { Cacheable } from 'cacheable';
import { Loader } from 'layered-loader';
import { LRUCache } from 'lru-cache';
import { compare, median, type Figures } from '../harness.ts';
import { isolated, zipfOrder } from './support/isolated.ts';

const ENTRIES = 10_000;
const TTL = 600_000;
const keys = Array.from({ length: ENTRIES }, (_, i) => `user:profile:${i}`);
const values = keys.map((name, i) => ({ name, i }));
const order = zipfOrder(ENTRIES, 1 << 15);
const sequence = Array.from(order, (i) => keys[i] ?? '');
const loader = async (key: string): Promise<object> => values[Number(key.slice(13))] ?? {};

const FOR = 1_000;
const WARM_UP = 8;

function sync(read: (key: string) => unknown): Figures {
  const round = (): number => {
    let found = 0;
    for (const key of sequence) if (read(key) !== undefined) found += 1;
    return found;
  };
  if (round() !== sequence.length) throw new Error('not every read was a hit');
  for (let i = 0; i < WARM_UP; i += 1) round();
  const times: number[] = [];
  for (const end = performance.now() + FOR; performance.now() < end;) {
    const start = performance.now();
    round();
    times.push(performance.now() - start);
  }
  return { 'sync ns': (median(times) / sequence.length) * 1e6 };
}

async function asynchronous(read: (key: string) => PromiseLike<unknown> | undefined): Promise<Figures> {
  const round = async (): Promise<number> => {
    let found = 0;
    for (const key of sequence) if ((await read(key)) != null) found += 1;
    return found;
  };
  if ((await round()) !== sequence.length) throw new Error('not every read was a hit');
  for (let i = 0; i < WARM_UP; i += 1) await round();
  const times: number[] = [];
  for (const end = performance.now() + FOR; performance.now() < end;) {
    const start = performance.now();
    await round();
    times.push(performance.now() - start);
  }
  return { 'async ns': (median(times) / sequence.length) * 1e6 };
}

async function filled<C>(cache: C, set: (cache: C, key: string, value: object) => unknown): Promise<C> {
  for (let i = 0; i < ENTRIES; i += 1) await set(cache, keys[i] ?? '', values[i] ?? {});
  return cache;
}

const ours = async (
  strategy: 'lru' | 's3fifo' | 'w-tinylfu',
): Promise<ReturnType<typeof createCacheManager>> =>
  filled(createCacheManager({ strategy, maxEntries: ENTRIES * 2, ttl: TTL }), (cache, key, value) =>
    cache.set(key, value),
  );

const raw = (): Promise<LRUCache<string, object>> =>
  filled(new LRUCache<string, object>({ max: ENTRIES * 2, ttl: TTL }), (cache, key, value) =>
    cache.set(key, value),
  );

const bento = (): ReturnType<typeof filled<BentoCache<{ memory: ReturnType<typeof bentostore> }>>> =>
  filled(
    new BentoCache({
      default: 'memory',
      stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: ENTRIES * 2 })) },
      ttl: TTL,
    }),
    (cache, key, value) => cache.set({ key, value }),
  );

const candidates = {
  xiaoke: async () => {
    const cache = await ours('lru');
    return { ...sync((key) => cache.getSync(key)), ...(await asynchronous((key) => cache.get(key))) };
  },
  'xiaoke getOrSet': async () => {
    const cache = await ours('lru');
    return asynchronous((key) => cache.getOrSet(key, ({ key: missing }) => loader(missing)));
  },
  'xiaoke s3fifo': async () => {
    const cache = await ours('s3fifo');
    return { ...sync((key) => cache.getSync(key)), ...(await asynchronous((key) => cache.get(key))) };
  },
  'xiaoke w-tinylfu': async () => {
    const cache = await ours('w-tinylfu');
    return { ...sync((key) => cache.getSync(key)), ...(await asynchronous((key) => cache.get(key))) };
  },
  'lru-cache': async () => {
    const cache = await raw();
    return sync((key) => cache.get(key));
  },
  'layered-loader': async () => {
    const cache = new Loader({
      inMemoryCache: { cacheType: 'lru-map', ttlInMsecs: TTL, maxItems: ENTRIES * 2 },
      dataSources: [
        { name: 'source', get: loader, getMany: async (wanted: string[]) => Promise.all(wanted.map(loader)) },
      ],
    });
    for (const key of keys) await cache.get(key);
    return { ...sync((key) => cache.getInMemoryOnly(key)), ...(await asynchronous((key) => cache.get(key))) };
  },
  'cache-manager': async () => {
    const cache = await filled(createManager({ ttl: TTL }), (made, key, value) => made.set(key, value));
    return asynchronous((key) => cache.get(key));
  },
  cacheable: async () => {
    const cache = await filled(new Cacheable({ ttl: TTL }), (made, key, value) => made.set(key, value));
    return asynchronous((key) => cache.get(key));
  },
  bentocache: async () => {
    const cache = await bento();
    return asynchronous((key) => cache.get({ key }));
  },
  'async-cache-dedupe': async () => {
    const cache = createDedupe({
      ttl: TTL / 1_000,
      storage: { type: 'memory', options: { size: ENTRIES * 2 } },
    });
    const defined = cache.define('load', loader);
    for (const key of keys) await defined.load(key);
    return asynchronous((key) => defined.load(key));
  },
};

const spread = await isolated(import.meta.url, candidates);
if (spread !== undefined) {
  await compare({
    name: 'cache/hits',
    candidates: spread,
    rounds: 3,
    lowerIsBetter: ['sync ns', 'async ns'],
    bars: [
      // Throughput of at least 0.6 is a time of at most 1 / 0.6.
      { figure: 'sync ns', versus: 'lru-cache', atMost: 1 / 0.6 },
      { figure: 'async ns', versus: 'best peer', atMost: 1 },
      { figure: 'sync ns', of: 'xiaoke s3fifo', versus: 'lru-cache', atMost: 1 / 0.6 },
      { figure: 'sync ns', of: 'xiaoke w-tinylfu', versus: 'lru-cache', atMost: 1 / 0.6 },
      { figure: 'async ns', of: 'xiaoke getOrSet', versus: 'best peer', atMost: 1 },
      { figure: 'async ns', versus: 'cacheable', atMost: 1 / 5 },
      { figure: 'async ns', versus: 'bentocache', atMost: 1 / 5 },
    ],
  });
}
