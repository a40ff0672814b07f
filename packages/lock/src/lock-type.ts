/** What a lock excludes. */
export const LockType = {
  /** One holder. A nested request of the same scope for the same key is a deadlock, and is refused at once. */
  EXCLUSIVE: 'exclusive',
  /** Any number of holders, none of them exclusive. A waiting writer keeps later readers behind it. */
  SHARED: 'shared',
  /** Exclusive, but code that already runs inside the hold enters again without a round trip. */
  REENTRANT: 'reentrant',
} as const;

/** One of {@link LockType}'s values. */
export type LockType = (typeof LockType)[keyof typeof LockType];

/** What {@link Lock.type} may say: a lock type, or that the hold is permits of a semaphore. */
export type HeldType = LockType | 'permits';
