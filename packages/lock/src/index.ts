/**
 * Distributed locks that tell the truth: fencing tokens, local lease deadlines, deadlock detection.
 *
 * Terms: a *lease* is the time after which the server ends a hold by itself; a *hold* is what the backend keeps; a *turn*
 * is one caller's use of a hold that the callers of a process pass on; a *fencing token* is a number that grows with every
 * grant, for the resource to refuse a holder of the past; a *frame* is code that runs inside a lock.
 *
 * @module
 */
export { createLockManager, getLockManager, type LockManager } from './lock-manager.ts';
export { LockType, type HeldType } from './lock-type.ts';
export type { Lock } from './lock.ts';
export type { LockConfig, LockManagerOptions, QuorumOption } from './options.ts';
export type { Semaphore } from './semaphore.ts';
export type { Election, ElectionConfig, Leader, Term } from './election.ts';
export type { LockEvents } from './events.ts';
export type { HolderInfo, LockInspection, WaiterInfo } from './inspection.ts';
export type { HistogramBucket, LockStats } from './statistics.ts';
export {
  DeadlockError,
  LockAbortedError,
  LockLostError,
  LockManagerClosedError,
  LockTimeoutError,
  LockUnavailableError,
  StaleTokenError,
  UnsupportedError,
  type DeadlockStep,
  type HolderSummary,
  type LockErrorCode,
  type LostReason,
  type TimeoutFacts,
} from './errors.ts';
