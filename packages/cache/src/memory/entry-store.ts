import type { Details, PolicyStored, Stored, Validity } from '../stored.ts';

/** Why an entry left the first tier: it did not fit, its time was over, it was deleted or invalidated. */
export type EvictionReason = 'capacity' | 'expired' | 'deleted' | 'invalidated';

/** What a store reports. */
export interface StoreListener {
  /** It pushed this entry out. */
  onEvict(key: string): void;
  /** The eviction policy threw where nothing depends on it. */
  onPolicyError(error: unknown): void;
}

/** Where a store has an entry; good until anything else is asked of the store. */
export type Spot = number | PolicyStored;

/**
 * The bounded map behind the first tier. It knows nothing of time and validity. A hit asks for the spot of an entry and for what
 * is there, so that a store need not have an object for each of its entries; everything else takes a {@link Stored}.
 */
export interface EntryStore {
  readonly size: number;
  /** Sum of the weights; 0 when the cache is not bounded by bytes. */
  readonly bytes: number;
  /** A read that counts as a use. */
  spot(key: string): Spot | undefined;
  /** Whether nothing but the expiry was left to check, and that has not come. */
  isFresh(spot: Spot, validity: Validity, now: number): boolean;
  valueAt(spot: Spot): unknown;
  detailsAt(spot: Spot): Details;
  describe(spot: Spot, details: Details): void;
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
