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
 * Two of these are made for every call, so they are laid out for that: plain fields that one constructor sets (`#` fields
 * and initialisers in subclasses take twice as long on Node 20), and what is costly (controller, lists) only on first use.
 */
export class Scope implements Cancellable {
  declare readonly parent: Scope | undefined;
  declare readonly call: CallScope;
  /** The number of the attempt it is part of, from 1. */
  declare readonly attempt: number;
  /** The number of the hedge it is part of, from 0. */
  declare readonly hedge: number;
  /** What runs or waits inside. */
  declare child: Cancellable | undefined;
  /** Gives up what is awaited here. */
  declare reject: ((reason: unknown) => void) | undefined;
  declare cause: CancelCause;
  declare reason: unknown;
  /** Whether anything could end it early; if not, nothing has to be raced. */
  declare cancellable: boolean;
  /** Monotonic time after which it makes no sense to start anything. */
  declare deadline: number;
  /** What policies returned from `enter`, in order. */
  declare tokens: unknown[] | undefined;
  declare entered: number;
  declare startedAt: number;
  declare endedAt: number;
  declare outcome: Outcome;
  /** Set by a stage that does not admit it; see `REFUSED`. */
  declare refusal: RejectedError | undefined;
  /** The result or the error. */
  declare settled: unknown;
  /** Work that was given up and may still run. */
  declare abandoned: PromiseLike<unknown>[] | undefined;
  declare protected controller: AbortController | undefined;

  constructor(parent: Scope | undefined, attempt: number, hedge: number) {
    this.parent = parent;
    // A call is its own call; only CallScope has no parent.
    this.call = parent === undefined ? (this as unknown as CallScope) : parent.call;
    this.attempt = attempt;
    this.hedge = hedge;
    this.child = undefined;
    this.reject = undefined;
    this.cause = 'none';
    this.reason = undefined;
    this.cancellable = parent !== undefined && parent.cancellable;
    this.deadline = parent === undefined ? Infinity : parent.deadline;
    this.tokens = undefined;
    this.entered = 0;
    this.startedAt = 0;
    this.endedAt = 0;
    this.outcome = 'success';
    this.refusal = undefined;
    this.settled = undefined;
    this.abandoned = undefined;
    this.controller = undefined;
  }

  get signal(): AbortSignal {
    this.controller ??= makeController(this);
    return this.controller.signal;
  }

  cancel(reason: unknown, cause: CancelCause, cooperative: boolean): void {
    if (this.cause !== 'none') return;
    this.cause = cause;
    this.reason = reason;
    this.controller?.abort(reason);
    this.child?.cancel(reason, cause, cooperative);
    if (!cooperative) this.reject?.(reason);
  }

  /** Remembers, here and in everything around, that `work` may still run. */
  abandon(work: PromiseLike<unknown>): void {
    (this.abandoned ??= []).push(work);
    this.parent?.abandon(work);
  }
}

function makeController({ cause, reason }: Scope): AbortController {
  const controller = new AbortController();
  if (cause !== 'none') controller.abort(reason);
  return controller;
}

/** The outermost scope of a call, with what belongs to the whole call. */
export class CallScope extends Scope {
  declare readonly options: ExecuteOptions;
  declare readonly clock: Clock;
  declare private carried: Map<ContextKey<unknown>, unknown> | undefined;

  constructor(options: ExecuteOptions, clock: Clock) {
    super(undefined, 1, 0);
    this.options = options;
    this.clock = clock;
    this.carried = undefined;
  }

  get priority(): CallPriority {
    return this.options.priority ?? 'normal';
  }

  get values(): Map<ContextKey<unknown>, unknown> {
    this.carried ??= new Map(this.options.values);
    return this.carried;
  }
}

/** One attempt, which is also what the operation is given. */
export class Attempt extends Scope implements OperationContext {
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
