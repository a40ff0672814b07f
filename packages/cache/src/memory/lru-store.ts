import { LRUCache } from 'lru-cache';
import type { Stored } from '../stored.ts';
import type { EntryStore, StoreListener } from './entry-store.ts';

/** What bounds a store. */
export interface StoreBounds {
  readonly maxEntries: number;
  readonly maxBytes: number;
}

/** The store of the `lru` strategy, on lru-cache. Expiry is the cache's own affair, so lru-cache keeps no times. */
export class LruStore implements EntryStore {
  readonly #cache: LRUCache<string, Stored>;
  readonly #weighted: boolean;

  constructor(bounds: StoreBounds, listener: StoreListener) {
    this.#weighted = bounds.maxBytes !== Infinity;
    const dispose = (_: Stored, key: string, reason: string): void => {
      if (reason === 'evict') listener.onEvict(key);
    };
    const max = bounds.maxEntries === Infinity ? {} : { max: bounds.maxEntries };
    const maxSize = this.#weighted ? { maxSize: bounds.maxBytes } : {};
    this.#cache = new LRUCache<string, Stored>({ ...max, ...maxSize, dispose } as LRUCache.Options<
      string,
      Stored,
      unknown
    >);
  }

  get size(): number {
    return this.#cache.size;
  }

  get bytes(): number {
    return this.#cache.calculatedSize;
  }

  get(key: string): Stored | undefined {
    return this.#cache.get(key);
  }

  peek(key: string): Stored | undefined {
    return this.#cache.peek(key);
  }

  set(key: string, stored: Stored): boolean {
    if (!this.#weighted) {
      this.#cache.set(key, stored);
      return true;
    }
    // lru-cache drops what is larger than the whole cache; the entry it would have replaced must go too.
    this.#cache.set(key, stored, { size: Math.max(1, stored.weight) });
    return this.#cache.peek(key) === stored;
  }

  delete(key: string): boolean {
    return this.#cache.delete(key);
  }

  clear(): void {
    this.#cache.clear();
  }

  // Least recently used first: what nobody reads is what expires here.
  entries(): Iterator<readonly [string, Stored]> {
    return this.#cache.rentries() as Iterator<readonly [string, Stored]>;
  }
}
