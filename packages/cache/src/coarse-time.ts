import type { Clock, Timer } from '@xiaoke/core';

/**
 * The cache's own time: whole milliseconds since it was made, on the monotonic clock. Reading a clock costs as much as the
 * whole lookup, so the time stands still for the rest of a millisecond once it was read, and within one turn of the
 * event loop.
 */
export class CoarseTime {
  readonly #clock: Clock;
  readonly #start: number;
  #current = -1;
  #timer: Timer | undefined;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#start = clock.monotonic();
  }

  now(): number {
    return this.#current === -1 ? this.#read() : this.#current;
  }

  /** The time as exactly as the clock gives it, for measuring a span. */
  exact(): number {
    return this.#clock.monotonic() - this.#start;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#current = -1;
  }

  // A small integer, which is stored in an entry without a box of its own.
  #read(): number {
    const now = Math.trunc(this.exact());
    if (this.#closed) return now;
    this.#current = now;
    this.#timer = this.#clock.setTimeout(this.#expire, 1).unref();
    return now;
  }

  readonly #expire = (): void => {
    this.#current = -1;
  };
}
