import type { LockLostError } from './errors.ts';
import type { Lock } from './lock.ts';

/** What a manager tells; `error` is for failures that nobody is waiting for. */
export interface LockEvents {
  /** A lock of this manager was lost while it was in use. */
  lost: [lock: Lock, error: LockLostError];
}
