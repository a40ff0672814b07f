import type { Clock, Timer } from '../clock.ts';

interface Pending {
  readonly id: number;
  due: number;
  readonly period: number | undefined;
  readonly callback: () => void;
}

/**
 * A clock that stands still until it is told to move. Wall-clock and monotonic time move together; {@link FakeClock.jump}
 * moves the wall clock alone.
 *
 * @example
 * ```ts
 * import { FakeClock } from '@xiaoke/core/testing';
 * const clock = new FakeClock();
 * clock.setTimeout(() => console.log('rang at', clock.monotonic()), 500);
 * await clock.advance(1_000); // => rang at 500
 * ```
 */
export class FakeClock implements Clock {
  readonly #pending = new Map<number, Pending>();
  #wall: number;
  #monotonic = 0;
  #lastId = 0;

  /** @param start - the wall-clock time to begin with, in milliseconds since the epoch */
  constructor(start: number = Date.UTC(2030, 0, 1)) {
    this.#wall = start;
  }

  /** How many timers are waiting. */
  get timers(): number {
    return this.#pending.size;
  }

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  setTimeout(callback: () => void, delay: number): Timer {
    return this.#add(callback, Math.max(0, delay), undefined);
  }

  setInterval(callback: () => void, period: number): Timer {
    return this.#add(callback, Math.max(1, period), Math.max(1, period));
  }

  /** Moves the wall clock by `milliseconds`, which may be negative, and fires nothing. */
  jump(milliseconds: number): void {
    this.#wall += milliseconds;
  }

  /** Lets `milliseconds` pass, firing each timer at its own time and letting promises settle in between. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#monotonic + milliseconds;
    await settle();
    for (let next = this.#earliest(end); next !== undefined; next = this.#earliest(end)) {
      this.#moveTo(next.due);
      if (next.period === undefined) this.#pending.delete(next.id);
      else next.due += next.period;
      next.callback();
      await settle();
    }
    this.#moveTo(end);
    await settle();
  }

  #add(callback: () => void, delay: number, period: number | undefined): Timer {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#pending.set(id, { id, due: this.#monotonic + delay, period, callback });
    const timer: Timer = {
      cancel: () => void this.#pending.delete(id),
      unref: () => timer,
      ref: () => timer,
    };
    return timer;
  }

  #earliest(end: number): Pending | undefined {
    let earliest: Pending | undefined;
    for (const pending of this.#pending.values()) {
      if (pending.due <= end && (earliest === undefined || pending.due < earliest.due)) earliest = pending;
    }
    return earliest;
  }

  #moveTo(time: number): void {
    this.#wall += time - this.#monotonic;
    this.#monotonic = time;
  }
}

// A turn of the event loop lets every chain of already settled promises run to its end.
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
