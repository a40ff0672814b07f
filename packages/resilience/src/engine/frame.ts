import type { Clock } from '@xiaoke/core';
import type { RetryEngine } from '../retry/retry-engine.ts';
import type { Operation } from './context.ts';
import type { CallMeter } from './call-meter.ts';
import { Attempt, attemptNumber, Scope } from './scope.ts';
import { enterStages, failScope, leaveStages, type Stage } from './stage.ts';

/** Something that runs an operation inside a scope: a frame, or a policy with a control flow of its own. */
export interface Runner {
  run(scope: Scope, operation: Operation<unknown>): Promise<unknown>;
}

/** What a frame is made of, outermost first. */
export interface FrameParts {
  /** Around all attempts. */
  readonly outer: readonly Stage[];
  readonly retry: RetryEngine | undefined;
  /** Around each attempt. */
  readonly inner: readonly Stage[];
  /** What runs inside; without one, the operation itself does. */
  readonly next: Runner | undefined;
  readonly clock: Clock;
}

/**
 * A part of a pipeline compiled into one asynchronous function: stages, at most one retry, stages, operation. The first
 * attempt runs inside it; what costs more (p-retry, waiting) is entered only when it is needed.
 */
export class Frame implements Runner {
  readonly #parts: FrameParts;
  readonly #meter: CallMeter | undefined;

  constructor(parts: FrameParts, meter: CallMeter | undefined) {
    this.#parts = parts;
    this.#meter = meter;
  }

  async run(parent: Scope, operation: Operation<unknown>): Promise<unknown> {
    const { outer, retry, inner, clock } = this.#parts;
    const frame = outer.length === 0 ? parent : new Scope(parent, parent.call);
    const begun = clock.monotonic();
    let attempt: Attempt | undefined;
    let value: unknown;
    try {
      const outside = this.#enterOuter(parent, frame, begun);
      if (outside !== undefined) await outside;
      retry?.begin(begun);
      const { attempt: number, hedge } = attemptNumber(parent);
      attempt = new Attempt(frame, number, hedge);
      frame.child = attempt;
      attempt.startedAt = begun;
      try {
        value = this.#start(attempt, operation);
        if (isThenable(value)) value = await value;
        value = settle(inner, attempt, value, clock.monotonic());
      } catch (error) {
        value = fail(inner, attempt, error, clock.monotonic());
      }
      if (retry !== undefined && retry.wantsMore(attempt, frame, begun)) {
        attempt = await retry.recover({ frame: this, scope: frame, operation, first: attempt, begun });
        value = attempt.settled;
      }
      if (attempt.outcome === 'success') {
        this.#succeeded(frame === parent ? undefined : frame, attempt, begun);
        return value;
      }
    } catch (error) {
      value = error;
    }
    // Thrown once and outside of any try: throwing is most of what a refusal costs.
    throw this.#failed(value, frame === parent ? undefined : frame, attempt, begun);
  }

  /** One more attempt. Never rejects: the attempt itself says how it went. */
  async attempt(scope: Scope, operation: Operation<unknown>, number: number): Promise<Attempt> {
    const { inner, clock } = this.#parts;
    const attempt = new Attempt(scope, number, attemptNumber(scope).hedge);
    scope.child = attempt;
    attempt.startedAt = clock.monotonic();
    try {
      // The call may have ended between the wait before this attempt and now.
      if (scope.cause !== 'none') attempt.cancel(scope.reason, scope.cause, false);
      if (attempt.cause !== 'none') throw attempt.reason;
      settle(inner, attempt, await this.#start(attempt, operation), clock.monotonic());
    } catch (error) {
      fail(inner, attempt, error, clock.monotonic());
    }
    return attempt;
  }

  #enterOuter(parent: Scope, frame: Scope, now: number): Promise<void> | undefined {
    if (frame === parent) return undefined;
    parent.child = frame;
    frame.startedAt = now;
    const entering = enterStages(this.#parts.outer, frame, this.#parts.clock);
    if (frame.refusal !== undefined) throw frame.refusal;
    return entering;
  }

  /** Passes the stages and starts the operation. What it gives may be a promise; a refusal is left in the attempt. */
  #start(attempt: Attempt, operation: Operation<unknown>): unknown {
    const entering = enterStages(this.#parts.inner, attempt, this.#parts.clock);
    if (entering !== undefined) return this.#startAfter(entering, attempt, operation);
    return attempt.refusal === undefined ? this.#invoke(attempt, operation) : undefined;
  }

  async #startAfter(
    entering: Promise<void>,
    attempt: Attempt,
    operation: Operation<unknown>,
  ): Promise<unknown> {
    await entering;
    return await this.#invoke(attempt, operation);
  }

  #invoke(attempt: Attempt, operation: Operation<unknown>): unknown {
    const { next } = this.#parts;
    const value = next === undefined ? operation(attempt) : next.run(attempt, operation);
    return attempt.cancellable && isThenable(value) ? race(attempt, value) : value;
  }

  #succeeded(frame: Scope | undefined, attempt: Attempt, begun: number): void {
    if (frame !== undefined)
      succeed(this.#parts.outer, frame, attempt.settled, this.#parts.clock.monotonic());
    this.#meter?.record(frame ?? attempt, begun);
  }

  #failed(error: unknown, frame: Scope | undefined, attempt: Attempt | undefined, begun: number): unknown {
    const { outer, clock } = this.#parts;
    let seen = error;
    if (frame !== undefined) seen = fail(outer, frame, error, clock.monotonic());
    this.#meter?.record(frame ?? attempt, begun);
    return seen;
  }
}

/** Settles an attempt whose operation gave `value`, or did not run because a stage refused it. */
function settle(stages: readonly Stage[], attempt: Attempt, value: unknown, endedAt: number): unknown {
  if (attempt.refusal !== undefined) return fail(stages, attempt, attempt.refusal, endedAt);
  succeed(stages, attempt, value, endedAt);
  return value;
}

function succeed(stages: readonly Stage[], scope: Scope, value: unknown, endedAt: number): void {
  scope.endedAt = endedAt;
  scope.settled = value;
  leaveStages(stages, scope);
}

function fail(stages: readonly Stage[], scope: Scope, error: unknown, endedAt: number): unknown {
  const seen = failScope(scope, error, endedAt);
  leaveStages(stages, scope);
  return seen;
}

/** Settles as `work` does, unless the attempt is given up before; then `work` is remembered as abandoned. */
function race(attempt: Attempt, work: PromiseLike<unknown>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    attempt.reject = (reason) => {
      attempt.abandon(work);
      reject(reason);
    };
    work.then(resolve, reject);
    // The operation may have been given up while it was starting.
    if (attempt.cause !== 'none') attempt.reject(attempt.reason);
  });
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
