import { InvalidOptionError } from '@xiaoke/core';
import type { Lock } from './lock.ts';
import type { LockConfig } from './options.ts';

/** At most so many permits are out at a time; first come, first served, also for those who want several. */
export interface Semaphore {
  readonly key: string;
  readonly permits: number;
  /** Waits for `permits` (by default 1) of them. */
  acquire(permits?: number, config?: LockConfig): Promise<Lock>;
  /** `undefined` when there are not enough now. */
  tryAcquire(permits?: number, config?: LockConfig): Promise<Lock | undefined>;
}

/** Refuses what is no number of permits. */
export function checkPermits(value: unknown, option: string, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= max) return value;
  throw new InvalidOptionError(option, `must be a whole number from 1 to ${max}`);
}
