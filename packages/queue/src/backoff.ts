import { InvalidOptionError, toMilliseconds, type Duration, type Random } from '@xiaoke/core';

/** How long a task waits before its next attempt. */
export interface BackoffOptions {
  /**
   * `exponential`: `delay · 2^(attempt − 1)`; `linear`: `delay · attempt`; `constant`: `delay`. A function gets the number
   * of the attempt that failed and the error; it runs in the worker, so give it to the handler or to the defaults: one
   * given with a task applies only when the task runs in the process that enqueued it.
   */
  readonly strategy: 'exponential' | 'linear' | 'constant' | ((attempt: number, error: unknown) => Duration);
  /** @default '1s' */
  readonly delay?: Duration;
  /** @default '1h' */
  readonly maxDelay?: Duration;
  /** `full`: anywhere from 0 to the computed delay; `equal`: from half of it. @default 'full' for exponential, else 'none' */
  readonly jitter?: 'full' | 'equal' | 'none';
}

/** A backoff that was checked and travels with the task: strategy, delay, maximum, jitter. */
export type Backoff = readonly [
  'exponential' | 'linear' | 'constant',
  number,
  number,
  'full' | 'equal' | 'none',
];

/** Computes the wait after `attempt` failed with `error`. */
export type BackoffFunction = (attempt: number, error: unknown) => Duration;

/** The default: 1 s, doubling up to an hour, full jitter. */
export const DEFAULT_BACKOFF: Backoff = ['exponential', 1_000, 3_600_000, 'full'];

const STRATEGIES: readonly unknown[] = ['exponential', 'linear', 'constant'];
const JITTERS: readonly unknown[] = ['full', 'equal', 'none'];

/** Checks backoff options; a function comes back as it is. */
export function resolveBackoff(options: BackoffOptions | undefined, path: string): Backoff | BackoffFunction {
  if (options === undefined) return DEFAULT_BACKOFF;
  if (typeof options !== 'object' || options === null)
    throw new InvalidOptionError(path, 'must be an object with a strategy');
  const { strategy, delay = 1_000, maxDelay = 3_600_000 } = options;
  // Who asks for a constant or a linear delay means that delay; chance belongs to the default.
  const { jitter = strategy === 'exponential' ? 'full' : 'none' } = options;
  if (typeof strategy === 'function') return strategy;
  if (!STRATEGIES.includes(strategy)) {
    throw new InvalidOptionError(
      `${path}.strategy`,
      "must be 'exponential', 'linear', 'constant' or a function",
    );
  }
  if (!JITTERS.includes(jitter))
    throw new InvalidOptionError(`${path}.jitter`, "must be 'full', 'equal' or 'none'");
  return [
    strategy,
    toMilliseconds(delay, `${path}.delay`),
    toMilliseconds(maxDelay, `${path}.maxDelay`),
    jitter,
  ];
}

/** Milliseconds to wait after `attempt` (counted from 1) failed. */
export function backoffDelay(backoff: Backoff, attempt: number, random: Random): number {
  const [strategy, delay, maxDelay, jitter] = backoff;
  const factor =
    strategy === 'exponential' ? 2 ** Math.min(attempt - 1, 52) : strategy === 'linear' ? attempt : 1;
  const base = Math.min(delay * factor, maxDelay);
  if (jitter === 'none') return Math.round(base);
  return Math.round(jitter === 'full' ? base * random() : base * (0.5 + random() / 2));
}
