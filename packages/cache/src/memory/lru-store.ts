import { LRUCache } from 'lru-cache';
import type { Stored } from '../stored.ts';
import type { EntryStore, StoreBounds, StoreListener } from './entry-store.ts';
import { Slots } from './slots.ts';

/**
 * The store of the `lru` strategy: lru-cache knows who leaves, and the slot of each entry. Expiry is the cache's own affair, so
 * lru-cache keeps no times.
 */
export class LruStore implements EntryStore {
  readonly slots: Slots;
  readonly #bounds: StoreBounds;
  readonly #listener: StoreListener;
  #cache: LRUCache<string, number>;

  constructor(bounds: StoreBounds, listener: StoreListener) {
    this.#bounds = bounds;
    this.#listener = listener;
    this.slots = new Slots(bounds.maxEntries);
    this.#cache = this.#createCache();
  }

  get size(): number {
    return this.#cache.size;
  }

  get bytes(): number {
    return this.#cache.calculatedSize;
  }

  slot(key: string): number | undefined {
    return this.#cache.get(key);
  }

  get(key: string): Stored | undefined {
    return this.#at(this.#cache.get(key));
  }

  peek(key: string): Stored | undefined {
    return this.#at(this.#cache.peek(key));
  }

  update(key: string, stored: Stored): void {
    const slot = this.#cache.peek(key);
    if (slot !== undefined && this.slots.valueOf(slot) === stored.value) this.slots.update(slot, stored);
  }

  set(key: string, stored: Stored): boolean {
    const slot = this.slots.take(stored);
    if (this.#bounds.maxBytes === Infinity) {
      this.#cache.set(key, slot);
      return true;
    }
    // lru-cache drops what is larger than the whole cache; the entry it would have replaced goes too.
    this.#cache.set(key, slot, { size: Math.max(1, stored.weight) });
    if (this.#cache.peek(key) === slot) return true;
    this.slots.give(slot);
    return false;
  }

  delete(key: string): boolean {
    return this.#cache.delete(key);
  }

  // A new one: emptying a large one entry by entry would keep the event loop.
  clear(): void {
    this.#cache = this.#createCache();
    this.slots.clear();
  }

  // Least recently used first: what nobody reads is what expires here.
  *entries(): Generator<readonly [string, Stored]> {
    const cache = this.#cache;
    for (const [key, slot] of cache.rentries() as Iterable<[string, number]>) {
      // Cleared between two steps: what comes now is of before.
      if (this.#cache !== cache) return;
      const stored = this.slots.at(slot);
      if (stored !== undefined) yield [key, stored];
    }
  }

  #at(slot: number | undefined): Stored | undefined {
    return slot === undefined ? undefined : this.slots.at(slot);
  }

  #createCache(): LRUCache<string, number> {
    const { maxEntries, maxBytes } = this.#bounds;
    const { slots } = this;
    const dispose = (slot: number, key: string, reason: string): void => {
      slots.give(slot);
      if (reason === 'evict') this.#listener.onEvict(key);
    };
    const max = maxEntries === Infinity ? {} : { max: maxEntries };
    const maxSize = maxBytes === Infinity ? {} : { maxSize: maxBytes };
    return new LRUCache<string, number>({ ...max, ...maxSize, dispose } as LRUCache.Options<
      string,
      number,
      unknown
    >);
  }
}
