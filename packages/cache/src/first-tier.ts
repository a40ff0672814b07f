import type { IsolatedEmitter } from '@xiaoke/core';
import type { Capture, Place } from './capture.ts';
import type { CoarseTime } from './coarse-time.ts';
import type { CacheEvents } from './events.ts';
import type { Lifetime } from './lifetime.ts';
import { LruStore } from './memory/lru-store.ts';
import { PolicyStore } from './memory/policy-store.ts';
import { weightOf } from './memory/size-of.ts';
import { Sweeper } from './memory/sweeper.ts';
import type { EntryStore, EvictionReason } from './memory/entry-store.ts';
import type { ResolvedCacheOptions } from './options.ts';
import { policyOf } from './policy/strategy.ts';
import { Details, Facts, Stored } from './stored.ts';
import type { Tally } from './stats.ts';

/** What a value may be used for now. `spare` is for when its loader fails. */
export type Freshness = 'fresh' | 'stale' | 'spare' | 'dead';

/** How long a value is kept. */
export interface Term {
  /** Milliseconds of freshness; at most 0 for a value that is stale already. */
  readonly freshFor: number;
  readonly lifetime: Lifetime;
  /** How long it took to load, when that is known. */
  readonly loadMs?: number | undefined;
  /** The value is an error to be thrown. */
  readonly failed?: boolean;
}

// With a bound in bytes alone, policies that must know a number of entries assume one of this many bytes.
const ASSUMED_WEIGHT = 1_024;

/** The tier in this process: a bounded store, the time, and what was invalidated. */
export class FirstTier {
  readonly store: EntryStore;
  readonly #time: CoarseTime;
  readonly #options: ResolvedCacheOptions;
  readonly #tally: Tally;
  readonly #events: IsolatedEmitter<CacheEvents>;
  readonly #sweeper: Sweeper | undefined;
  readonly #touch: (place: Place, life: number) => void;
  readonly #weighted: boolean;

  constructor(
    options: ResolvedCacheOptions,
    parts: {
      time: CoarseTime;
      tally: Tally;
      events: IsolatedEmitter<CacheEvents>;
      /** An idle value was used: what is stored elsewhere must live that much longer. */
      touch: (place: Place, life: number) => void;
    },
  ) {
    this.#options = options;
    this.#time = parts.time;
    this.#tally = parts.tally;
    this.#events = parts.events;
    this.#touch = parts.touch;
    this.#weighted = options.maxBytes !== Infinity;
    this.store = this.#createStore();
    this.#sweeper =
      options.sweep &&
      new Sweeper(this.store, {
        ...options.sweep,
        clock: options.clock,
        isDead: (stored) => this.freshness(stored) === 'dead' || !stored.details.facts.valid(),
        onRemove: (full, stored) =>
          this.#evicted(full, stored.details.facts.valid() ? 'expired' : 'invalidated'),
      });
  }

  /**
   * A valid entry of the place, fresh or not; it counts as a use, unless it was `counted` before. What is no use any more is
   * removed.
   */
  find(place: Place, counted = false): Stored | undefined {
    const stored = counted ? this.store.peek(place.full) : this.store.get(place.full);
    if (stored === undefined) return undefined;
    const { facts } = stored.details;
    // Another namespace's entry can only be met through a key with a separator in it, which no valid key has.
    if (facts.scope !== place.scope) return undefined;
    if (!facts.valid()) {
      this.remove(place.full, 'invalidated');
      return undefined;
    }
    const freshness = this.freshness(stored);
    if (freshness === 'dead') {
      this.remove(place.full, 'expired');
      return undefined;
    }
    if (freshness === 'fresh' && facts.idleTtl > 0) this.#slide(place, stored);
    return stored;
  }

  /** As {@link find}, without any effect. */
  peek(place: Place): Stored | undefined {
    const stored = this.store.peek(place.full);
    if (stored === undefined || stored.details.facts.scope !== place.scope) return undefined;
    return stored.details.facts.valid() && this.freshness(stored) !== 'dead' ? stored : undefined;
  }

  freshness(stored: Stored): Freshness {
    const late = this.#time.now() - stored.expiresAt;
    if (late < 0) return 'fresh';
    const { staleFor, staleIfError } = stored.details.facts;
    if (late < staleFor) return 'stale';
    return late < staleIfError ? 'spare' : 'dead';
  }

  /** Keeps a value, unless it was overtaken on its way. Returns whether it was kept. */
  put(capture: Capture, value: unknown, term: Term): boolean {
    if (!capture.intact) return false;
    const now = this.#time.now();
    const facts = this.#factsOf(capture, value, term);
    const expiresAt = now + Math.ceil(term.freshFor);
    const idle = facts?.idleTtl ?? 0;
    const details = facts === undefined ? capture.place.scope.plain : Details.of(facts);
    const stored = new Stored(value, idle > 0 ? Math.min(expiresAt, now + idle) : expiresAt, details);
    return this.store.set(capture.place.full, stored);
  }

  /** Whether there was something that could still be served. */
  remove(full: string, reason: EvictionReason): boolean {
    const stored = this.store.peek(full);
    if (stored === undefined) return false;
    const alive = stored.details.facts.valid() && this.freshness(stored) === 'fresh';
    this.store.delete(full);
    this.#evicted(full, reason);
    return alive && !stored.details.facts.failed;
  }

  /** Everything goes. */
  clear(): void {
    this.#tally.evictions.invalidated += this.store.size;
    this.store.clear();
  }

  close(): void {
    this.#sweeper?.close();
    this.store.clear();
  }

  /** Undefined when nothing is special about the entry. */
  #factsOf(capture: Capture, value: unknown, term: Term): Facts | undefined {
    if (!this.#weighted && capture.tags.length === 0 && this.#isUsual(term)) return undefined;
    const { scope, full } = capture.place;
    const { lifetime, freshFor, failed = false } = term;
    const now = this.#time.now();
    const terms = failed ? { staleFor: 0, staleIfError: 0 } : lifetime;
    return new Facts(scope, capture.validity, terms, {
      failed,
      idleTtl: failed ? 0 : lifetime.idleTtl,
      touchedAt: now,
      hardExpiry: now + freshFor,
      tags: capture.tags.length > 0 ? capture.tags : undefined,
      tagsSeen: capture.tagsSeen,
      refreshAt: isEarly(term) ? now + freshFor - this.#lead(term) : Infinity,
      weight: this.#weighted ? weightOf(full, value) : 0,
    });
  }

  #isUsual(term: Term): boolean {
    const { staleFor, staleIfError, idleTtl } = term.lifetime;
    const usual = this.#options.lifetime;
    if (term.failed === true || idleTtl > 0 || isEarly(term)) return false;
    return staleFor === usual.staleFor && staleIfError === usual.staleIfError;
  }

  // XFetch (Vattani, Chierichetti and Lowenstein, VLDB '15) draws on every read; one draw when the value is stored does the
  // same for a process and costs a hit nothing. Twice the load time comes on top, so that the load ends before the ttl.
  #lead({ lifetime, loadMs = 0, freshFor }: Term): number {
    const draw = 2 - Math.log(1 - this.#options.random());
    return Math.min(freshFor / 2, Math.max(1, loadMs) * lifetime.earlyRefresh * draw);
  }

  // The second tier is told once in a while only: a read of the first must not cost a command each time.
  #slide(place: Place, stored: Stored): void {
    const { facts } = stored.details;
    const now = this.#time.now();
    stored.expiresAt = Math.min(facts.hardExpiry, now + facts.idleTtl);
    this.store.update(place.full, stored);
    if (now - facts.touchedAt < facts.idleTtl / 4) return;
    facts.touchedAt = now;
    this.#touch(place, stored.expiresAt - now);
  }

  #evicted(full: string, reason: EvictionReason): void {
    this.#tally.evictions[reason] += 1;
    if (this.#events.listenerCount('evict') > 0) this.#events.emit('evict', { key: keyIn(full), reason });
  }

  #createStore(): EntryStore {
    const { strategy, maxEntries, maxBytes, random } = this.#options;
    const bounds = { maxEntries, maxBytes };
    const listener = {
      onEvict: (full: string) => this.#evicted(full, 'capacity'),
      onPolicyError: (error: unknown) => void this.#events.emit('error', error),
    };
    if (strategy === 'lru') return new LruStore(bounds, listener);
    const capacity = Math.min(maxEntries, Math.max(1_000, Math.floor(maxBytes / ASSUMED_WEIGHT)));
    return new PolicyStore(policyOf(strategy, capacity, random), bounds, listener);
  }
}

function isEarly({ lifetime, loadMs }: Term): boolean {
  return lifetime.earlyRefresh > 0 && loadMs !== undefined;
}

// What stands before the separator is the namespace.
function keyIn(full: string): string {
  return full.slice(full.lastIndexOf('\u001F') + 1);
}
