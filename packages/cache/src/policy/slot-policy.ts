/** What a policy may ask of the store about an entry, by its slot. */
export interface SlotFacts {
  keyOf(slot: number): string;
  weightOf(slot: number): number;
  /** In milliseconds of the cache's own clock. */
  expiresAt(slot: number): number;
}

/** No slot. */
export const NONE = -1;

/**
 * An {@link EvictionPolicy} that knows entries by their slots, small numbers that are used again: so it keeps its lists in
 * columns, where an object for each entry would cost as much memory as the rest of the cache. The calls are the same, and come
 * in the same order.
 */
export interface SlotPolicy {
  onInsert(slot: number): void;
  onHit(slot: number): void;
  onRemove(slot: number): void;
  /** `incoming` to refuse it. Anything but the slot of an entry is a broken policy. */
  victim(incoming: number): number;
  /** The entry expires at another time than before. */
  onExpiryMoved?(slot: number): void;
  clear(): void;
}
