import type { Clock, Timer } from '@xiaoke/core';

interface Event {
  readonly at: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

/** Virtual time for simulations of many thousand calls: a heap of events, and promises settle between any two. */
export class SimClock implements Clock {
  readonly #heap: Event[] = [];
  #time = 0;
  #order = 0;

  now(): number {
    return this.#time;
  }

  monotonic(): number {
    return this.#time;
  }

  setTimeout(callback: () => void, delay: number): Timer {
    const event: Event = { at: this.#time + Math.max(0, delay), order: (this.#order += 1), callback };
    this.#push(event);
    const timer: Timer = {
      cancel: () => void (event.callback = undefined),
      unref: () => timer,
      ref: () => timer,
    };
    return timer;
  }

  setInterval(): Timer {
    throw new Error('no simulation needs an interval');
  }

  /** Runs until virtual time is `end`. */
  async runUntil(end: number): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.at <= end; next = this.#heap[0]) {
      this.#pop();
      if (next.callback === undefined) continue;
      this.#time = next.at;
      next.callback();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    this.#time = end;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(event, heap[parent])) break;
      heap[index] = heap[parent] as Event;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (before(heap[child + 1], heap[child])) child += 1;
      if (!before(heap[child], last)) break;
      heap[index] = heap[child] as Event;
      index = child;
    }
    heap[index] = last;
  }
}

function before(a: Event | undefined, b: Event | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
