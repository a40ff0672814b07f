/** Why no further attempt was made. */
export type GiveUpReason =
  | 'attempts'
  | 'elapsed'
  | 'deadline'
  | 'budget'
  | 'not-retryable'
  | 'retry-after'
  | 'nested'
  | 'aborted';

/** How a call that failed was retried. */
export interface AttemptInfo {
  /** Attempts that were made, the first included. */
  readonly attempts: number;
  /** The waits between them. */
  readonly delaysMs: readonly number[];
  /** The error of each attempt, at most the last 32; the last one is the error itself. */
  readonly errors: readonly unknown[];
  readonly elapsedMs: number;
  readonly reason: GiveUpReason;
}

const infos = new WeakMap<object, AttemptInfo>();

/**
 * How the call that threw `error` was retried. The error itself is thrown as the operation made it, so this is kept
 * beside it; `undefined` for an error that no retry gave up on, and for one that is no object.
 *
 * @example
 * ```ts run
 * import { attemptInfo, retry } from '@xiaoke/resilience';
 * const broken = new Error('broken');
 * await retry({ attempts: 2, baseDelay: 1 }).execute(() => Promise.reject(broken)).catch(() => {});
 * console.log(attemptInfo(broken)?.attempts, attemptInfo(broken)?.reason); // => 2 attempts
 * ```
 */
export function attemptInfo(error: unknown): AttemptInfo | undefined {
  return typeof error === 'object' && error !== null ? infos.get(error) : undefined;
}

/** Attaches the story of a call to its error. */
export function setAttemptInfo(error: unknown, info: AttemptInfo): void {
  if ((typeof error === 'object' && error !== null) || typeof error === 'function') infos.set(error, info);
}
