import { Links } from './links.ts';
import { NONE, type SlotFacts, type SlotPolicy } from './slot-policy.ts';

/** Evicts what would expire first. A binary heap of slots by their expiry; the mark is an entry's place in it. */
export class TtlPolicy implements SlotPolicy {
  readonly #facts: SlotFacts;
  readonly #places: Links;
  #heap: number[] = [];

  constructor(facts: SlotFacts, expected: number) {
    this.#facts = facts;
    this.#places = new Links(expected);
  }

  onInsert(slot: number): void {
    this.#places.reserve(slot);
    this.#put(slot, this.#heap.length);
    this.#up(slot);
  }

  // Reading it changes nothing, but writing it again does.
  onHit(slot: number): void {
    this.onExpiryMoved(slot);
  }

  onExpiryMoved(slot: number): void {
    this.#up(slot);
    this.#down(slot);
  }

  onRemove(slot: number): void {
    const last = this.#heap.pop();
    if (last === undefined || last === slot) return;
    this.#put(last, this.#places.mark(slot));
    this.onExpiryMoved(last);
  }

  victim(incoming: number): number {
    const first = this.#heap[0];
    if (first === undefined) return incoming;
    return this.#facts.expiresAt(incoming) < this.#facts.expiresAt(first) ? incoming : first;
  }

  clear(): void {
    this.#heap = [];
  }

  #put(slot: number, place: number): void {
    this.#heap[place] = slot;
    this.#places.setMark(slot, place);
  }

  #up(slot: number): void {
    for (let place = this.#places.mark(slot); place > 0; place = this.#places.mark(slot)) {
      const parent = this.#heap[(place - 1) >> 1] ?? NONE;
      if (!this.#isBefore(slot, parent)) return;
      this.#swap(parent, slot);
    }
  }

  #down(slot: number): void {
    for (;;) {
      const child = this.#earlierChild(this.#places.mark(slot));
      if (child === undefined || !this.#isBefore(child, slot)) return;
      this.#swap(slot, child);
    }
  }

  #earlierChild(place: number): number | undefined {
    const left = this.#heap[2 * place + 1];
    const right = this.#heap[2 * place + 2];
    if (left === undefined || right === undefined) return left;
    return this.#isBefore(right, left) ? right : left;
  }

  #isBefore(one: number, other: number): boolean {
    return this.#facts.expiresAt(one) < this.#facts.expiresAt(other);
  }

  #swap(above: number, below: number): void {
    const high = this.#places.mark(above);
    const low = this.#places.mark(below);
    this.#put(below, high);
    this.#put(above, low);
  }
}
