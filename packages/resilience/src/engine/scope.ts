import type { Clock } from '@xiaoke/core';
import type { RejectedError } from '../errors.ts';
import type { CallPriority, ContextKey, ExecuteOptions, OperationContext } from './context.ts';

/** Who ended a scope: nobody, the caller (or a competitor that won), or a limit of time. */
export type CancelCause = 'none' | 'caller' | 'limit';

/** Something that waits and can be told to stop. */
export interface Cancellable {
  cancel(reason: unknown, cause: CancelCause, cooperative: boolean): void;
}

/** How an attempt ended, for the policies around it. */
export type Outcome = 'success' | 'failure' | 'cancelled' | 'rejected';

/**
 * The stretch of a call that can be given up as one: the call itself, what a limit of time surrounds, one attempt.
 * Giving up a scope gives up everything inside it; at any moment it waits for at most one thing, its `child`.
 *
 * Everything is a plain field, and everything costly (controller, lists) is made on first use: one of these is made per
 * attempt of every call.
 */
export class Scope implements Cancellable {
  readonly parent: Scope | undefined;
  readonly call: CallScope;
  /** What runs or waits inside. */
  child: Cancellable | undefined = undefined;
  /** Rejects what is awaited here. */
  reject: ((reason: unknown) => void) | undefined = undefined;
  cause: CancelCause = 'none';
  reason: unknown = undefined;
  /** Whether anything could end it early; if not, nothing has to be raced. */
  cancellable: boolean;
  /** Monotonic time after which it makes no sense to start anything. */
  deadline: number;
  /** What policies returned from `enter`, in order. */
  tokens: unknown[] | undefined = undefined;
  entered = 0;
  startedAt = 0;
  endedAt = 0;
  outcome: Outcome = 'success';
  /** Set by a stage that does not admit it; see `REFUSED`. */
  refusal: RejectedError | undefined = undefined;
  /** The result or the error. */
  settled: unknown = undefined;
  /** Work that was given up and may still run. */
  abandoned: PromiseLike<unknown>[] | undefined = undefined;
  #controller: AbortController | undefined = undefined;

  constructor(parent: Scope | undefined, call: CallScope | undefined) {
    this.parent = parent;
    // A call is its own call; only CallScope passes none.
    this.call = call ?? (this as unknown as CallScope);
    this.cancellable = parent !== undefined && parent.cancellable;
    this.deadline = parent === undefined ? Infinity : parent.deadline;
  }

  get signal(): AbortSignal {
    this.#controller ??= this.#makeController();
    return this.#controller.signal;
  }

  cancel(reason: unknown, cause: CancelCause, cooperative: boolean): void {
    if (this.cause !== 'none') return;
    this.cause = cause;
    this.reason = reason;
    this.#controller?.abort(reason);
    this.child?.cancel(reason, cause, cooperative);
    if (!cooperative) this.reject?.(reason);
  }

  /** Remembers, here and in everything around, that `work` may still run. */
  abandon(work: PromiseLike<unknown>): void {
    (this.abandoned ??= []).push(work);
    this.parent?.abandon(work);
  }

  #makeController(): AbortController {
    const controller = new AbortController();
    if (this.cause !== 'none') controller.abort(this.reason);
    return controller;
  }
}

/** The outermost scope of a call, with what belongs to the whole call. */
export class CallScope extends Scope {
  readonly options: ExecuteOptions;
  readonly clock: Clock;
  #values: Map<ContextKey<unknown>, unknown> | undefined = undefined;

  constructor(options: ExecuteOptions, clock: Clock) {
    super(undefined, undefined);
    this.options = options;
    this.clock = clock;
  }

  get priority(): CallPriority {
    return this.options.priority ?? 'normal';
  }

  get values(): Map<ContextKey<unknown>, unknown> {
    this.#values ??= new Map(this.options.values);
    return this.#values;
  }
}

/** One attempt, which is also what the operation is given. */
export class Attempt extends Scope implements OperationContext {
  readonly attempt: number;
  readonly hedge: number;

  constructor(parent: Scope, attempt: number, hedge: number) {
    super(parent, parent.call);
    this.attempt = attempt;
    this.hedge = hedge;
  }

  get key(): string | undefined {
    return this.call.options.key;
  }

  // Getters that give functions: an operation may take them out of the context, and most read none of them.
  get remainingMs(): () => number {
    return () =>
      this.deadline === Infinity ? Infinity : Math.max(0, this.deadline - this.call.clock.monotonic());
  }

  get get(): <T>(key: ContextKey<T>) => T | undefined {
    return <T>(key: ContextKey<T>) => this.call.values.get(key) as T | undefined;
  }

  get set(): <T>(key: ContextKey<T>, value: T) => void {
    return <T>(key: ContextKey<T>, value: T) => void this.call.values.set(key, value);
  }
}

/** The number that an inner part of a pipeline shows its operation: that of the attempt around it, or 1. */
export function attemptNumber(scope: Scope): { readonly attempt: number; readonly hedge: number } {
  return scope instanceof Attempt ? scope : FIRST;
}

const FIRST = { attempt: 1, hedge: 0 } as const;
