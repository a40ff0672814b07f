import { NonRetryableError, RetryLaterError, TimeoutError, toMilliseconds, type Random } from '@xiaoke/core';
import { backoffDelay, type BackoffFunction } from '../backoff.ts';
import type { Outcome } from '../backend.ts';
import { describeError, QueueError } from '../errors.ts';
import type { DeadReason } from '../events.ts';
import type { ActiveTask } from './active-task.ts';
import type { RegisteredHandler } from './handlers.ts';

/** What decides about a failed attempt. */
export interface RetryRules {
  readonly random: Random;
  readonly handler: RegisteredHandler | undefined;
  readonly backoffFunction: BackoffFunction | undefined;
}

/** The end of a task in the dead letters. */
export function dead(error: unknown, reason: DeadReason, counted: boolean): Outcome {
  return { kind: 'dead', error: JSON.stringify({ ...describeError(error), reason }), keepMs: 0, counted };
}

/** The end of a task that somebody did not want any more, or too late. */
export function ended(kind: 'cancelled' | 'expired', error: QueueError, keepMs: number): Outcome {
  const reason = error.details['reason'] ?? error.code;
  return {
    kind,
    error: JSON.stringify({ ...describeError(error), stack: undefined, reason }),
    keepMs,
    counted: false,
  };
}

/** What follows from an attempt that threw. */
export function failed(task: ActiveTask, error: unknown, rules: RetryRules): Outcome {
  if (error instanceof RetryLaterError) {
    return {
      kind: 'retry',
      delayMs: error.delayMs,
      counted: false,
      error: JSON.stringify(describeError(error)),
    };
  }
  if (error instanceof QueueError && error.code === 'HANDLER_NOT_FOUND')
    return dead(error, error.code, false);
  if (error instanceof NonRetryableError) return dead(error, 'NON_RETRYABLE', true);
  if (task.attempt >= task.maxAttempts)
    return dead(error, error instanceof TimeoutError ? 'TIMEOUT' : 'ATTEMPTS_EXHAUSTED', true);
  try {
    const delayMs = retryDelay(task, error, rules);
    return { kind: 'retry', delayMs, counted: true, error: JSON.stringify(describeError(error)) };
  } catch (cause) {
    return dead(new NonRetryableError('The backoff function failed', { cause }), 'NON_RETRYABLE', true);
  }
}

function retryDelay(task: ActiveTask, error: unknown, rules: RetryRules): number {
  const { handler } = rules;
  const custom = rules.backoffFunction ?? handler?.backoffFunction;
  if (custom !== undefined) return Math.ceil(toMilliseconds(custom(task.attempt, error), 'backoff'));
  return backoffDelay(handler?.backoff ?? task.envelope.backoff, task.attempt, rules.random);
}
