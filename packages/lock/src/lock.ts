import type { Duration } from '@xiaoke/core';
import type { HeldType } from './lock-type.ts';
import type { LockConfig } from './options.ts';

/** A lock that is held. */
export interface Lock extends AsyncDisposable {
  /** What it holds: sorted, each once. */
  readonly keys: readonly string[];
  readonly type: HeldType;
  /** Larger than that of every earlier grant of these keys. Hand it to the resource, which refuses smaller ones. */
  readonly fencingToken: number;
  /**
   * Fires when the lock is lost, with a {@link LockLostError} as its reason: by a local deadline, hence no later than the
   * lease can have ended on the server, whatever the network does. Releasing it does not fire it.
   */
  readonly signal: AbortSignal;
  /** For how long it is certain to be held without another extension, in milliseconds; 0 when it is not. */
  remainingMs(): number;
  /**
   * Asks the clocks, so it is right on the first line after a blocked event loop.
   * @throws {@link LockLostError} when the lock is not certain to be held
   */
  assertHeld(): void;
  /**
   * Extends the lease now, to `ttl` from now; later automatic extensions use `ttl` too.
   * @throws {@link LockLostError} when it is not held any more
   */
  extend(ttl?: Duration): Promise<void>;
  /** Gives it back. Resolves `false` when it had ended before, or when no answer came in time. */
  release(): Promise<boolean>;
  /** Runs `fn` inside this lock: what it acquires enters again what is held, and its waits count as this holder's. */
  run<T>(fn: () => Promise<T>): Promise<T>;
  /**
   * Shared to exclusive, ahead of every waiter, once the other readers have left.
   * @throws {@link DeadlockError} when another reader upgrades already: neither could ever finish
   */
  upgrade(config?: Pick<LockConfig, 'wait' | 'signal'>): Promise<void>;
  /** Exclusive to shared, without a moment in between. */
  downgrade(): Promise<void>;
}
