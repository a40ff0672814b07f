import { CacheError } from '../errors.ts';
import { NONE, type SlotFacts, type SlotPolicy } from '../policy/slot-policy.ts';
import type { Stored } from '../stored.ts';
import type { EntryStore, StoreBounds, StoreListener } from './entry-store.ts';
import { Slots } from './slots.ts';

/** Makes the policy of a store, which may ask for facts about its entries. `expected` is how many slots there will be, if known. */
export type MakePolicy = (facts: SlotFacts, expected: number) => SlotPolicy;

/** A map whose overflow a {@link SlotPolicy} decides. A policy that breaks its contract cannot break the map. */
export class PolicyStore implements EntryStore {
  readonly slots: Slots;
  #map = new Map<string, number>();
  #bytes = 0;
  readonly #policy: SlotPolicy;
  readonly #bounds: StoreBounds;
  readonly #listener: StoreListener;

  constructor(make: MakePolicy, bounds: StoreBounds, listener: StoreListener) {
    this.slots = new Slots(bounds.maxEntries);
    this.#policy = make(this.slots, this.slots.expected);
    this.#bounds = bounds;
    this.#listener = listener;
  }

  get size(): number {
    return this.#map.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  slot(key: string): number | undefined {
    const slot = this.#map.get(key);
    if (slot === undefined) return undefined;
    try {
      this.#policy.onHit(slot);
    } catch (error) {
      // A read must not fail because a policy does. Written out: a closure would cost as much as the lookup.
      this.#listener.onPolicyError(error);
    }
    return slot;
  }

  get(key: string): Stored | undefined {
    const slot = this.slot(key);
    return slot === undefined ? undefined : this.slots.at(slot);
  }

  peek(key: string): Stored | undefined {
    const slot = this.#map.get(key);
    return slot === undefined ? undefined : this.slots.at(slot);
  }

  update(key: string, stored: Stored): void {
    const slot = this.#map.get(key);
    if (slot === undefined || this.slots.valueOf(slot) !== stored.value) return;
    const moved = this.slots.expiresAt(slot) !== stored.expiresAt;
    this.slots.update(slot, stored);
    if (moved) this.#policy.onExpiryMoved?.(slot);
  }

  set(key: string, stored: Stored): boolean {
    const existing = this.#map.get(key);
    if (existing !== undefined) return this.#replace(key, existing, stored);
    if (stored.weight > this.#bounds.maxBytes) return false;
    const slot = this.slots.take(stored, key);
    let isIn = false;
    try {
      isIn = this.#makeRoom(slot, stored.weight);
      if (isIn) this.#call(() => this.#policy.onInsert(slot));
    } catch (error) {
      this.slots.give(slot);
      throw error;
    }
    if (!isIn) {
      this.slots.give(slot);
      return false;
    }
    this.#map.set(key, slot);
    this.#bytes += stored.weight;
    return true;
  }

  delete(key: string): boolean {
    const slot = this.#map.get(key);
    if (slot === undefined) return false;
    this.#drop(slot);
    return true;
  }

  clear(): void {
    this.#map = new Map();
    this.#bytes = 0;
    this.#tell(() => this.#policy.clear());
    this.slots.clear();
  }

  *entries(): Generator<readonly [string, Stored]> {
    const map = this.#map;
    for (const [key, slot] of map) {
      // Cleared between two steps: what comes now is of before.
      if (this.#map !== map) return;
      const stored = this.slots.at(slot);
      if (stored !== undefined) yield [key, stored];
    }
  }

  #replace(key: string, slot: number, stored: Stored): boolean {
    if (stored.weight > this.#bounds.maxBytes) {
      this.#drop(slot);
      return false;
    }
    this.#bytes += stored.weight - this.slots.weightOf(slot);
    this.slots.replace(slot, stored);
    this.#call(() => this.#policy.onHit(slot));
    while (this.#bytes > this.#bounds.maxBytes) this.#evict(this.#victimFor(slot));
    return this.#map.get(key) === slot;
  }

  /** Evicts until what is in `incoming` fits. False when it is refused. */
  #makeRoom(incoming: number, weight: number): boolean {
    const { maxEntries, maxBytes } = this.#bounds;
    while (this.#map.size >= maxEntries || this.#bytes + weight > maxBytes) {
      const victim = this.#victimFor(incoming);
      if (victim === incoming) return false;
      this.#evict(victim);
    }
    return true;
  }

  #victimFor(incoming: number): number {
    const victim = this.#call(() => this.#policy.victim(incoming));
    if (victim === incoming) return incoming;
    if (victim === NONE || this.#map.get(this.slots.keyOf(victim)) !== victim)
      throw new CacheError('EVICTION_POLICY', 'The eviction policy gave a victim that is not in the cache');
    return victim;
  }

  #evict(victim: number): void {
    const key = this.slots.keyOf(victim);
    this.#drop(victim);
    this.#listener.onEvict(key);
  }

  // Nothing can keep an entry from leaving, so a policy that throws here is reported and overruled.
  #drop(slot: number): void {
    this.#map.delete(this.slots.keyOf(slot));
    this.#bytes -= this.slots.weightOf(slot);
    this.#tell(() => this.#policy.onRemove(slot));
    this.slots.give(slot);
  }

  #tell(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#listener.onPolicyError(error);
    }
  }

  #call<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      throw new CacheError('EVICTION_POLICY', 'The eviction policy threw', { cause: error });
    }
  }
}
