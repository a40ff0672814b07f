import type { Links } from './links.ts';
import { NONE } from './slot-policy.ts';

/** A doubly linked list of slots; several lists may share their {@link Links}, since an entry is in one of them at a time. */
export class SlotList {
  head: number = NONE;
  tail: number = NONE;
  size = 0;
  readonly #links: Links;

  constructor(links: Links) {
    this.#links = links;
  }

  pushHead(slot: number): void {
    const head = this.head;
    this.#links.setPrev(slot, NONE);
    this.#links.setNext(slot, head);
    if (head === NONE) this.tail = slot;
    else this.#links.setPrev(head, slot);
    this.head = slot;
    this.size += 1;
  }

  pushTail(slot: number): void {
    const tail = this.tail;
    this.#links.setNext(slot, NONE);
    this.#links.setPrev(slot, tail);
    if (tail === NONE) this.head = slot;
    else this.#links.setNext(tail, slot);
    this.tail = slot;
    this.size += 1;
  }

  remove(slot: number): void {
    const prev = this.#links.prev(slot);
    const next = this.#links.next(slot);
    if (prev === NONE) this.head = next;
    else this.#links.setNext(prev, next);
    if (next === NONE) this.tail = prev;
    else this.#links.setPrev(next, prev);
    this.size -= 1;
  }

  moveToHead(slot: number): void {
    if (this.head === slot) return;
    this.remove(slot);
    this.pushHead(slot);
  }

  clear(): void {
    this.head = NONE;
    this.tail = NONE;
    this.size = 0;
  }
}
