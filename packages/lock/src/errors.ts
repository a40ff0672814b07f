import { XiaokeError, type XiaokeErrorOptions } from '@xiaoke/core';

/** Every code this package throws beside `INVALID_OPTION` and `KEY_TEMPLATE`. */
export type LockErrorCode =
  | 'LOCK_TIMEOUT'
  | 'LOCK_LOST'
  | 'LOCK_ABORTED'
  | 'LOCK_UNAVAILABLE'
  | 'LOCK_MANAGER_CLOSED'
  | 'DEADLOCK'
  | 'STALE_TOKEN'
  | 'UNSUPPORTED';

/** Why a lock was lost. */
export type LostReason =
  /** The lease can have run out on the server: nothing renewed it in time. */
  | 'expired'
  /** As `expired`, and the last renewals failed because the server could not be reached. */
  | 'connection'
  /** `maxHold` passed. */
  | 'max-hold'
  /** The server says that the hold is gone: it expired there, or its data was lost. */
  | 'stolen'
  /** Somebody called `forceRelease`. */
  | 'forced'
  /** It was released, by its owner or because the manager was closed. */
  | 'released';

/** Who holds a lock, as an error tells it. */
export interface HolderSummary {
  readonly owner: string;
  /** How long it has been held, in milliseconds, by the server's clock. */
  readonly ageMs: number;
}

/** The wait ended before the lock was free. `details` names the holders, their age and the place in the queue. */
export class LockTimeoutError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.LockTimeoutError';
  /** Those who held the key that was waited for; empty when the backend did not say in time. */
  readonly holders: readonly HolderSummary[];
  /** The place in the queue, 1 being next; 0 when it was not queued or the place is unknown. */
  readonly position: number;
  /** How long it waited, in milliseconds. */
  readonly waitedMs: number;

  constructor(key: string, facts: TimeoutFacts, options: XiaokeErrorOptions = {}) {
    const { holders, position, waitedMs } = facts;
    super('LOCK_TIMEOUT', describeTimeout(key, facts), {
      ...options,
      details: { ...options.details, key, holders, position, waitedMs },
    });
    this.holders = holders;
    this.position = position;
    this.waitedMs = waitedMs;
  }
}

/** What is known when a wait times out. */
export interface TimeoutFacts {
  readonly holders: readonly HolderSummary[];
  readonly position: number;
  readonly waitedMs: number;
}

function describeTimeout(key: string, { holders, position, waitedMs }: TimeoutFacts): string {
  const held = holders
    .slice(0, 3)
    .map(({ owner, ageMs }) => `${owner} for ${ageMs} ms`)
    .join(', ');
  const more = holders.length > 3 ? ` and ${holders.length - 3} more` : '';
  const by = held === '' ? '' : `: held by ${held}${more}`;
  const place = position > 0 ? `; place ${position} in the queue` : '';
  return `Lock "${key}" was not free within ${Math.round(waitedMs)} ms${by}${place}`;
}

/** The lock is no longer held, or cannot be known to be. */
export class LockLostError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.LockLostError';
  readonly reason: LostReason;

  constructor(keys: readonly string[], reason: LostReason, options: XiaokeErrorOptions = {}) {
    super('LOCK_LOST', `Lock ${quote(keys)} is not held any more (${reason})`, {
      ...options,
      details: { ...options.details, keys, reason },
    });
    this.reason = reason;
  }
}

/** The wait was cancelled by its signal; `cause` is the signal's reason. */
export class LockAbortedError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.LockAbortedError';

  constructor(keys: readonly string[], cause: unknown) {
    super('LOCK_ABORTED', `Waiting for lock ${quote(keys)} was aborted`, { cause, details: { keys } });
  }
}

/** The server did not answer, so it is not known who holds the lock; nothing was acquired. */
export class LockUnavailableError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.LockUnavailableError';

  constructor(what: string, options: XiaokeErrorOptions = {}) {
    super('LOCK_UNAVAILABLE', what, options);
  }
}

/** The manager was closed. */
export class LockManagerClosedError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.LockManagerClosedError';

  constructor() {
    super('LOCK_MANAGER_CLOSED', 'The lock manager is closed');
  }
}

/** This backend cannot do that soundly. */
export class UnsupportedError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.UnsupportedError';

  constructor(what: string) {
    super('UNSUPPORTED', what);
  }
}

/** One step of a deadlock: whoever holds `key` waits for `waitsFor`. */
export interface DeadlockStep {
  readonly key: string;
  readonly waitsFor: string;
  /** Who holds `key`. */
  readonly owner: string;
}

/** Waiting would never have ended: this request was chosen to give way. Nothing was acquired by it. */
export class DeadlockError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.DeadlockError';
  /** Each step waits for the next one's key, and the last for the first's. */
  readonly cycle: readonly DeadlockStep[];

  constructor(cycle: readonly DeadlockStep[]) {
    const steps = cycle.map(
      ({ key, waitsFor, owner }) => `${owner} holds "${key}" and waits for "${waitsFor}"`,
    );
    super('DEADLOCK', `Deadlock: ${steps.join('; ')}`, { details: { cycle } });
    this.cycle = cycle;
  }
}

/** A fence has seen a larger token, so this writer's lock is not the newest; nothing was written. */
export class StaleTokenError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.StaleTokenError';

  constructor(resource: string, token: number, seen: number | undefined) {
    const newer = seen === undefined ? 'a newer one' : String(seen);
    super('STALE_TOKEN', `Token ${token} is stale for "${resource}": ${newer} was seen`, {
      details: { resource, token, seen },
    });
  }
}

function quote(keys: readonly string[]): string {
  return keys.map((key) => `"${key}"`).join(', ');
}
