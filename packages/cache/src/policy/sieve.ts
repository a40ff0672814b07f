import { Links } from './links.ts';
import { SlotList } from './slot-list.ts';
import { NONE, type SlotPolicy } from './slot-policy.ts';

/**
 * SIEVE (Zhang et al., NSDI '24): entries stay in insertion order, a read sets one bit, and a hand that walks from the
 * oldest to the newest evicts the first entry without it. Not scan resistant, by its authors' own word.
 */
export class SievePolicy implements SlotPolicy {
  readonly #links: Links;
  readonly #list: SlotList;
  #hand: number = NONE;

  constructor(expected: number) {
    this.#links = new Links(expected);
    this.#list = new SlotList(this.#links);
  }

  onInsert(slot: number): void {
    this.#links.reserve(slot);
    this.#links.setMark(slot, 0);
    this.#list.pushHead(slot);
  }

  onHit(slot: number): void {
    this.#links.setMark(slot, 1);
  }

  onRemove(slot: number): void {
    if (this.#hand === slot) this.#hand = this.#links.prev(slot);
    this.#list.remove(slot);
  }

  victim(incoming: number): number {
    let candidate = this.#hand === NONE ? this.#list.tail : this.#hand;
    while (candidate !== NONE && this.#links.mark(candidate) === 1) {
      this.#links.setMark(candidate, 0);
      const newer = this.#links.prev(candidate);
      candidate = newer === NONE ? this.#list.tail : newer;
    }
    this.#hand = candidate;
    return candidate === NONE ? incoming : candidate;
  }

  clear(): void {
    this.#list.clear();
    this.#hand = NONE;
  }
}
