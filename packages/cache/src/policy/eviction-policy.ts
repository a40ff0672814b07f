/**
 * One entry as an eviction policy sees it. `prev`, `next` and `mark` belong to the policy while the entry is in the cache;
 * the cache never looks at them.
 */
export interface Entry {
  readonly key: string;
  /** Bytes as estimated, when the cache is bounded by bytes; 0 otherwise. */
  readonly weight: number;
  /** When the entry stops being fresh, in milliseconds of the cache's own clock; `Infinity` for never. */
  readonly expiresAt: number;
  prev: Entry | undefined;
  next: Entry | undefined;
  mark: number;
}

/**
 * Decides which entry leaves when the cache is full. The calls come in this order and never overlap:
 *
 * - `onInsert` once for every entry that comes in;
 * - `onHit` each time it is read, or written again (its `expiresAt` may have changed);
 * - `victim(incoming)` when `incoming` does not fit: give an entry that was inserted and not removed, or `incoming`
 *   itself to refuse it. The cache removes what you give, and asks again while it is still too full;
 * - `onRemove` once for every entry that leaves: evicted, deleted, expired or cleared.
 *
 * When `victim` or `onInsert` throws, or gives anything else, the write rejects with the code `EVICTION_POLICY` and nothing is
 * stored. What `onHit` throws on a read, and `onRemove` ever, is an `error` event: nothing can keep an entry from leaving.
 * The conformance suite in `@xiaoke/cache/testing` checks all of this.
 *
 * @example
 * ```ts
 * import { createCacheManager, type Entry, type EvictionPolicy } from '@xiaoke/cache';
 * // Most recently used goes first: right for a loop that is larger than the cache.
 * const used = new Set<Entry>();
 * const mru: EvictionPolicy = {
 *   onInsert: (entry) => void used.add(entry),
 *   onHit: (entry) => void (used.delete(entry), used.add(entry)),
 *   onRemove: (entry) => void used.delete(entry),
 *   victim: () => [...used].at(-1) as Entry,
 * };
 * const cache = createCacheManager<number>({ strategy: mru, maxEntries: 2 });
 * for (const key of ['a', 'b', 'c']) await cache.set(key, 1);
 * console.log(cache.peek('a'), cache.peek('b'), cache.peek('c')); // => 1 undefined 1
 * ```
 */
export interface EvictionPolicy {
  onInsert(entry: Entry): void;
  onHit(entry: Entry): void;
  onRemove(entry: Entry): void;
  victim(incoming?: Entry): Entry;
  /** All entries leave at once. Without it, `onRemove` is called for each. */
  clear?(): void;
}
