import { NONE } from './slot-policy.ts';

const SMALLEST = 64;
// Next, previous and mark of a slot lie side by side, since whoever wants one mostly wants the others.
const EACH = 3;
const PREV = 1;
const MARK = 2;

/** Three numbers for each entry of a policy: its neighbours in a list, and a mark with whatever the policy wants to know of it. */
export class Links {
  #cells: Int32Array;

  /** @param expected - how many entries there will be at most, if that is known; beyond it there is made room */
  constructor(expected: number) {
    this.#cells = new Int32Array(Math.max(SMALLEST, expected) * EACH);
  }

  next(slot: number): number {
    return this.#cells[slot * EACH] ?? NONE;
  }

  prev(slot: number): number {
    return this.#cells[slot * EACH + PREV] ?? NONE;
  }

  mark(slot: number): number {
    return this.#cells[slot * EACH + MARK] ?? 0;
  }

  setNext(slot: number, next: number): void {
    this.#cells[slot * EACH] = next;
  }

  setPrev(slot: number, prev: number): void {
    this.#cells[slot * EACH + PREV] = prev;
  }

  setMark(slot: number, mark: number): void {
    this.#cells[slot * EACH + MARK] = mark;
  }

  /** Makes sure there is room for an entry that comes in. */
  reserve(slot: number): void {
    if ((slot + 1) * EACH <= this.#cells.length) return;
    const larger = new Int32Array(Math.max((slot + 1) * EACH, this.#cells.length * 2));
    larger.set(this.#cells);
    this.#cells = larger;
  }
}
