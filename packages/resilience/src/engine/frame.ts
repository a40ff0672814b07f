import type { Clock } from '@xiaoke/core';
import type { RetryEngine } from '../retry/retry-engine.ts';
import type { Operation } from './context.ts';
import type { CallMeter } from './call-meter.ts';
import { Attempt, Scope } from './scope.ts';
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

/** One passage through a frame. */
interface Passage {
  readonly operation: Operation<unknown>;
  readonly parent: Scope;
  /** Around all attempts; that of the outer stages, or the parent when there are none. */
  readonly scope: Scope;
  readonly begun: number;
}

/**
 * A part of a pipeline compiled into one asynchronous step: stages, at most one retry, stages, operation. Everything up to
 * the start of the first attempt is plain code, and what follows its end hangs on one promise; what costs more (p-retry,
 * waiting) is entered only when it is needed. An `async` function, with its suspended frame, costs half as much again.
 */
export class Frame implements Runner {
  readonly #parts: FrameParts;
  readonly #meter: CallMeter | undefined;

  constructor(parts: FrameParts, meter: CallMeter | undefined) {
    this.#parts = parts;
    this.#meter = meter;
  }

  run(parent: Scope, operation: Operation<unknown>): Promise<unknown> {
    const { outer, clock } = this.#parts;
    const begun = clock.monotonic();
    if (outer.length === 0) return this.#first({ operation, parent, scope: parent, begun });
    const scope = new Scope(parent, parent.attempt, parent.hedge);
    const passage: Passage = { operation, parent, scope, begun };
    parent.child = scope;
    scope.startedAt = begun;
    try {
      const entering = enterStages(outer, scope, clock);
      if (entering !== undefined)
        return entering.then(
          () => this.#first(passage),
          (error: unknown) => {
            throw this.#gaveUp(passage, scope, error);
          },
        );
    } catch (error) {
      return rejected(this.#gaveUp(passage, scope, error));
    }
    if (scope.refusal !== undefined) return rejected(this.#gaveUp(passage, scope, scope.refusal));
    return this.#first(passage);
  }

  /** One more attempt. Never rejects: the attempt itself says how it went. */
  async attempt(scope: Scope, operation: Operation<unknown>, number: number): Promise<Attempt> {
    const { inner, clock } = this.#parts;
    const attempt = new Attempt(scope, number, scope.hedge);
    scope.child = attempt;
    attempt.startedAt = clock.monotonic();
    try {
      // The call may have ended between the wait before this attempt and now.
      if (scope.cause !== 'none') attempt.cancel(scope.reason, scope.cause, false);
      if (attempt.cause !== 'none') throw attempt.reason;
      const entering = enterStages(inner, attempt, clock);
      if (entering !== undefined) await entering;
      if (attempt.refusal !== undefined) throw attempt.refusal;
      succeed(inner, attempt, await this.#invoke(attempt, operation), clock.monotonic());
    } catch (error) {
      fail(inner, attempt, error, clock.monotonic());
    }
    return attempt;
  }

  #first(passage: Passage): Promise<unknown> {
    const { retry, inner, clock } = this.#parts;
    const { scope, begun, operation } = passage;
    retry?.begin(begun);
    const attempt = new Attempt(scope, scope.attempt, scope.hedge);
    scope.child = attempt;
    attempt.startedAt = begun;
    let work: unknown;
    try {
      const entering = enterStages(inner, attempt, clock);
      if (entering !== undefined) work = entering.then(() => this.#invoke(attempt, operation));
      else if (attempt.refusal === undefined) work = this.#invoke(attempt, operation);
    } catch (error) {
      return (
        this.#failed(passage, attempt, error) ?? rejected(this.#gaveUp(passage, attempt, attempt.settled))
      );
    }
    if (attempt.refusal !== undefined) {
      const more = this.#failed(passage, attempt, attempt.refusal);
      return more ?? rejected(this.#gaveUp(passage, attempt, attempt.settled));
    }
    if (!(work instanceof Promise)) return Promise.resolve(this.#succeeded(passage, attempt, work));
    return work.then(
      (value: unknown) => this.#succeeded(passage, attempt, value),
      (error: unknown) => {
        const more = this.#failed(passage, attempt, error);
        if (more !== undefined) return more;
        throw this.#gaveUp(passage, attempt, attempt.settled);
      },
    );
  }

  /** Starts the operation. It gives a value, or a promise of ours. */
  #invoke(attempt: Attempt, operation: Operation<unknown>): unknown {
    const { next } = this.#parts;
    const value = next === undefined ? operation(attempt) : next.run(attempt, operation);
    const isPromise = value instanceof Promise;
    if (!isPromise && !isThenable(value)) return value;
    if (attempt.cancellable) return race(attempt, value);
    return isPromise ? value : Promise.resolve(value);
  }

  #succeeded(passage: Passage, attempt: Attempt, value: unknown): unknown {
    const { retry, inner, clock } = this.#parts;
    succeed(inner, attempt, value, clock.monotonic());
    if (retry !== undefined && retry.wantsMore(attempt, passage.scope, passage.begun))
      return this.#recover(retry, passage, attempt);
    this.#done(passage, attempt);
    return value;
  }

  /** Settles a failed attempt; gives what comes of further ones, or nothing when there are none. */
  #failed(passage: Passage, attempt: Attempt, error: unknown): Promise<unknown> | undefined {
    const { retry, inner, clock } = this.#parts;
    fail(inner, attempt, error, clock.monotonic());
    return retry !== undefined && retry.wantsMore(attempt, passage.scope, passage.begun)
      ? this.#recover(retry, passage, attempt)
      : undefined;
  }

  async #recover(retry: RetryEngine, passage: Passage, first: Attempt): Promise<unknown> {
    const { scope, operation, begun } = passage;
    const last = await retry.recover({ frame: this, scope, operation, first, begun });
    if (last.outcome !== 'success') throw this.#gaveUp(passage, last, last.settled);
    this.#done(passage, last);
    return last.settled;
  }

  #done({ parent, scope, begun }: Passage, last: Scope): void {
    const { outer, clock } = this.#parts;
    if (scope !== parent) succeed(outer, scope, last.settled, clock.monotonic());
    this.#meter?.record(scope === parent ? last : scope, begun);
  }

  #gaveUp({ parent, scope, begun }: Passage, last: Scope, error: unknown): unknown {
    const { outer, clock } = this.#parts;
    const seen = scope === parent ? error : fail(outer, scope, error, clock.monotonic());
    this.#meter?.record(scope === parent ? last : scope, begun);
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

const RESOLVED = Promise.resolve();

/**
 * A promise that is about to be rejected, for refusals. One that is rejected before its caller could look at it is reported
 * to the process as unhandled and then taken back, which costs more than everything else about them, as does throwing.
 */
function rejected(error: unknown): Promise<never> {
  return new Promise((_resolve, reject) => {
    void RESOLVED.then(() => reject(error));
  });
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
