import type { Stored } from '../stored.ts';

/** Why an entry left the first tier: it did not fit, its time was over, it was deleted or invalidated. */
export type EvictionReason = 'capacity' | 'expired' | 'deleted' | 'invalidated';

/** What a store reports. */
export interface StoreListener {
  /** It pushed this entry out. */
  onEvict(key: string): void;
  /** The eviction policy threw where nothing depends on it. */
  onPolicyError(error: unknown): void;
}

/** The bounded map behind the first tier. It knows nothing of time and validity. */
export interface EntryStore {
  readonly size: number;
  /** Sum of the weights; 0 when the cache is not bounded by bytes. */
  readonly bytes: number;
  /** A read that counts as a use. */
  get(key: string): Stored | undefined;
  /** A read that changes nothing. */
  peek(key: string): Stored | undefined;
  /** Whether it was taken in; a policy may refuse it, and something larger than the cache never fits. */
  set(key: string, stored: Stored): boolean;
  delete(key: string): boolean;
  clear(): void;
  /** Entries in an order of the store's own; tolerates any change between two steps. */
  entries(): Iterator<readonly [string, Stored]>;
}
