import type { Clock, Timer } from '@xiaoke/core';

/** Something that is to happen at a time. */
export interface Due {
  /** Monotonic, in milliseconds. */
  readonly dueAt: number;
  /** Whether it is still wanted; what is not is dropped when its time comes. */
  readonly wanted: boolean;
  fire(): void;
}

/**
 * Many times, one timer: a thousand checks would otherwise make and drop two timers a run. A binary heap; nothing is taken
 * out of the middle, so at most what was put in within its longest delay is in it.
 */
export class TimerQueue {
  readonly #clock: Clock;
  readonly #heap: Due[] = [];
  readonly #wake = (): void => this.#fire();
  #timer: Timer | undefined;
  #armedFor = Infinity;
  #retained = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Puts in what is due at its `dueAt`. */
  add(due: Due): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(due);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.dueAt <= due.dueAt) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = due;
    if (due.dueAt < this.#armedFor) this.#arm(due.dueAt);
  }

  /** The process waits for what is in it until {@link release} was called as often. */
  retain(): void {
    this.#retained += 1;
    if (this.#retained === 1) this.#timer?.ref();
  }

  release(): void {
    this.#retained -= 1;
    if (this.#retained === 0) this.#timer?.unref();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armedFor = Infinity;
    this.#heap.length = 0;
  }

  #fire(): void {
    this.#armedFor = Infinity;
    const now = this.#clock.monotonic();
    let next = this.#heap[0];
    // Timers of the system may be early by a part of a millisecond.
    while (next !== undefined && (next.dueAt <= now + EARLY || !next.wanted)) {
      this.#pop();
      if (next.wanted) next.fire();
      next = this.#heap[0];
    }
    if (next !== undefined && next.dueAt < this.#armedFor) this.#arm(next.dueAt);
  }

  #arm(at: number): void {
    this.#timer?.cancel();
    this.#armedFor = at;
    this.#timer = this.#clock.setTimeout(this.#wake, Math.max(0, at - this.#clock.monotonic()));
    if (this.#retained === 0) this.#timer.unref();
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if ((heap[child + 1]?.dueAt ?? Infinity) < (heap[child]?.dueAt ?? Infinity)) child += 1;
      const below = heap[child];
      if (below === undefined || below.dueAt >= last.dueAt) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
  }
}

const EARLY = 0.5;
