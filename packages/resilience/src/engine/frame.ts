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
    try {
      const outside = this.#enterOuter(parent, frame, begun);
      if (outside !== undefined) await outside;
      retry?.begin(begun);
      const { attempt: number, hedge } = attemptNumber(parent);
      attempt = new Attempt(frame, number, hedge);
      frame.child = attempt;
      attempt.startedAt = begun;
      let value: unknown;
      try {
        const entering = enterStages(inner, attempt, clock);
        if (entering !== undefined) await entering;
        value = this.#invoke(attempt, operation);
        if (isThenable(value)) value = await (attempt.cancellable ? race(attempt, value) : value);
        succeed(inner, attempt, value, clock.monotonic());
      } catch (error) {
        value = fail(inner, attempt, error, clock.monotonic());
      }
      if (retry !== undefined && retry.wantsMore(attempt, frame, begun)) {
        attempt = await retry.recover({ frame: this, scope: frame, operation, first: attempt, begun });
        value = attempt.settled;
      }
      if (attempt.outcome !== 'success') throw value;
      this.#succeeded(frame === parent ? undefined : frame, attempt, begun);
      return value;
    } catch (error) {
      throw this.#failed(error, frame === parent ? undefined : frame, attempt, begun);
    }
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
      await enterStages(inner, attempt, clock);
      let value = this.#invoke(attempt, operation);
      if (isThenable(value)) value = await (attempt.cancellable ? race(attempt, value) : value);
      succeed(inner, attempt, value, clock.monotonic());
    } catch (error) {
      fail(inner, attempt, error, clock.monotonic());
    }
    return attempt;
  }

  #enterOuter(parent: Scope, frame: Scope, now: number): Promise<void> | undefined {
    if (frame === parent) return undefined;
    parent.child = frame;
    frame.startedAt = now;
    return enterStages(this.#parts.outer, frame, this.#parts.clock);
  }

  #invoke(attempt: Attempt, operation: Operation<unknown>): unknown {
    const { next } = this.#parts;
    return next === undefined ? operation(attempt) : next.run(attempt, operation);
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
