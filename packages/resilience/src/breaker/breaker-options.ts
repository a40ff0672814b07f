import {
  InvalidOptionError,
  systemRandom,
  toMilliseconds,
  type Clock,
  type Duration,
  type Random,
} from '@xiaoke/core';
import { checkChoice, checkFunction, checkNumber, checkObject, checkShare } from '../options.ts';
import { CountWindow, TimeWindow, type CallWindow } from './call-window.ts';
import type { SharedCircuits } from './shared-circuits.ts';

/** How long a circuit stays open, growing each time a probe fails. */
export interface OpenForOptions {
  readonly initial: Duration;
  /** @default '60s' */
  readonly max?: Duration | undefined;
  /** @default 2 */
  readonly factor?: number | undefined;
  /** Spreads the probes of many processes: up to this share is added. @default 0.1 */
  readonly jitter?: number | undefined;
}

/** Options of a circuit breaker that are plain data. */
export interface CircuitBreakerDefinition {
  /** Share of failed calls at which the circuit opens, 0 (excluded) to 1; reached is enough. @default 0.5 */
  readonly failureRate?: number | undefined;
  /** So many calls must have ended in the window before a rate means anything. @default 20, or the calls of the window if those are fewer */
  readonly minimumCalls?: number | undefined;
  /** The calls that are judged: those of the last while, or the last so many. @default '10s' */
  readonly window?: Duration | { readonly calls: number } | undefined;
  /** Also opens after so many failures in a row, whatever the rate. @default none */
  readonly consecutiveFailures?: number | undefined;
  /** Also opens when the share `rate` (0.8) of the calls took `after` or longer; a duration alone is `after`. @default none */
  readonly slowCall?: Duration | { readonly after: Duration; readonly rate?: number | undefined } | undefined;
  /** How long it stays open: always the same, or growing. @default { initial: '5s', factor: 2, max: '60s' } */
  readonly openFor?: Duration | OpenForOptions | undefined;
  /** Calls let through to find out whether the dependency is back. @default 3 */
  readonly halfOpenCalls?: number | undefined;
  /** So many of them at once. @default halfOpenCalls */
  readonly halfOpenConcurrency?: number | undefined;
  /** Without a verdict after this time, a half-open circuit opens again. @default '10s' */
  readonly halfOpenTimeout?: Duration | undefined;
  /** `observe`: goes through its states and refuses nothing. `disabled`: does nothing at all. @default 'enforce' */
  readonly mode?: 'enforce' | 'observe' | 'disabled' | undefined;
  /** Whether `429`, and `503` with a `Retry-After`, are failures; they mean a busy dependency, not a broken one. @default false */
  readonly countThrottles?: boolean | undefined;
}

/** Options of {@link circuitBreaker}. */
export interface CircuitBreakerOptions extends CircuitBreakerDefinition {
  /** Also the name under which processes share its state. */
  readonly name?: string | undefined;
  /** Which errors are failures; the others count as successes. @default all */
  readonly failureIf?: ((error: unknown) => boolean) | undefined;
  /** Which results are failures all the same. @default none */
  readonly failureIfResult?: ((result: unknown) => boolean) | undefined;
  /** Which errors say nothing about the dependency, and are not counted at all. @default none */
  readonly ignoreIf?: ((error: unknown) => boolean) | undefined;
  /** Shares openings with other processes; see `createSharedCircuits`. */
  readonly shared?: SharedCircuits | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** {@link CircuitBreakerOptions} checked, with nothing left open. */
export interface ResolvedBreakerOptions {
  readonly failureRate: number;
  readonly minimumCalls: number;
  readonly consecutiveFailures: number;
  readonly slowAfter: number;
  readonly slowRate: number;
  readonly halfOpenCalls: number;
  readonly halfOpenConcurrency: number;
  readonly halfOpenTimeout: number;
  readonly mode: 'enforce' | 'observe' | 'disabled';
  readonly countThrottles: boolean;
  readonly failureIf: ((error: unknown) => boolean) | undefined;
  readonly failureIfResult: ((result: unknown) => boolean) | undefined;
  readonly ignoreIf: ((error: unknown) => boolean) | undefined;
  /** Milliseconds for the nth opening in a row, from 1. */
  readonly openFor: (openings: number) => number;
  readonly makeWindow: () => CallWindow;
}

/** The names of {@link CircuitBreakerOptions}. */
export const BREAKER_OPTION_NAMES: readonly string[] = [
  'name',
  'failureRate',
  'minimumCalls',
  'window',
  'consecutiveFailures',
  'slowCall',
  'openFor',
  'halfOpenCalls',
  'halfOpenConcurrency',
  'halfOpenTimeout',
  'mode',
  'countThrottles',
  'failureIf',
  'failureIfResult',
  'ignoreIf',
  'shared',
  'clock',
  'random',
];

const BUCKETS = 10;

/** Checks the options of a circuit breaker. */
export function resolveBreakerOptions(options: CircuitBreakerOptions): ResolvedBreakerOptions {
  checkObject('', options, BREAKER_OPTION_NAMES);
  const { halfOpenCalls = 3, consecutiveFailures = Infinity, mode = 'enforce' } = options;
  const minimumCalls = options.minimumCalls ?? fewestCalls(options.window);
  const makeWindow = resolveWindow(options.window ?? '10s', minimumCalls);
  const slow = resolveSlowCall(options.slowCall);
  const whole = { min: 1, integer: true };
  return Object.freeze({
    failureRate: checkShare('failureRate', options.failureRate ?? 0.5),
    minimumCalls: checkNumber('minimumCalls', minimumCalls, whole),
    consecutiveFailures: checkNumber('consecutiveFailures', consecutiveFailures, whole),
    ...slow,
    halfOpenCalls: checkNumber('halfOpenCalls', halfOpenCalls, { ...whole, max: 10_000 }),
    halfOpenConcurrency: checkNumber(
      'halfOpenConcurrency',
      options.halfOpenConcurrency ?? halfOpenCalls,
      whole,
    ),
    halfOpenTimeout: toMilliseconds(options.halfOpenTimeout ?? '10s', 'halfOpenTimeout', { min: 1 }),
    mode: checkChoice('mode', mode, ['enforce', 'observe', 'disabled']),
    countThrottles: options.countThrottles ?? false,
    failureIf: checkFunction('failureIf', options.failureIf),
    failureIfResult: checkFunction('failureIfResult', options.failureIfResult),
    ignoreIf: checkFunction('ignoreIf', options.ignoreIf),
    openFor: resolveOpenFor(options.openFor ?? { initial: '5s' }, options.random ?? systemRandom),
    makeWindow,
  });
}

function fewestCalls(window: CircuitBreakerDefinition['window']): number {
  const usual = 20;
  return typeof window === 'object' && window !== null && window.calls < usual ? window.calls : usual;
}

function resolveWindow(
  window: Duration | { readonly calls: number },
  minimumCalls: number,
): () => CallWindow {
  if (typeof window !== 'object') {
    const duration = toMilliseconds(window, 'window', { min: BUCKETS });
    return () => new TimeWindow(duration, BUCKETS);
  }
  checkObject('window', window, ['calls']);
  const calls = checkNumber('window.calls', window.calls, { min: 1, max: 1_000_000, integer: true });
  if (calls < minimumCalls)
    throw new InvalidOptionError('window.calls', `must be at least minimumCalls (${minimumCalls})`);
  return () => new CountWindow(calls);
}

function resolveSlowCall(
  slowCall: CircuitBreakerDefinition['slowCall'],
): Pick<ResolvedBreakerOptions, 'slowAfter' | 'slowRate'> {
  if (slowCall === undefined) return { slowAfter: Infinity, slowRate: 1 };
  if (typeof slowCall !== 'object') return resolveSlowCall({ after: slowCall });
  checkObject('slowCall', slowCall, ['after', 'rate']);
  return {
    slowAfter: toMilliseconds(slowCall.after, 'slowCall.after', { min: 1 }),
    slowRate: checkShare('slowCall.rate', slowCall.rate ?? 0.8),
  };
}

function resolveOpenFor(openFor: Duration | OpenForOptions, random: Random): (openings: number) => number {
  if (typeof openFor !== 'object') {
    const duration = toMilliseconds(openFor, 'openFor', { min: 1 });
    return () => duration;
  }
  checkObject('openFor', openFor, ['initial', 'max', 'factor', 'jitter']);
  const initial = toMilliseconds(openFor.initial, 'openFor.initial', { min: 1 });
  const max = toMilliseconds(openFor.max ?? '60s', 'openFor.max', { min: initial });
  const factor = checkNumber('openFor.factor', openFor.factor ?? 2, { min: 1, max: 100 });
  const jitter = checkNumber('openFor.jitter', openFor.jitter ?? 0.1, { min: 0, max: 1 });
  return (openings) => Math.min(max, initial * factor ** (openings - 1) * (1 + jitter * random()));
}
