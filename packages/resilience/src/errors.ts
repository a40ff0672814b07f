import { TimeoutError, XiaokeError } from '@xiaoke/core';

/**
 * Why a call was refused here, before the dependency was asked:
 *
 * | code | refused by |
 * |---|---|
 * | `CIRCUIT_OPEN` | an open circuit, or a half-open one whose probes are taken |
 * | `CIRCUIT_ISOLATED` | a circuit held open by hand |
 * | `BULKHEAD_FULL` | a bulkhead whose slots and queue are taken, or whose queue was waited in for too long |
 * | `RATE_LIMITED` | a rate limit |
 * | `CONCURRENCY_LIMITED` | an adaptive concurrency limit |
 * | `THROTTLED` | an adaptive throttle |
 * | `LOAD_SHED` | a load shedder |
 */
export type RejectionCode =
  | 'CIRCUIT_OPEN'
  | 'CIRCUIT_ISOLATED'
  | 'BULKHEAD_FULL'
  | 'RATE_LIMITED'
  | 'CONCURRENCY_LIMITED'
  | 'THROTTLED'
  | 'LOAD_SHED';

/** What a rejection says beside its code. */
export interface RejectionInfo {
  /** The name of the policy that refused. */
  readonly policy: string;
  /** When another try may be admitted, in milliseconds from now, if that is known. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * A call that was refused by a policy, so that the operation did not run. It says nothing about the dependency: no circuit
 * counts it and no retry repeats it by default. It has no stack trace, since refusing has to be cheaper than calling.
 */
export class RejectedError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.RejectedError';
  declare readonly code: RejectionCode;
  /** The name of the policy that refused. */
  readonly policy: string;
  /** When another try may be admitted, in milliseconds from then; `undefined` if that is not known. */
  readonly retryAfterMs: number | undefined;

  constructor(code: RejectionCode, message: string, info: RejectionInfo) {
    const { policy, retryAfterMs } = info;
    super(code, message, { details: retryAfterMs === undefined ? { policy } : { policy, retryAfterMs } });
    this.policy = policy;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether a policy refused. Most errors are none, and `instanceof`, which also knows other copies of a class, is dear. */
export function isRejection(error: unknown): error is RejectedError {
  return (
    typeof error === 'object' && error !== null && 'retryAfterMs' in error && error instanceof RejectedError
  );
}

/** Whether a timeout of this suite ended it; asked for every failure, see {@link isRejection}. */
export function isTimeoutError(error: unknown): error is TimeoutError {
  return typeof error === 'object' && error !== null && 'timeoutMs' in error && error instanceof TimeoutError;
}

/** The circuit is open, or half-open with its probes taken (`CIRCUIT_OPEN`), or held open by hand (`CIRCUIT_ISOLATED`). */
export class CircuitOpenError extends RejectedError {
  static override readonly brand: string = 'xiaoke.CircuitOpenError';
}

/** No slot, no place in the queue, or too long in it (`BULKHEAD_FULL`, `CONCURRENCY_LIMITED`). */
export class BulkheadFullError extends RejectedError {
  static override readonly brand: string = 'xiaoke.BulkheadFullError';
}

/** Too many calls for the rate that was set (`RATE_LIMITED`). */
export class RateLimitedError extends RejectedError {
  static override readonly brand: string = 'xiaoke.RateLimitedError';
}

/** Refused for the good of the dependency (`THROTTLED`) or of this process (`LOAD_SHED`). */
export class OverloadError extends RejectedError {
  static override readonly brand: string = 'xiaoke.OverloadError';
}

/** A policy name that the manager does not know; `details.known` lists those it does. */
export class UnknownPolicyError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.UnknownPolicyError';

  constructor(name: string, known: readonly string[]) {
    super('UNKNOWN_POLICY', `There is no policy "${name}"`, { details: { name, known } });
  }
}

/** The manager was closed. */
export class ManagerClosedError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.ManagerClosedError';

  constructor() {
    super('CLOSED', 'The resilience manager is closed');
  }
}

/** The deadline of the whole call had passed before an attempt could start (`DEADLINE_EXCEEDED`). */
export class DeadlineExceededError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.DeadlineExceededError';

  constructor() {
    super('DEADLINE_EXCEEDED', 'The deadline of the call has passed');
  }
}

/** Makes an error without a stack trace, which is most of what an error costs. */
export function withoutStack<E>(make: () => E): E {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = limit;
  }
}
