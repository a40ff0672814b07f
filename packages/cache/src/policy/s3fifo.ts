import { hashKey } from './key-hash.ts';
import { Links } from './links.ts';
import { SlotList } from './slot-list.ts';
import { NONE, type SlotFacts, type SlotPolicy } from './slot-policy.ts';

// mark = queue * 4 + uses, at most 3 uses.
const SMALL = 4;
const MAIN = 8;
const USES = 3;

/**
 * S3-FIFO (Yang et al., SOSP '23): newcomers pass through a small queue of a tenth of the cache, what was used there moves
 * to the main queue, and a ghost of the recently evicted lets a returning key in at once.
 */
export class S3FifoPolicy implements SlotPolicy {
  readonly #facts: SlotFacts;
  readonly #links: Links;
  readonly #small: SlotList;
  readonly #main: SlotList;
  readonly #smallSize: number;
  readonly #mainSize: number;
  readonly #ghost: Ghost;

  /** @param capacity - how many entries the cache is expected to hold */
  constructor(facts: SlotFacts, capacity: number) {
    this.#facts = facts;
    this.#links = new Links(capacity + 1);
    this.#small = new SlotList(this.#links);
    this.#main = new SlotList(this.#links);
    this.#smallSize = Math.max(1, Math.floor(capacity / 10));
    this.#mainSize = Math.max(1, capacity - this.#smallSize);
    this.#ghost = new Ghost(Math.max(1, Math.floor(capacity * 0.9)));
  }

  onInsert(slot: number): void {
    this.#links.reserve(slot);
    if (this.#ghost.take(this.#facts.keyOf(slot))) this.#push(this.#main, slot, MAIN);
    else this.#push(this.#small, slot, SMALL);
  }

  onHit(slot: number): void {
    const mark = this.#links.mark(slot);
    if ((mark & USES) < USES) this.#links.setMark(slot, mark + 1);
  }

  onRemove(slot: number): void {
    (this.#links.mark(slot) < MAIN ? this.#small : this.#main).remove(slot);
  }

  victim(incoming: number): number {
    const fromSmall = this.#small.size >= this.#smallSize || this.#main.size === 0;
    const victim = fromSmall ? this.#leaveSmall() : this.#leaveMain();
    return victim === NONE ? incoming : victim;
  }

  clear(): void {
    this.#small.clear();
    this.#main.clear();
    this.#ghost.clear();
  }

  #push(list: SlotList, slot: number, mark: number): void {
    this.#links.setMark(slot, mark);
    list.pushHead(slot);
  }

  #leaveSmall(): number {
    for (let slot = this.#small.tail; slot !== NONE; slot = this.#small.tail) {
      const uses = this.#links.mark(slot) & USES;
      if (uses <= 1) {
        this.#ghost.add(this.#facts.keyOf(slot));
        return slot;
      }
      this.#small.remove(slot);
      this.#push(this.#main, slot, MAIN + uses);
      if (this.#main.size > this.#mainSize) return this.#leaveMain();
    }
    return this.#leaveMain();
  }

  #leaveMain(): number {
    for (let slot = this.#main.tail; slot !== NONE; slot = this.#main.tail) {
      const mark = this.#links.mark(slot);
      if ((mark & USES) === 0) return slot;
      this.#main.remove(slot);
      this.#push(this.#main, slot, mark - 1);
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
  readonly #buckets: number;
  readonly #prints: Int32Array;
  readonly #numbers: Int32Array;
  #evictions = 0;

  constructor(limit: number) {
    this.#limit = limit;
    // Twice as many places as keys, so that few are pushed out of their bucket before their time.
    this.#buckets = Math.max(16, Math.ceil((limit * 2) / WAYS));
    this.#prints = new Int32Array(this.#buckets * WAYS);
    this.#numbers = new Int32Array(this.#buckets * WAYS);
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
    const first = this.#bucketOf(print);
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
    const first = this.#bucketOf(print);
    let oldest = first;
    for (let slot = first; slot < first + WAYS; slot += 1) {
      const held = this.#prints[slot];
      if (held === print || held === 0) return slot;
      if (this.#age(slot) > this.#age(oldest)) oldest = slot;
    }
    return oldest;
  }

  #bucketOf(print: number): number {
    return ((print >>> 1) % this.#buckets) * WAYS;
  }

  #age(slot: number): number {
    return (this.#evictions - (this.#numbers[slot] ?? 0)) | 0;
  }
}
