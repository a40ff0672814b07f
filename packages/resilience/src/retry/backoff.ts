import { toMilliseconds, type Duration, type Random } from '@xiaoke/core';
import { checkChoice, checkNumber, checkObject } from '../options.ts';

/**
 * How long the wait before each retry is, before jitter. With base `b` and factor `f`, before retry `n`:
 * exponential `b * f^(n-1)`, linear `b * n`, constant `b`, Fibonacci `b * 1, 1, 2, 3, 5 …`; decorrelated draws from
 * `b` to three times the last wait. A function gives the wait itself.
 */
export type BackoffStrategy =
  | 'exponential'
  | 'linear'
  | 'constant'
  | 'decorrelated'
  | 'fibonacci'
  | ((attempt: number, error: unknown) => Duration);

/**
 * How waits are spread so that clients do not come back in step: anywhere up to the wait (`full`), in its upper half
 * (`equal`), or within a share of it on either side (a number from 0 to 1, or `proportional`). `true` is `full`. It is applied after the cap, so it also spreads clients that all wait the maximum.
 */
export type Jitter = 'none' | 'full' | 'equal' | boolean | number | { readonly proportional: number };

/** Options of a backoff. */
export interface BackoffOptions {
  /** @default 'exponential' */
  readonly strategy?: BackoffStrategy | undefined;
  /** @default '100ms' */
  readonly baseDelay?: Duration | undefined;
  /** No wait is longer, jitter included. @default '10s' */
  readonly maxDelay?: Duration | undefined;
  /** Growth of `exponential`. @default 2 */
  readonly factor?: number | undefined;
  /** @default 'full'; 'none' for a function */
  readonly jitter?: Jitter | undefined;
}

/** Computes the wait before retry `retry` (1 is the first), a whole number of milliseconds. */
export type Backoff = (retry: number, previous: number, error: unknown) => number;

const STRATEGIES = ['exponential', 'linear', 'constant', 'decorrelated', 'fibonacci'] as const;
// The longest wait a timer can make in one piece.
const LONGEST = 2 ** 31 - 1;

/** Compiles a backoff; a pure function of its arguments and `random`. */
export function compileBackoff(options: BackoffOptions, random: Random): Backoff {
  const { strategy = 'exponential', factor = 2 } = options;
  const base = toMilliseconds(options.baseDelay ?? 100, 'baseDelay', { max: LONGEST });
  const max = Math.floor(toMilliseconds(options.maxDelay ?? 10_000, 'maxDelay', { max: LONGEST }));
  checkNumber('factor', factor, { min: 1, max: 1_000 });
  const jitter = compileJitter(
    options.jitter ?? (typeof strategy === 'function' ? 'none' : 'full'),
    max,
    random,
  );
  if (typeof strategy === 'function') return (retry, _, error) => jitter(custom(strategy, retry, error, max));
  switch (checkChoice('strategy', strategy, STRATEGIES)) {
    case 'exponential':
      return (retry) => jitter(base === 0 ? 0 : Math.min(max, base * factor ** (retry - 1)));
    case 'linear':
      return (retry) => jitter(Math.min(max, base * retry));
    case 'constant':
      return () => jitter(Math.min(max, base));
    case 'fibonacci':
      return (retry) => jitter(fibonacci(retry, base, max));
    case 'decorrelated':
      return (_, previous) => decorrelated(base, Math.max(base, previous), max, random);
  }
}

function custom(
  strategy: (attempt: number, error: unknown) => Duration,
  retry: number,
  error: unknown,
  max: number,
): number {
  try {
    return Math.min(max, toMilliseconds(strategy(retry, error), 'strategy', { max: Infinity }));
  } catch {
    // A function that fails at run time must not hide the operation's error; the longest wait is the safe guess.
    return max;
  }
}

function fibonacci(retry: number, base: number, max: number): number {
  let [current, next] = [base, base];
  for (let index = 1; index < retry && current < max; index += 1) [current, next] = [next, current + next];
  return Math.min(max, current);
}

// "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
function decorrelated(base: number, previous: number, max: number, random: Random): number {
  const low = Math.min(base, max);
  const high = Math.min(max, previous * 3);
  return Math.round(low + random() * (high - low));
}

function compileJitter(jitter: Jitter, max: number, random: Random): (delay: number) => number {
  if (typeof jitter === 'number') return compileJitter({ proportional: jitter }, max, random);
  if (typeof jitter === 'object') return proportional(jitter, max, random);
  const named = typeof jitter === 'boolean' ? (jitter ? 'full' : 'none') : jitter;
  switch (checkChoice('jitter', named, ['none', 'full', 'equal'])) {
    case 'none':
      return (delay) => Math.round(delay);
    case 'full':
      return (delay) => Math.floor(random() * (Math.floor(delay) + 1));
    case 'equal':
      return (delay) => Math.ceil(delay / 2) + Math.floor(random() * (Math.floor(delay / 2) + 1));
  }
}

function proportional(
  jitter: { readonly proportional: number },
  max: number,
  random: Random,
): (delay: number) => number {
  checkObject('jitter', jitter, ['proportional']);
  const share = checkNumber('jitter.proportional', jitter.proportional, { min: 0, max: 1 });
  return (delay) => {
    const low = delay * (1 - share);
    // At the cap the range is cut, not the draw: cutting the draw would send half of all clients back in step.
    return Math.round(low + random() * (Math.min(max, delay * (1 + share)) - low));
  };
}
