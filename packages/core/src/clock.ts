/** The source of time and timers. Pass another one in tests (`FakeClock` of `@xiaoke/core/testing`). */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch. It can jump; never measure a span with it. */
  now(): number;
  /** Milliseconds from an arbitrary start that never goes back. Use it for every deadline and duration. */
  monotonic(): number;
  /** Runs `callback` once, no earlier than `delay` milliseconds from now; any length is safe. */
  setTimeout(callback: () => void, delay: number): Timer;
  /** Runs `callback` every `period` milliseconds until cancelled. */
  setInterval(callback: () => void, period: number): Timer;
}

/** A running timer. */
export interface Timer {
  /** Stops it; safe to call again, and after it fired. */
  cancel(): void;
  /** Lets the process exit while the timer is pending. Returns itself. */
  unref(): Timer;
  /** Makes the process wait for it again, as it does from the start. Returns itself. */
  ref(): Timer;
}

// setTimeout fires at once when asked for more than this, so longer waits are made of several.
const MAX_DELAY = 2 ** 31 - 1;

class LongTimeout implements Timer {
  readonly #callback: () => void;
  #remaining: number;
  #handle: NodeJS.Timeout;
  #referenced = true;

  constructor(callback: () => void, delay: number) {
    this.#callback = callback;
    this.#remaining = delay;
    this.#handle = this.#arm();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }

  unref(): Timer {
    this.#referenced = false;
    this.#handle.unref();
    return this;
  }

  ref(): Timer {
    this.#referenced = true;
    this.#handle.ref();
    return this;
  }

  #arm(): NodeJS.Timeout {
    const part = Math.min(this.#remaining, MAX_DELAY);
    this.#remaining -= part;
    const handle = setTimeout(() => {
      if (this.#remaining > 0) this.#handle = this.#arm();
      else this.#callback();
    }, part);
    return this.#referenced ? handle : handle.unref();
  }
}

class Interval implements Timer {
  readonly #handle: NodeJS.Timeout;

  constructor(callback: () => void, period: number) {
    this.#handle = setInterval(callback, Math.min(period, MAX_DELAY));
  }

  cancel(): void {
    clearInterval(this.#handle);
  }

  unref(): Timer {
    this.#handle.unref();
    return this;
  }

  ref(): Timer {
    this.#handle.ref();
    return this;
  }
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  // Node's timers count in whole milliseconds and may fire up to one early against performance.now().
  setTimeout: (callback, delay) => new LongTimeout(callback, Math.ceil(Math.max(0, delay))),
  setInterval: (callback, period) => new Interval(callback, Math.max(1, period)),
};

/** A source of random numbers in `[0, 1)`. Pass another one for a repeatable test. */
export type Random = () => number;

/** The machine's random numbers; not for secrets. */
export const systemRandom: Random = () => Math.random();
