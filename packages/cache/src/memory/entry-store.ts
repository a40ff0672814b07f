import type { Stored } from '../stored.ts';
import type { Slots } from './slots.ts';

/** Why an entry left the first tier: it did not fit, its time was over, it was deleted or invalidated. */
export type EvictionReason = 'capacity' | 'expired' | 'deleted' | 'invalidated';

/** What a store reports. */
export interface StoreListener {
  /** It pushed this entry out. */
  onEvict(key: string): void;
  /** The eviction policy threw where nothing depends on it. */
  onPolicyError(error: unknown): void;
}

/** What bounds a store. */
export interface StoreBounds {
  readonly maxEntries: number;
  readonly maxBytes: number;
}

/**
 * The bounded map behind the first tier. It knows nothing of time and validity. Entries are slots of a table; a hit asks for the
 * slot and looks there for what it needs, and everything else takes a copy as {@link Stored}.
 */
export interface EntryStore {
  readonly slots: Slots;
  readonly size: number;
  /** Sum of the weights; 0 when the cache is not bounded by bytes. */
  readonly bytes: number;
  /** The slot of an entry, good until anything else is asked of the store. A read that counts as a use. */
  slot(key: string): number | undefined;
  /** A read that counts as a use. */
  get(key: string): Stored | undefined;
  /** A read that changes nothing. */
  peek(key: string): Stored | undefined;
  /** What `get` or `peek` gave was changed: its expiry or its details. */
  update(key: string, stored: Stored): void;
  /** Whether it was taken in; a policy may refuse it, and something larger than the cache never fits. */
  set(key: string, stored: Stored): boolean;
  delete(key: string): boolean;
  clear(): void;
  /** Entries in an order of the store's own; tolerates any change between two steps. */
  entries(): Iterator<readonly [string, Stored]>;
}
