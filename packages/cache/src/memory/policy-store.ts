import { CacheError } from '../errors.ts';
import { PolicyStored, type Details, type Stored, type Validity } from '../stored.ts';
import type { Entry, EvictionPolicy } from '../policy/eviction-policy.ts';
import type { EntryStore, StoreListener } from './entry-store.ts';
import type { StoreBounds } from './lru-store.ts';

/** A map whose overflow an {@link EvictionPolicy} decides. A policy that breaks its contract cannot break the map. */
export class PolicyStore implements EntryStore {
  #map = new Map<string, PolicyStored>();
  #bytes = 0;
  readonly #policy: EvictionPolicy;
  readonly #bounds: StoreBounds;
  readonly #listener: StoreListener;

  constructor(policy: EvictionPolicy, bounds: StoreBounds, listener: StoreListener) {
    this.#policy = policy;
    this.#bounds = bounds;
    this.#listener = listener;
  }

  get size(): number {
    return this.#map.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): Stored | undefined {
    return this.spot(key);
  }

  isFresh(stored: PolicyStored, validity: Validity, now: number): boolean {
    return stored.details.fast === validity && now < stored.expiresAt;
  }

  valueAt(stored: PolicyStored): unknown {
    return stored.value;
  }

  detailsAt(stored: PolicyStored): Details {
    return stored.details;
  }

  describe(stored: PolicyStored, details: Details): void {
    stored.details = details;
  }

  // What was given was the entry itself.
  update(): void {}

  spot(key: string): PolicyStored | undefined {
    const stored = this.#map.get(key);
    if (stored === undefined) return undefined;
    try {
      this.#policy.onHit(stored);
    } catch (error) {
      // A read must not fail because a policy does. Written out: a closure would cost as much as the lookup.
      this.#listener.onPolicyError(error);
    }
    return stored;
  }

  peek(key: string): Stored | undefined {
    return this.#map.get(key);
  }

  set(key: string, stored: Stored): boolean {
    const existing = this.#map.get(key);
    if (existing !== undefined) return this.#replace(existing, stored);
    const incoming = new PolicyStored(key, stored);
    if (!this.#makeRoom(incoming)) return false;
    this.#call(() => this.#policy.onInsert(incoming));
    this.#map.set(key, incoming);
    this.#bytes += incoming.weight;
    return true;
  }

  delete(key: string): boolean {
    const stored = this.#map.get(key);
    if (stored === undefined) return false;
    this.#drop(stored);
    return true;
  }

  clear(): void {
    const leaving = this.#map;
    this.#map = new Map();
    this.#bytes = 0;
    if (this.#policy.clear === undefined) for (const stored of leaving.values()) this.#tellRemoved(stored);
    else this.#tell(() => this.#policy.clear?.());
  }

  entries(): Iterator<readonly [string, Stored]> {
    return this.#map.entries();
  }

  #replace(existing: PolicyStored, stored: Stored): boolean {
    if (stored.weight > this.#bounds.maxBytes) {
      this.#drop(existing);
      return false;
    }
    this.#bytes += stored.weight - existing.weight;
    existing.value = stored.value;
    existing.expiresAt = stored.expiresAt;
    existing.details = stored.details;
    this.#call(() => this.#policy.onHit(existing));
    while (this.#bytes > this.#bounds.maxBytes) this.#evict(this.#victimFor(existing));
    return this.#map.get(existing.key) === existing;
  }

  /** Evicts until `incoming` fits. False when it is refused or larger than the whole cache. */
  #makeRoom(incoming: PolicyStored): boolean {
    const { maxEntries, maxBytes } = this.#bounds;
    if (incoming.weight > maxBytes) return false;
    while (this.#map.size >= maxEntries || this.#bytes + incoming.weight > maxBytes) {
      const victim = this.#victimFor(incoming);
      if (victim === incoming) return false;
      this.#evict(victim);
    }
    return true;
  }

  #victimFor(incoming: PolicyStored): PolicyStored {
    const victim = this.#call((): Entry | undefined => this.#policy.victim(incoming));
    if (victim === incoming) return incoming;
    const held = typeof victim?.key === 'string' ? this.#map.get(victim.key) : undefined;
    if (held === undefined || held !== victim) {
      throw new CacheError('EVICTION_POLICY', 'The eviction policy gave a victim that is not in the cache');
    }
    return held;
  }

  #evict(victim: PolicyStored): void {
    this.#drop(victim);
    this.#listener.onEvict(victim.key);
  }

  #drop(stored: PolicyStored): void {
    this.#map.delete(stored.key);
    this.#bytes -= stored.weight;
    this.#tellRemoved(stored);
  }

  // Nothing can keep an entry from leaving, so a policy that throws here is reported and overruled.
  #tellRemoved(stored: PolicyStored): void {
    this.#tell(() => this.#policy.onRemove(stored));
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
