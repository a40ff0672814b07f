import type { Clock, Timer } from '@xiaoke/core';

/** Something that is due at a time. An entry can wait in one timeline at a time. */
export interface TimelineEntry {
  /** When it is due, on the monotonic clock. Owned by the timeline while it waits there. */
  dueAt: number;
  /** Its place in the heap, -1 when it does not wait. Owned by the timeline. */
  heapIndex: number;
  /** Called once, no earlier than `dueAt`. */
  onDue(): void;
}

/**
 * Any number of deadlines behind one timer: a binary heap whose entries know their place, so that adding and removing
 * cost O(log n) and, in the common case of a lock that is released long before its deadline, no system timer at all.
 */
export class Timeline {
  readonly #clock: Clock;
  readonly #ref: boolean;
  readonly #heap: TimelineEntry[] = [];
  #timer: Timer | undefined;
  #armedFor = Infinity;

  /** @param ref - whether waiting entries keep the process alive */
  constructor(clock: Clock, ref: boolean) {
    this.#clock = clock;
    this.#ref = ref;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Sets or moves `entry` to `at`. */
  schedule(entry: TimelineEntry, at: number): void {
    if (this.#has(entry)) this.#remove(entry);
    entry.dueAt = at;
    entry.heapIndex = this.#heap.length;
    this.#heap.push(entry);
    this.#up(entry);
    if (at < this.#armedFor) this.#arm(at);
  }

  /** Takes `entry` out; nothing happens when it does not wait here. */
  cancel(entry: TimelineEntry): void {
    if (!this.#has(entry)) return;
    this.#remove(entry);
    // A timer nobody needs fires once, harmlessly; but one that keeps the process alive must go.
    if (this.#ref && this.#heap.length === 0) this.#disarm();
  }

  /** Runs `callback` after `delay` milliseconds. */
  after(delay: number, callback: () => void): TimelineEntry {
    const entry: TimelineEntry = { dueAt: 0, heapIndex: -1, onDue: callback };
    this.schedule(entry, this.#clock.monotonic() + delay);
    return entry;
  }

  /** Forgets everything. */
  clear(): void {
    for (const entry of this.#heap) entry.heapIndex = -1;
    this.#heap.length = 0;
    this.#disarm();
  }

  #has(entry: TimelineEntry): boolean {
    return entry.heapIndex >= 0 && this.#heap[entry.heapIndex] === entry;
  }

  #arm(at: number): void {
    this.#timer?.cancel();
    this.#armedFor = at;
    this.#timer = this.#clock.setTimeout(() => this.#fire(), at - this.#clock.monotonic());
    if (!this.#ref) this.#timer.unref();
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armedFor = Infinity;
  }

  #fire(): void {
    this.#disarm();
    const now = this.#clock.monotonic();
    const due: TimelineEntry[] = [];
    for (let first = this.#heap[0]; first !== undefined && first.dueAt <= now; first = this.#heap[0]) {
      this.#remove(first);
      due.push(first);
    }
    for (const entry of due) entry.onDue();
    const next = this.#heap[0];
    if (next !== undefined && next.dueAt < this.#armedFor) this.#arm(next.dueAt);
  }

  #remove(entry: TimelineEntry): void {
    const last = this.#heap.pop();
    if (last !== undefined && last !== entry) {
      last.heapIndex = entry.heapIndex;
      this.#heap[last.heapIndex] = last;
      this.#up(last);
      this.#down(last);
    }
    entry.heapIndex = -1;
  }

  #up(entry: TimelineEntry): void {
    while (entry.heapIndex > 0) {
      const parent = this.#heap[(entry.heapIndex - 1) >> 1];
      if (parent === undefined || parent.dueAt <= entry.dueAt) return;
      this.#swap(entry, parent);
    }
  }

  #down(entry: TimelineEntry): void {
    for (;;) {
      const left = this.#heap[2 * entry.heapIndex + 1];
      const right = this.#heap[2 * entry.heapIndex + 2];
      const child = right !== undefined && left !== undefined && right.dueAt < left.dueAt ? right : left;
      if (child === undefined || entry.dueAt <= child.dueAt) return;
      this.#swap(child, entry);
    }
  }

  #swap(up: TimelineEntry, down: TimelineEntry): void {
    const index = up.heapIndex;
    up.heapIndex = down.heapIndex;
    down.heapIndex = index;
    this.#heap[up.heapIndex] = up;
    this.#heap[down.heapIndex] = down;
  }
}
