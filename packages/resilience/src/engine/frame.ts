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
  readonly #outer: readonly Stage[];
  readonly #retry: RetryEngine | undefined;
  readonly #inner: readonly Stage[];
  readonly #next: Runner | undefined;
  readonly #clock: Clock;
  readonly #meter: CallMeter | undefined;

  constructor({ outer, retry, inner, next, clock }: FrameParts, meter: CallMeter | undefined) {
    this.#outer = outer;
    this.#retry = retry;
    this.#inner = inner;
    this.#next = next;
    this.#clock = clock;
    this.#meter = meter;
  }

  run(parent: Scope, operation: Operation<unknown>): Promise<unknown> {
    const begun = this.#clock.monotonic();
    return this.#outer.length === 0
      ? this.#first({ operation, parent, scope: parent, begun })
      : this.#runOuter(parent, operation, begun);
  }

  #runOuter(parent: Scope, operation: Operation<unknown>, begun: number): Promise<unknown> {
    const scope = new Scope(parent, parent.attempt, parent.hedge);
    const passage: Passage = { operation, parent, scope, begun };
    parent.child = scope;
    scope.startedAt = begun;
    try {
      const entering = enterStages(this.#outer, scope, this.#clock);
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
    const attempt = new Attempt(scope, number, scope.hedge);
    scope.child = attempt;
    attempt.startedAt = this.#clock.monotonic();
    try {
      // The call may have ended between the wait before this attempt and now.
      if (scope.cause !== 'none') attempt.cancel(scope.reason, scope.cause, false);
      if (attempt.cause !== 'none') throw attempt.reason;
      const entering = enterStages(this.#inner, attempt, this.#clock);
      if (entering !== undefined) await entering;
      if (attempt.refusal !== undefined) throw attempt.refusal;
      const value = await this.#invoke(attempt, operation);
      succeed(this.#inner, attempt, value, this.#clock.monotonic());
    } catch (error) {
      fail(this.#inner, attempt, error, this.#clock.monotonic());
    }
    return attempt;
  }

  #first(passage: Passage): Promise<unknown> {
    const { scope, begun } = passage;
    if (this.#retry !== undefined) this.#retry.begin(begun);
    const attempt = new Attempt(scope, scope.attempt, scope.hedge);
    scope.child = attempt;
    attempt.startedAt = begun;
    let work: unknown;
    try {
      const entering = enterStages(this.#inner, attempt, this.#clock);
      work =
        entering === undefined
          ? this.#invoke(attempt, passage.operation)
          : this.#invokeAfter(entering, attempt, passage.operation);
    } catch (error) {
      return this.#neverRan(passage, attempt, error);
    }
    return work instanceof Promise
      ? work.then(
          (value: unknown) => this.#succeeded(passage, attempt, value),
          (error: unknown) => this.#failed(passage, attempt, error),
        )
      : this.#settledAtOnce(passage, attempt, work);
  }

  /** Starts the operation, unless it was refused. It gives a value, or a promise of ours. */
  #invoke(attempt: Attempt, operation: Operation<unknown>): unknown {
    if (attempt.refusal !== undefined) return undefined;
    const value = this.#next === undefined ? operation(attempt) : this.#next.run(attempt, operation);
    if (value instanceof Promise) return attempt.cancellable ? race(attempt, value) : value;
    return isThenable(value) ? race(attempt, value) : value;
  }

  #invokeAfter(entering: Promise<void>, attempt: Attempt, operation: Operation<unknown>): Promise<unknown> {
    return entering.then(() => this.#invoke(attempt, operation));
  }

  #succeeded(passage: Passage, attempt: Attempt, value: unknown): unknown {
    succeed(this.#inner, attempt, value, this.#clock.monotonic());
    if (this.#retry !== undefined && this.#retry.wantsMore(attempt, passage.scope, passage.begun))
      return this.#recover(this.#retry, passage, attempt);
    if (passage.scope !== passage.parent) this.#leaveOuter(passage, value);
    else if (this.#meter !== undefined) this.#meter.record(attempt, passage.begun);
    return value;
  }

  #failed(passage: Passage, attempt: Attempt, error: unknown): Promise<unknown> {
    fail(this.#inner, attempt, error, this.#clock.monotonic());
    const retry = this.#retry;
    if (retry !== undefined && retry.wantsMore(attempt, passage.scope, passage.begun))
      return this.#recover(retry, passage, attempt);
    throw this.#gaveUp(passage, attempt, attempt.settled);
  }

  /** The operation was refused, or gave its result without a promise. */
  #settledAtOnce(passage: Passage, attempt: Attempt, value: unknown): Promise<unknown> {
    return attempt.refusal === undefined
      ? Promise.resolve(this.#succeeded(passage, attempt, value))
      : this.#neverRan(passage, attempt, attempt.refusal);
  }

  /** It was refused, or threw at once. As {@link Frame.#failed}, without throwing. */
  #neverRan(passage: Passage, attempt: Attempt, error: unknown): Promise<unknown> {
    fail(this.#inner, attempt, error, this.#clock.monotonic());
    const retry = this.#retry;
    return retry !== undefined && retry.wantsMore(attempt, passage.scope, passage.begun)
      ? this.#recover(retry, passage, attempt)
      : rejected(this.#gaveUp(passage, attempt, attempt.settled));
  }

  async #recover(retry: RetryEngine, passage: Passage, first: Attempt): Promise<unknown> {
    const { parent, scope, operation, begun } = passage;
    const last = await retry.recover({ frame: this, scope, operation, first, begun });
    if (last.outcome !== 'success') throw this.#gaveUp(passage, last, last.settled);
    if (scope !== parent) this.#leaveOuter(passage, last.settled);
    else this.#meter?.record(last, begun);
    return last.settled;
  }

  #leaveOuter({ scope, begun }: Passage, value: unknown): void {
    succeed(this.#outer, scope, value, this.#clock.monotonic());
    this.#meter?.record(scope, begun);
  }

  #gaveUp({ parent, scope, begun }: Passage, last: Scope, error: unknown): unknown {
    const seen = scope === parent ? error : fail(this.#outer, scope, error, this.#clock.monotonic());
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
