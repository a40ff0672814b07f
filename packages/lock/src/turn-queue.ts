import type { Waiting } from './attempt.ts';

/** A queue of waits: first in, first out; those that have ended are skipped. */
export class TurnQueue {
  #entries: (Waiting | undefined)[] = [];
  #head = 0;

  push(waiting: Waiting): void {
    this.#entries.push(waiting);
  }

  /** The first that still waits. */
  peek(): Waiting | undefined {
    for (; this.#head < this.#entries.length; this.#head += 1) {
      const first = this.#entries[this.#head];
      if (first !== undefined && !first.done) return first;
      this.#entries[this.#head] = undefined;
    }
    this.#entries = [];
    this.#head = 0;
    return undefined;
  }

  shift(): Waiting | undefined {
    const first = this.peek();
    if (first === undefined) return undefined;
    this.#entries[this.#head] = undefined;
    this.#head += 1;
    // Moves the rest forward only when most of the array is behind the head, so that each entry is moved O(1) times.
    if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
    return first;
  }

  /** Those that still wait, in order. */
  *waiting(): Iterable<Waiting> {
    for (let index = this.#head; index < this.#entries.length; index += 1) {
      const entry = this.#entries[index];
      if (entry !== undefined && !entry.done) yield entry;
    }
  }
}
