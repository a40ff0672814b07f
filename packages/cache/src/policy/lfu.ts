import { Links } from './links.ts';
import { SlotList } from './slot-list.ts';
import { NONE, type SlotPolicy } from './slot-policy.ts';

/**
 * Least frequently used among what is in the cache, the least recent of equals first, in constant time (Shah, Mitra and
 * Matani, 2010). It never forgets an old favourite; prefer `w-tinylfu` where the workload changes.
 */
export class LfuPolicy implements SlotPolicy {
  readonly #links: Links;
  // The mark is the number of uses; one list for each number that occurs.
  readonly #uses = new Map<number, SlotList>();
  #fewest = 1;

  constructor(expected: number) {
    this.#links = new Links(expected);
  }

  onInsert(slot: number): void {
    this.#links.reserve(slot);
    this.#links.setMark(slot, 1);
    this.#fewest = 1;
    this.#listOf(1).pushHead(slot);
  }

  onHit(slot: number): void {
    const before = this.#links.mark(slot);
    this.onRemove(slot);
    this.#links.setMark(slot, before + 1);
    this.#listOf(before + 1).pushHead(slot);
    if (this.#fewest === before && !this.#uses.has(before)) this.#fewest = before + 1;
  }

  onRemove(slot: number): void {
    const uses = this.#links.mark(slot);
    const list = this.#listOf(uses);
    list.remove(slot);
    if (list.size === 0) this.#uses.delete(uses);
  }

  victim(incoming: number): number {
    let list = this.#uses.get(this.#fewest);
    // A removal can leave a gap; the next number that occurs is found once and kept.
    if (list === undefined && this.#uses.size > 0) {
      this.#fewest = Math.min(...this.#uses.keys());
      list = this.#uses.get(this.#fewest);
    }
    return list === undefined || list.tail === NONE ? incoming : list.tail;
  }

  clear(): void {
    this.#uses.clear();
    this.#fewest = 1;
  }

  #listOf(uses: number): SlotList {
    let list = this.#uses.get(uses);
    if (list === undefined) {
      list = new SlotList(this.#links);
      this.#uses.set(uses, list);
    }
    return list;
  }
}
