/** How important a call is, where calls compete for a place. */
export type CallPriority = 'high' | 'normal' | 'low';

/** The name of a value of type `T` that travels with a call; made by {@link contextKey}. */
export interface ContextKey<T> {
  readonly name: string;
  /** Never set; carries the type. */
  readonly valueType?: T;
}

/**
 * Makes the typed name of a value that travels with a call.
 *
 * @example
 * ```ts run
 * import { contextKey, timeout } from '@xiaoke/resilience';
 * const tenant = contextKey<string>('tenant');
 * const seen = await timeout('1s').execute(({ get }) => get(tenant), { values: [[tenant, 'north']] });
 * console.log(seen); // => north
 * ```
 */
export function contextKey<T>(name: string): ContextKey<T> {
  return Object.freeze({ name });
}

/** What an operation is given. */
export interface OperationContext {
  /**
   * Fires when this attempt is given up: the caller aborted, a limit of time passed, another hedge won. It is made when it
   * is first read, so an operation that ignores it pays nothing.
   */
  readonly signal: AbortSignal;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** 0 for the first of hedged attempts. */
  readonly hedge: number;
  /** The `key` of the call. */
  readonly key: string | undefined;
  /** Milliseconds until the deadline of the call, of a surrounding timeout or of an incoming request; `Infinity` without one. */
  readonly remainingMs: () => number;
  readonly get: <T>(key: ContextKey<T>) => T | undefined;
  readonly set: <T>(key: ContextKey<T>, value: T) => void;
}

/** What a policy protects. */
export type Operation<T> = (context: OperationContext) => T | PromiseLike<T>;

/** What belongs to one call. */
export interface ExecuteOptions {
  /** Ends the call at any moment: it rejects with `signal.reason` at once. */
  readonly signal?: AbortSignal | undefined;
  /** What the call is about, for policies that tell calls apart (collapse, partitions). */
  readonly key?: string | undefined;
  /** For queues and shedders. @default 'normal' */
  readonly priority?: CallPriority | undefined;
  /** Whether a second run does no harm; hedges skip calls that say `false`, and retries those too. @default true */
  readonly idempotent?: boolean | undefined;
  /** Values for {@link OperationContext.get}. */
  readonly values?: Iterable<readonly [ContextKey<unknown>, unknown]> | undefined;
}
