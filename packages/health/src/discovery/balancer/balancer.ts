import type { Closeable, Duration, IsolatedEmitter } from '@xiaoke/core';
import type { Instance } from '../instance.ts';
import type { BalancerPolicy } from './options.ts';

/** What a choice takes into account. */
export interface PickOptions {
  /** The same key goes to the same instance, with the policy `consistent-hash`. */
  readonly key?: string | undefined;
  /** Ids that are not wanted, such as those that were tried already. */
  readonly exclude?: Iterable<string> | undefined;
}

/** An instance that was chosen for one call. Say how the call ended: the balancer learns from nothing else. */
export interface Lease extends Disposable {
  readonly instance: Instance;
  /** Of the instance. */
  readonly id: string;
  /** Of the instance. */
  readonly url: string;
  /** The call went well. Idempotent, as is every other end; the first one counts. */
  ok(): void;
  /** The call failed; `classify` decides what that says about the instance. */
  fail(error?: unknown): void;
  /** The end of a call, good without an error. To dispose of a lease is the same. */
  release(error?: unknown): void;
}

/** How one `call()` differs from the balancer's options. */
export interface CallOptions extends PickOptions {
  readonly retries?: number | undefined;
  /** Of one try. */
  readonly timeout?: Duration | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a call is told. */
export interface CallContext {
  /** Fires when the caller's signal does, and at the timeout. */
  readonly signal: AbortSignal;
  /** From 1. */
  readonly attempt: number;
}

/** One instance in {@link BalancerStats}. */
export interface BalancedInstance {
  readonly id: string;
  readonly url: string;
  readonly zone?: string | undefined;
  readonly status: string;
  readonly inflight: number;
  readonly picks: number;
  readonly errors: number;
  /** What a call is expected to take. */
  readonly ewmaMs: number;
  /** From 0 to 1. */
  readonly successRate: number;
  readonly ejected: boolean;
}

/** What a balancer did and thinks. */
export interface BalancerStats {
  readonly policy: BalancerPolicy;
  readonly picks: number;
  readonly errors: number;
  readonly retries: number;
  /** Retries that the budget refused. */
  readonly retriesRefused: number;
  readonly ejections: number;
  /** Picks for which there was no instance. */
  readonly unserved: number;
  /** How many may be chosen now. */
  readonly available: number;
  /** Whether too few are well, so that the others are used too. */
  readonly panic: boolean;
  readonly instances: readonly BalancedInstance[];
}

/** The events of a balancer. */
export interface BalancerEvents {
  /** An instance is left out from now on. */
  ejected: [event: { readonly instance: Instance; readonly ejections: number }];
  /** It is back. */
  readmitted: [event: { readonly instance: Instance }];
}

/** Chooses an instance for each call, and learns from how the calls end. */
export interface Balancer
  extends Closeable, Pick<IsolatedEmitter<BalancerEvents>, 'on' | 'once' | 'off' | 'listenerCount'> {
  /** Chooses now, from memory. @throws `NO_INSTANCE` when there is none at all, `REGISTRY_CLOSED` */
  pick(options?: PickOptions): Lease;
  /**
   * Chooses an instance, calls `work` with it, and tries another one if that failed, within the retry budget. Waits for the
   * first instances, at most 5 s. What must not run twice is called with `retries: 0`.
   *
   * @throws the last error; `NO_INSTANCE`; `signal.reason`
   */
  call<T>(
    work: (instance: Instance, context: CallContext) => T | Promise<T>,
    options?: CallOptions,
  ): Promise<T>;
  stats(): BalancerStats;
  readonly closed: boolean;
}
