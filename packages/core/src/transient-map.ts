/** Entries that left, at least, before the map is made anew. */
const RENEW_FROM = 32;

/**
 * A map for entries that stay for moments and come by the thousand. Whenever V8 makes the table of a Map anew, the old table
 * points to the new one, for iterators that may be under way. So once a table has survived a full collection, all tables that
 * follow it, with all they held, survive until the next one, and the collections in between copy them. This map begins again
 * with a table that nothing old points to. An iterator may go on showing entries that have left since it was made.
 */
export class TransientMap<K, V> implements Iterable<[K, V]> {
  #map = new Map<K, V>();
  #left = 0;

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  has(key: K): boolean {
    return this.#map.has(key);
  }

  set(key: K, value: V): this {
    this.#map.set(key, value);
    return this;
  }

  delete(key: K): boolean {
    if (!this.#map.delete(key)) return false;
    this.#left += 1;
    if (this.#left >= RENEW_FROM && this.#left >= this.#map.size) {
      this.#map = new Map(this.#map);
      this.#left = 0;
    }
    return true;
  }

  clear(): void {
    this.#map = new Map();
    this.#left = 0;
  }

  keys(): MapIterator<K> {
    return this.#map.keys();
  }

  values(): MapIterator<V> {
    return this.#map.values();
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.#map.entries();
  }
}
