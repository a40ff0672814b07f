import type { CloseOptions, HealthIndication } from '@xiaoke/core';
import type { Place } from './capture.ts';
import type { Serialized } from './codec/serializer.ts';
import type { Counter } from './counters.ts';
import type { Lifetime } from './lifetime.ts';
import type { RedisTierStats } from './stats.ts';

/** A value as the second tier gave it. */
export interface Found {
  readonly value: unknown;
  /** Milliseconds of freshness left; at most 0 when it is stale. */
  readonly freshFor: number;
  readonly loadMs: number;
  /** Sliding ttl, 0 for none. */
  readonly idleTtl: number;
  readonly tags: readonly Counter[];
  /** What was stored, for {@link SecondTier.claim} to tell this writing of the value from another. */
  readonly source: Uint8Array;
}

/** Who asked for a value. An object with a method and no closure: this is the way of every read that leaves the process. */
export interface Receiver {
  /** Undefined when there is nothing. Must not throw. */
  receive(found: Found | undefined): void;
}

/** A value to be written. */
export interface Draft {
  readonly place: Place;
  readonly value: unknown;
  readonly freshFor: number;
  readonly lifetime: Lifetime;
  readonly loadMs?: number | undefined;
  readonly tags: readonly Counter[];
  /** What `serialize` gave for the value, if it was asked before. */
  readonly serialized?: Serialized | undefined;
}

/** Who wants to load what. */
export interface ClaimRequest {
  readonly place: Place;
  readonly tags: readonly Counter[];
  readonly lifetime: Lifetime;
  /** A value that was found, and counts as none. */
  readonly known: Found | undefined;
}

/** What became of a write: `away` when the second tier could not be reached. */
export type WriteOutcome = 'stored' | 'fenced' | 'skipped' | 'away';

/** The right to load a key, held by one caller among all processes until it is used, released or lapses. */
export interface Lease {
  /** Stores what was loaded; `fenced` when the key was invalidated since, or the lease has lapsed. */
  store(draft: Draft): Promise<WriteOutcome>;
  release(): Promise<void>;
  /** Lets it lapse by itself. */
  stopRenewing(): void;
}

/** Who loads a key: we do; nobody has to, since there is a value; somebody else does; everybody by himself. */
export type Claim =
  | { readonly kind: 'lease'; readonly lease: Lease }
  | { readonly kind: 'found'; readonly found: Found }
  | { readonly kind: 'busy' }
  | { readonly kind: 'alone' };

/** What the second tier reports. */
export interface SecondTierListener {
  /** Another process deleted or overwrote these. */
  onKeys(path: string, keys: readonly string[]): void;
  /** Another process invalidated these counters; the versions are theirs now. */
  onCounters(versions: readonly (readonly [id: string, version: number])[]): void;
  /** Messages were missed, or none were heard so far: nothing in the first tier may be trusted. */
  onGap(first: boolean): void;
  onState(state: 'up' | 'down', reason?: string): void;
  onReject(place: Place, reason: string): void;
  /** Something failed, or took too long. */
  onFailure(op: string): void;
}

/**
 * The seam between the cache and the tier that processes share. Nothing here rejects because that tier is away, and nothing
 * takes much longer than the timeout it was made with: a read finds nothing, a claim is `alone`, an invalidation is
 * remembered and done once the tier is back, before anything is read from it again.
 */
export interface SecondTier {
  readonly state: RedisTierStats['state'];
  /** Invalidations that wait for the tier to come back. */
  readonly pending: number;
  /** @throws CacheError `SERIALIZATION`, before anything is written */
  serialize(value: unknown): Serialized;
  ready(timeout: number): Promise<boolean>;
  /** Reads in the same turn of the event loop share one round trip. */
  read(place: Place, receiver: Receiver): void;
  /** One attempt. */
  claim(request: ClaimRequest): Promise<Claim>;
  write(drafts: readonly Draft[]): Promise<readonly WriteOutcome[]>;
  /** Whether each was there. */
  remove(places: readonly Place[]): Promise<readonly boolean[]>;
  invalidate(counters: readonly Counter[]): Promise<void>;
  /** Puts off the end of an idle value. Fire and forget. */
  touch(place: Place, life: number): void;
  health(): Promise<HealthIndication>;
  close(options?: CloseOptions): Promise<void>;
}
