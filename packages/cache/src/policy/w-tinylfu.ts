import type { Random } from '@xiaoke/core';
import { EntryList } from './entry-list.ts';
import type { Entry, EvictionPolicy } from './eviction-policy.ts';
import { FrequencySketch } from './frequency-sketch.ts';
import { hashKey } from './key-hash.ts';
import { WindowClimber } from './window-climber.ts';

// mark = 30 bits of the key's hash, and the queue in the lowest two.
const QUEUE = 3;
const WINDOW = 0;
const PROBATION = 1;
const PROTECTED = 2;

const PROTECTED_SHARE = 0.8;
// A popular candidate that loses gets in once in 128 times, so that forged hash collisions cannot keep it out.
const WARM_CANDIDATE = 6;
const JITTER = 1 / 128;

/**
 * W-TinyLFU (Einziger, Friedman and Manes, 2017), adaptive: newcomers live in a window, and must have been used more often
 * than the main space's victim to stay; the window grows or shrinks as the hit ratio tells.
 */
export class WTinyLfuPolicy implements EvictionPolicy {
  readonly #window = new EntryList();
  readonly #probation = new EntryList();
  readonly #protected = new EntryList();
  readonly #sketch: FrequencySketch;
  readonly #capacity: number;
  readonly #random: Random;
  #windowSize: number;
  #protectedSize = 0;
  readonly #climber: WindowClimber;

  /** @param capacity - how many entries the cache is expected to hold */
  constructor(capacity: number, random: Random) {
    this.#capacity = capacity;
    this.#random = random;
    this.#sketch = new FrequencySketch(capacity);
    this.#climber = new WindowClimber(capacity);
    this.#windowSize = this.#climber.size;
    this.#divide();
  }

  onInsert(entry: Entry): void {
    entry.mark = hashKey(entry.key) & ~QUEUE;
    this.#sketch.increment(entry.mark >> 2);
    this.#window.pushHead(entry);
    this.#spill();
    if (this.#climber.record(false)) this.#resize();
  }

  onHit(entry: Entry): void {
    this.#sketch.increment(entry.mark >> 2);
    const queue = entry.mark & QUEUE;
    this.#listOf(entry).remove(entry);
    if (queue === WINDOW) this.#window.pushHead(entry);
    else this.#move(entry, this.#protected, PROTECTED);
    while (this.#protected.size > this.#protectedSize) this.#demote();
    if (this.#climber.record(true)) this.#resize();
  }

  onRemove(entry: Entry): void {
    this.#listOf(entry).remove(entry);
  }

  victim(incoming: Entry): Entry {
    const candidate = this.#window.tail;
    // The entry that comes in pushes the oldest of a full window out: it or the main space's victim has to go.
    if (candidate !== undefined && this.#window.size >= this.#windowSize) return this.#contest(candidate);
    return this.#probation.tail ?? this.#protected.tail ?? candidate ?? incoming;
  }

  clear(): void {
    this.#window.clear();
    this.#probation.clear();
    this.#protected.clear();
    this.#sketch.clear();
  }

  #contest(candidate: Entry): Entry {
    const resident = this.#probation.tail ?? this.#protected.tail;
    if (resident === undefined || !this.#admits(candidate, resident)) return candidate;
    this.#window.remove(candidate);
    this.#move(candidate, this.#probation, PROBATION);
    return resident;
  }

  #admits(candidate: Entry, resident: Entry): boolean {
    const uses = this.#sketch.frequency(candidate.mark >> 2);
    if (uses > this.#sketch.frequency(resident.mark >> 2)) return true;
    return uses >= WARM_CANDIDATE && this.#random() < JITTER;
  }

  #resize(): void {
    if (this.#windowSize === this.#climber.size) return;
    this.#windowSize = this.#climber.size;
    this.#divide();
    while (this.#protected.size > this.#protectedSize) this.#demote();
    this.#spill();
    this.#refill();
  }

  #divide(): void {
    this.#protectedSize = Math.floor((this.#capacity - this.#windowSize) * PROTECTED_SHARE);
  }

  #spill(): void {
    while (this.#window.size > this.#windowSize && this.#window.tail !== undefined) {
      const oldest = this.#window.tail;
      this.#window.remove(oldest);
      this.#move(oldest, this.#probation, PROBATION);
    }
  }

  #refill(): void {
    while (this.#window.size < this.#windowSize && this.#probation.tail !== undefined) {
      const entry = this.#probation.tail;
      this.#probation.remove(entry);
      entry.mark = (entry.mark & ~QUEUE) | WINDOW;
      this.#window.pushTail(entry);
    }
  }

  #demote(): void {
    const entry = this.#protected.tail;
    if (entry === undefined) return;
    this.#protected.remove(entry);
    this.#move(entry, this.#probation, PROBATION);
  }

  #move(entry: Entry, list: EntryList, queue: number): void {
    entry.mark = (entry.mark & ~QUEUE) | queue;
    list.pushHead(entry);
  }

  #listOf(entry: Entry): EntryList {
    const queue = entry.mark & QUEUE;
    if (queue === WINDOW) return this.#window;
    return queue === PROBATION ? this.#probation : this.#protected;
  }
}
