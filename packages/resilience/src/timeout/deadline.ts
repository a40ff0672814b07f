import { AsyncLocalStorage } from 'node:async_hooks';
import { systemClock, toMilliseconds, type Clock, type Duration } from '@xiaoke/core';

/** What an incoming request told about itself, for the calls made on its behalf. */
export class CallContext {
  readonly #clock: Clock;
  readonly #at: number;
  /** Which attempt of the caller this work belongs to. */
  readonly attempt: number;

  constructor(clock: Clock, at: number, attempt: number) {
    this.#clock = clock;
    this.#at = at;
    this.attempt = attempt;
  }

  /** The deadline in the monotonic time of `clock`. */
  at(clock: Clock): number {
    return clock === this.#clock ? this.#at : clock.monotonic() + (this.#at - this.#clock.monotonic());
  }

  remainingMs(): number {
    return Math.max(0, this.#at - this.#clock.monotonic());
  }
}

// Made on first use: merely having one makes every await dearer on Node 20.
let storage: AsyncLocalStorage<CallContext> | undefined;

/** The context of the request being served, if there is one. */
export function currentDeadline(): CallContext | undefined {
  return storage?.getStore();
}

/** What bounds work, see {@link withDeadline}. */
export interface DeadlineOptions {
  /** Which attempt of the caller this is; from 2 on, retries inside are left to the caller. @default 1 */
  readonly attempt?: number | undefined;
  /** @default systemClock */
  readonly clock?: Clock | undefined;
}

/**
 * Runs `fn` so that no call made inside, through any policy of this package, outlives `duration`: calls are ended at
 * the deadline, and no retry starts that could not finish before it. An inner deadline can only be earlier than the outer.
 *
 * @example
 * ```ts run
 * import { remainingMs, withDeadline } from '@xiaoke/resilience';
 * await withDeadline('2s', async () => console.log(remainingMs() <= 2_000)); // => true
 * ```
 */
export function withDeadline<T>(duration: Duration, fn: () => T, options: DeadlineOptions = {}): T {
  const { clock = systemClock, attempt } = options;
  const own = clock.monotonic() + toMilliseconds(duration, 'duration', { max: Infinity });
  storage ??= new AsyncLocalStorage();
  const outer = storage.getStore();
  const at = outer === undefined ? own : Math.min(own, outer.at(clock));
  return storage.run(new CallContext(clock, at, attempt ?? outer?.attempt ?? 1), fn);
}

/** Milliseconds left for the work being done; `Infinity` outside of any deadline. */
export function remainingMs(): number {
  return currentDeadline()?.remainingMs() ?? Infinity;
}
