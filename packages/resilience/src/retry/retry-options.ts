import {
  systemClock,
  systemRandom,
  toMilliseconds,
  type Clock,
  type Duration,
  type Random,
} from '@xiaoke/core';
import { checkChoice, checkFunction, checkNumber, checkObject } from '../options.ts';
import { compileBackoff, type Backoff, type BackoffOptions } from './backoff.ts';
import { resolveBudget, type RetryBudget, type RetryBudgetOptions } from './budget.ts';
import type { RetryEvent } from './retry-run.ts';
import { isRetryable } from './retryable.ts';

/** What `retryIf` is told beside the error. */
export interface RetryDecision {
  /** The number of the attempt that failed. */
  readonly attempt: number;
  readonly elapsedMs: number;
  /** What the caller said about the call. */
  readonly idempotent: boolean | undefined;
}

/** Options of a retry that are plain data. */
export interface RetryDefinition extends BackoffOptions {
  /** Attempts in all, the first included; `Infinity` is allowed. @default 3 */
  readonly attempts?: number | undefined;
  /** No attempt starts later than this after the first, and no wait is begun that would end later. @default Infinity */
  readonly maxElapsed?: Duration | undefined;
  /**
   * The longest wait that a server may ask for (`Retry-After`); one that asks for more is not asked again. `false`
   * ignores what servers say. @default '60s'
   */
  readonly retryAfter?: Duration | { readonly max: Duration } | false | undefined;
  /**
   * Bounds the retries of all calls together; a {@link RetryBudget} is shared. `false` for none, which lets retries
   * multiply the load of an outage. @default 20 % of the calls, and 10 per second
   */
  readonly budget?: RetryBudget | RetryBudgetOptions | false | undefined;
  /** Whether calls made while serving a request that is itself a retry are retried again here. @default 'suppress' */
  readonly nested?: 'suppress' | 'allow' | undefined;
}

/** Options of {@link retry}. */
export interface RetryOptions extends RetryDefinition {
  readonly name?: string | undefined;
  /** Which errors are worth another attempt. One that throws means no. @default {@link isRetryable} */
  readonly retryIf?: ((error: unknown, decision: RetryDecision) => boolean) | undefined;
  /** Which results are. When attempts run out, the last result is returned. */
  readonly retryIfResult?: ((result: unknown, decision: RetryDecision) => boolean) | undefined;
  /** Called with each result that is given up for another attempt, to release what it holds. */
  readonly disposeResult?: ((result: unknown) => unknown) | undefined;
  /** Called before each wait, as the event `retry` is; one that throws changes nothing. */
  readonly onRetry?: ((event: RetryEvent) => unknown) | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** {@link RetryOptions} checked, with nothing left open. */
export interface ResolvedRetryOptions {
  readonly attempts: number;
  readonly maxElapsed: number;
  readonly maxRetryAfter: number | undefined;
  readonly suppressNested: boolean;
  readonly backoff: Backoff;
  readonly budget: RetryBudget | undefined;
  readonly retryIf: (error: unknown, decision: RetryDecision) => boolean;
  readonly retryIfResult: ((result: unknown, decision: RetryDecision) => boolean) | undefined;
  readonly disposeResult: ((result: unknown) => unknown) | undefined;
  readonly onRetry: ((event: RetryEvent) => unknown) | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** The names of {@link RetryOptions}. */
export const RETRY_OPTION_NAMES: readonly string[] = [
  'name',
  'strategy',
  'baseDelay',
  'maxDelay',
  'factor',
  'jitter',
  'attempts',
  'maxElapsed',
  'retryAfter',
  'budget',
  'nested',
  'retryIf',
  'retryIfResult',
  'disposeResult',
  'onRetry',
  'clock',
  'random',
];

/** Checks the options of a retry. `inherited` is the budget that stays when the options name none. */
export function resolveRetryOptions(options: RetryOptions, inherited?: RetryBudget): ResolvedRetryOptions {
  checkObject('', options, RETRY_OPTION_NAMES);
  const { attempts = 3, maxElapsed = Infinity, random = systemRandom } = options;
  checkChoice('nested', options.nested ?? 'suppress', ['suppress', 'allow']);
  return Object.freeze({
    attempts: checkNumber('attempts', attempts, { min: 1, integer: true }),
    maxElapsed: toMilliseconds(maxElapsed, 'maxElapsed', { max: Infinity }),
    maxRetryAfter: resolveRetryAfter(options.retryAfter ?? '60s'),
    suppressNested: options.nested !== 'allow',
    backoff: compileBackoff(options, random),
    budget:
      options.budget === undefined && inherited !== undefined ? inherited : resolveBudget(options.budget),
    retryIf: checkFunction('retryIf', options.retryIf) ?? isRetryable,
    retryIfResult: checkFunction('retryIfResult', options.retryIfResult),
    disposeResult: checkFunction('disposeResult', options.disposeResult),
    onRetry: checkFunction('onRetry', options.onRetry),
    clock: options.clock ?? systemClock,
    random,
  });
}

function resolveRetryAfter(
  retryAfter: Exclude<RetryDefinition['retryAfter'], undefined>,
): number | undefined {
  if (retryAfter === false) return undefined;
  if (typeof retryAfter !== 'object') return toMilliseconds(retryAfter, 'retryAfter');
  checkObject('retryAfter', retryAfter, ['max']);
  return toMilliseconds(retryAfter.max, 'retryAfter.max');
}
