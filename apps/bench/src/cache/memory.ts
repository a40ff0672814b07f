/**
 * Heap per entry, in a process of its own for each candidate: 200,000 entries with a ttl, keys and values made before. The
 * second figure counts keys and values too, which is what an application pays.
 */
import { createCacheManager, type StrategyName } from '@xiaoke/cache';
import { LRUCache } from 'lru-cache';
import { compare, type Figures } from '../harness.ts';
import { isolated } from './support/isolated.ts';

const ENTRIES = 200_000;
const TTL = 600_000;

function heap(): number {
  for (let i = 0; i < 4; i += 1) globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function measure(make: () => (key: string, value: object) => unknown): Promise<Figures> {
  const empty = heap();
  const keys = Array.from({ length: ENTRIES }, (_, i) => `user:profile:${i}`);
  const values = keys.map((name, id) => ({ id, name, active: true }));
  // Flat strings, as they come from a socket.
  for (const key of keys) Number(key);
  const before = heap();
  const set = make();
  for (let i = 0; i < ENTRIES; i += 1) await set(keys[i] ?? '', values[i] ?? {});
  const after = heap();
  if (keys.length !== values.length) throw new Error('unreachable');
  return { 'bytes/entry': (after - before) / ENTRIES, 'bytes/entry with data': (after - empty) / ENTRIES };
}

const caches: unknown[] = [];

const ours = (strategy: StrategyName) => () =>
  measure(() => {
    const cache = createCacheManager<object>({ strategy, maxEntries: ENTRIES, ttl: TTL });
    caches.push(cache);
    return (key, value) => cache.set(key, value);
  });

const candidates = {
  xiaoke: ours('lru'),
  'xiaoke ttl': ours('ttl'),
  'xiaoke fifo': ours('fifo'),
  'xiaoke lfu': ours('lfu'),
  'xiaoke sieve': ours('sieve'),
  'xiaoke s3fifo': ours('s3fifo'),
  'xiaoke w-tinylfu': ours('w-tinylfu'),
  'lru-cache': () =>
    measure(() => {
      const cache = new LRUCache<string, object>({ max: ENTRIES, ttl: TTL });
      caches.push(cache);
      return (key, value) => cache.set(key, value);
    }),
};
const spread = await isolated(import.meta.url, candidates);
if (spread !== undefined) {
  const lowerIsBetter = ['bytes/entry', 'bytes/entry with data'];
  await compare({
    name: 'cache/memory',
    candidates: spread,
    rounds: 3,
    lowerIsBetter,
    bars: Object.keys(candidates)
      .filter((of) => of !== 'lru-cache')
      .flatMap((of) => lowerIsBetter.map((figure) => ({ figure, of, versus: 'lru-cache', atMost: 1.3 }))),
  });
}
