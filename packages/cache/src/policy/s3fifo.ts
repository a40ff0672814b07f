import { EntryList } from './entry-list.ts';
import type { Entry, EvictionPolicy } from './eviction-policy.ts';
import { hashKey } from './key-hash.ts';

// mark = queue * 4 + uses, at most 3 uses.
const SMALL = 4;
const MAIN = 8;
const USES = 3;

/**
 * S3-FIFO (Yang et al., SOSP '23): newcomers pass through a small queue of a tenth of the cache, what was used there moves
 * to the main queue, and a ghost of the recently evicted lets a returning key in at once.
 */
export class S3FifoPolicy implements EvictionPolicy {
  readonly #small = new EntryList();
  readonly #main = new EntryList();
  readonly #smallSize: number;
  readonly #mainSize: number;
  readonly #ghost: Ghost;

  /** @param capacity - how many entries the cache is expected to hold */
  constructor(capacity: number) {
    this.#smallSize = Math.max(1, Math.floor(capacity / 10));
    this.#mainSize = Math.max(1, capacity - this.#smallSize);
    this.#ghost = new Ghost(Math.max(1, Math.floor(capacity * 0.9)));
  }

  onInsert(entry: Entry): void {
    if (this.#ghost.take(entry.key)) this.#push(this.#main, entry, MAIN);
    else this.#push(this.#small, entry, SMALL);
  }

  onHit(entry: Entry): void {
    if ((entry.mark & USES) < USES) entry.mark += 1;
  }

  onRemove(entry: Entry): void {
    (entry.mark < MAIN ? this.#small : this.#main).remove(entry);
  }

  victim(incoming: Entry): Entry {
    const fromSmall = this.#small.size >= this.#smallSize || this.#main.size === 0;
    return (fromSmall ? this.#leaveSmall() : this.#leaveMain()) ?? incoming;
  }

  clear(): void {
    this.#small.clear();
    this.#main.clear();
    this.#ghost.clear();
  }

  #push(list: EntryList, entry: Entry, mark: number): void {
    entry.mark = mark;
    list.pushHead(entry);
  }

  #leaveSmall(): Entry | undefined {
    for (let entry = this.#small.tail; entry !== undefined; entry = this.#small.tail) {
      const uses = entry.mark & USES;
      if (uses <= 1) {
        this.#ghost.add(entry.key);
        return entry;
      }
      this.#small.remove(entry);
      this.#push(this.#main, entry, MAIN + uses);
      if (this.#main.size > this.#mainSize) return this.#leaveMain();
    }
    return this.#leaveMain();
  }

  #leaveMain(): Entry | undefined {
    for (let entry = this.#main.tail; entry !== undefined; entry = this.#main.tail) {
      if ((entry.mark & USES) === 0) return entry;
      this.#main.remove(entry);
      this.#push(this.#main, entry, entry.mark - 1);
    }
    return this.#small.tail;
  }
}

const WAYS = 4;

/**
 * Which keys left lately. A table of fingerprints, four to a bucket, each with the number of the eviction that wrote it: a few
 * bytes a key, nothing to collect, and a key is forgotten once `limit` others have left after it.
 */
class Ghost {
  readonly #limit: number;
  readonly #mask: number;
  readonly #prints: Int32Array;
  readonly #numbers: Int32Array;
  #evictions = 0;

  constructor(limit: number) {
    let slots = 64;
    while (slots < limit * 2) slots *= 2;
    this.#limit = limit;
    this.#mask = slots / WAYS - 1;
    this.#prints = new Int32Array(slots);
    this.#numbers = new Int32Array(slots);
  }

  add(key: string): void {
    const print = hashKey(key) | 1;
    const slot = this.#slotFor(print);
    this.#evictions = (this.#evictions + 1) | 0;
    this.#prints[slot] = print;
    this.#numbers[slot] = this.#evictions;
  }

  /** Whether `key` is remembered; it is forgotten by being asked for. */
  take(key: string): boolean {
    const print = hashKey(key) | 1;
    const first = ((print >>> 1) & this.#mask) * WAYS;
    for (let slot = first; slot < first + WAYS; slot += 1) {
      if (this.#prints[slot] !== print) continue;
      this.#prints[slot] = 0;
      return this.#age(slot) < this.#limit;
    }
    return false;
  }

  clear(): void {
    this.#prints.fill(0);
  }

  // The key's own slot, a free one, or the one written longest ago.
  #slotFor(print: number): number {
    const first = ((print >>> 1) & this.#mask) * WAYS;
    let oldest = first;
    for (let slot = first; slot < first + WAYS; slot += 1) {
      const held = this.#prints[slot];
      if (held === print || held === 0) return slot;
      if (this.#age(slot) > this.#age(oldest)) oldest = slot;
    }
    return oldest;
  }

  #age(slot: number): number {
    return (this.#evictions - (this.#numbers[slot] ?? 0)) | 0;
  }
}
