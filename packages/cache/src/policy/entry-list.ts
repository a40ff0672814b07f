import type { Entry } from './eviction-policy.ts';

/** A doubly linked list through the entries' own `prev` (towards the head) and `next` (towards the tail). */
export class EntryList {
  head: Entry | undefined;
  tail: Entry | undefined;
  size = 0;

  pushHead(entry: Entry): void {
    const head = this.head;
    entry.prev = undefined;
    entry.next = head;
    if (head === undefined) this.tail = entry;
    else head.prev = entry;
    this.head = entry;
    this.size += 1;
  }

  pushTail(entry: Entry): void {
    const tail = this.tail;
    entry.next = undefined;
    entry.prev = tail;
    if (tail === undefined) this.head = entry;
    else tail.next = entry;
    this.tail = entry;
    this.size += 1;
  }

  remove(entry: Entry): void {
    const { prev, next } = entry;
    if (prev === undefined) this.head = next;
    else prev.next = next;
    if (next === undefined) this.tail = prev;
    else next.prev = prev;
    entry.prev = undefined;
    entry.next = undefined;
    this.size -= 1;
  }

  clear(): void {
    this.head = undefined;
    this.tail = undefined;
    this.size = 0;
  }
}
