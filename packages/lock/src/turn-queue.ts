import type { Waiting } from './attempt.ts';

/** A queue of waits: first in, first out; those that have ended are skipped. The links lie in the waits themselves. */
export class TurnQueue {
  #head: Waiting | undefined;
  #tail: Waiting | undefined;

  push(waiting: Waiting): void {
    if (this.#tail === undefined) this.#head = waiting;
    else this.#tail.next = waiting;
    this.#tail = waiting;
  }

  /** The first that still waits. */
  peek(): Waiting | undefined {
    while (this.#head?.done === true) this.#head = this.#head.next;
    if (this.#head === undefined) this.#tail = undefined;
    return this.#head;
  }

  shift(): Waiting | undefined {
    const first = this.peek();
    if (first === undefined) return undefined;
    this.#head = first.next;
    first.next = undefined;
    if (this.#head === undefined) this.#tail = undefined;
    return first;
  }

  /** Those that still wait, in order. */
  *waiting(): Iterable<Waiting> {
    for (let entry = this.peek(); entry !== undefined; entry = entry.next) if (!entry.done) yield entry;
  }
}
