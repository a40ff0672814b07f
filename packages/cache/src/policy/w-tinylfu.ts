import type { Random } from '@xiaoke/core';
import { FrequencySketch } from './frequency-sketch.ts';
import { hashKey } from './key-hash.ts';
import { Links } from './links.ts';
import { SlotList } from './slot-list.ts';
import { NONE, type SlotFacts, type SlotPolicy } from './slot-policy.ts';
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
export class WTinyLfuPolicy implements SlotPolicy {
  readonly #facts: SlotFacts;
  readonly #links: Links;
  readonly #window: SlotList;
  readonly #probation: SlotList;
  readonly #protected: SlotList;
  readonly #sketch: FrequencySketch;
  readonly #capacity: number;
  readonly #random: Random;
  #windowSize: number;
  #protectedSize = 0;
  readonly #climber: WindowClimber;

  /** @param capacity - how many entries the cache is expected to hold */
  constructor(facts: SlotFacts, capacity: number, random: Random) {
    this.#facts = facts;
    this.#capacity = capacity;
    this.#random = random;
    this.#links = new Links(capacity + 1);
    this.#window = new SlotList(this.#links);
    this.#probation = new SlotList(this.#links);
    this.#protected = new SlotList(this.#links);
    this.#sketch = new FrequencySketch(capacity);
    this.#climber = new WindowClimber(capacity);
    this.#windowSize = this.#climber.size;
    this.#divide();
  }

  onInsert(slot: number): void {
    this.#links.reserve(slot);
    const mark = hashKey(this.#facts.keyOf(slot)) & ~QUEUE;
    this.#sketch.increment(mark >> 2);
    this.#move(slot, mark, WINDOW);
    this.#spill();
    if (this.#climber.record(false)) this.#resize();
  }

  onHit(slot: number): void {
    const mark = this.#links.mark(slot);
    this.#sketch.increment(mark >> 2);
    const queue = mark & QUEUE;
    if (queue === PROBATION) this.#promote(slot, mark);
    else this.#listOf(queue).moveToHead(slot);
    if (this.#climber.record(true)) this.#resize();
  }

  onRemove(slot: number): void {
    this.#listOf(this.#links.mark(slot) & QUEUE).remove(slot);
  }

  victim(incoming: number): number {
    const candidate = this.#window.tail;
    // The entry that comes in pushes the oldest of a full window out: it or the main space's victim has to go.
    if (candidate !== NONE && this.#window.size >= this.#windowSize) return this.#contest(candidate);
    const resident = this.#resident();
    if (resident !== NONE) return resident;
    return candidate === NONE ? incoming : candidate;
  }

  clear(): void {
    this.#window.clear();
    this.#probation.clear();
    this.#protected.clear();
    this.#sketch.clear();
  }

  /** Who has to leave the main space. */
  #resident(): number {
    return this.#probation.tail === NONE ? this.#protected.tail : this.#probation.tail;
  }

  #contest(candidate: number): number {
    const resident = this.#resident();
    if (resident === NONE || !this.#admits(candidate, resident)) return candidate;
    this.#window.remove(candidate);
    this.#move(candidate, this.#links.mark(candidate), PROBATION);
    return resident;
  }

  #admits(candidate: number, resident: number): boolean {
    const uses = this.#sketch.frequency(this.#links.mark(candidate) >> 2);
    if (uses > this.#sketch.frequency(this.#links.mark(resident) >> 2)) return true;
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
    while (this.#window.size > this.#windowSize) {
      const oldest = this.#window.tail;
      this.#window.remove(oldest);
      this.#move(oldest, this.#links.mark(oldest), PROBATION);
    }
  }

  #refill(): void {
    while (this.#window.size < this.#windowSize && this.#probation.size > 0) {
      const slot = this.#probation.tail;
      this.#probation.remove(slot);
      this.#links.setMark(slot, (this.#links.mark(slot) & ~QUEUE) | WINDOW);
      this.#window.pushTail(slot);
    }
  }

  #promote(slot: number, mark: number): void {
    this.#probation.remove(slot);
    this.#move(slot, mark, PROTECTED);
    while (this.#protected.size > this.#protectedSize) this.#demote();
  }

  #demote(): void {
    const slot = this.#protected.tail;
    this.#protected.remove(slot);
    this.#move(slot, this.#links.mark(slot), PROBATION);
  }

  #move(slot: number, mark: number, queue: number): void {
    this.#links.setMark(slot, (mark & ~QUEUE) | queue);
    this.#listOf(queue).pushHead(slot);
  }

  #listOf(queue: number): SlotList {
    if (queue === WINDOW) return this.#window;
    return queue === PROBATION ? this.#probation : this.#protected;
  }
}
