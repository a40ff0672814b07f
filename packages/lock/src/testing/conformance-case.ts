import type { LockManager } from '../lock-manager.ts';
import type { LockManagerOptions } from '../options.ts';

/** What a backend may lack: a quorum has no queue and no sound semaphore, and finds deadlocks inside a process only. */
export type Capability = 'queue' | 'semaphore' | 'remote-deadlock' | 'inspection';

/** What a case is given. */
export interface ConformanceContext {
  /** Makes a manager; all of one case share their locks, as processes on one server do. Closed after the case. */
  manager(options?: Omit<LockManagerOptions, 'redis' | 'namespace'>): Promise<LockManager>;
}

/** One behaviour. */
export interface ConformanceCase {
  /** A sentence. */
  readonly name: string;
  readonly needs?: readonly Capability[];
  /** Rejects when the backend behaves otherwise. */
  run(context: ConformanceContext): Promise<void>;
}

/** Resolves after `milliseconds`. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

/** A promise with its resolver outside. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Resolves to what `promise` rejects with. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('should have been refused');
}
