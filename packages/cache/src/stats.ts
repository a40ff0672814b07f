import type { EvictionReason } from './memory/entry-store.ts';

/** What reads of one tier found. */
export interface TierStats {
  /** Reads that gave a fresh value. */
  readonly hits: number;
  readonly misses: number;
  /** Reads that gave a value past its ttl, as `staleFor` and `staleIfError` allow. */
  readonly stale: number;
}

/** Numbers of the first tier. */
export interface MemoryTierStats extends TierStats {
  readonly entries: number;
  /** By estimate; 0 when the cache is not bounded by bytes. */
  readonly bytes: number;
  readonly evictions: Readonly<Record<EvictionReason, number>>;
}

/** Numbers of the second tier, as this process saw it. */
export interface RedisTierStats extends TierStats {
  /** `none` without Redis, `connecting` before the first connection, `up`, or `down`: left aside until it answers again. */
  readonly state: 'none' | 'connecting' | 'up' | 'down';
  readonly errors: number;
  readonly timeouts: number;
  /** Stored values that could not be decoded and were treated as absent. */
  readonly rejected: number;
  /** Values that were not stored because they are too large or have no serialised form. */
  readonly skipped: number;
  /** Invalidations that wait for Redis to come back. */
  readonly pendingInvalidations: number;
  /** Times this process found that it had missed an invalidation, and stopped trusting its first tier. */
  readonly gaps: number;
  /** Bytes before and after compression, of the values that were compressed. */
  readonly compressedIn: number;
  readonly compressedOut: number;
}

/** Numbers of the loaders. */
export interface LoadStats {
  readonly started: number;
  readonly succeeded: number;
  /** Loaders that threw. */
  readonly failed: number;
  /** Loaders that did not settle within `loaderTimeout`; what they bring later may still be kept. */
  readonly timedOut: number;
  readonly running: number;
  /** Calls that waited for a load somebody else in this process had started. */
  readonly coalesced: number;
  /** Calls that got their value from a load in another process they had waited for. */
  readonly coalescedRemotely: number;
  /** Loads whose value was not kept, because it was invalidated or overwritten meanwhile. */
  readonly fenced: number;
  /** Loads ahead of expiry or behind a stale value. */
  readonly refreshes: number;
  readonly totalMs: number;
  /** Over the last thousand loads; 0 before the first. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What this process saw since it began, or since `resetStats()`. */
export interface CacheStats {
  readonly memory: MemoryTierStats;
  readonly redis: RedisTierStats;
  readonly loads: LoadStats;
  /** Values served without a load, as a fraction of all reads; 0 before the first. */
  readonly hitRatio: number;
}

const KEPT_DURATIONS = 1_024;

/** The numbers behind {@link CacheStats}, as plain fields, because a hit has no time for more. */
export class Tally {
  memoryHits = 0;
  memoryMisses = 0;
  memoryStale = 0;
  redisHits = 0;
  redisMisses = 0;
  redisStale = 0;
  errors = 0;
  timeouts = 0;
  rejected = 0;
  skipped = 0;
  gaps = 0;
  compressedIn = 0;
  compressedOut = 0;
  started = 0;
  succeeded = 0;
  failed = 0;
  timedOut = 0;
  coalesced = 0;
  coalescedRemotely = 0;
  fenced = 0;
  refreshes = 0;
  totalMs = 0;
  readonly evictions: Record<EvictionReason, number> = {
    capacity: 0,
    expired: 0,
    deleted: 0,
    invalidated: 0,
  };
  readonly #durations: number[] = [];
  #next = 0;

  loaded(durationMs: number): void {
    this.totalMs += durationMs;
    this.#durations[this.#next] = durationMs;
    this.#next = (this.#next + 1) % KEPT_DURATIONS;
  }

  /** The duration below which the fraction `q` of the last thousand loads stayed. */
  quantile(q: number): number {
    const sorted = this.#durations.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
  }

  /** Begins again from nothing. */
  reset(): void {
    const { evictions, ...fresh } = new Tally();
    Object.assign(this, fresh);
    Object.assign(this.evictions, evictions);
    this.#durations.length = 0;
    this.#next = 0;
  }

  get hitRatio(): number {
    const served = this.memoryHits + this.memoryStale + this.redisHits + this.redisStale;
    const reads = this.memoryHits + this.memoryStale + this.memoryMisses;
    return reads === 0 ? 0 : Math.min(1, served / reads);
  }
}

/** What only the parts themselves know when {@link CacheStats} are asked for. */
export interface Readings {
  readonly entries: number;
  readonly bytes: number;
  readonly running: number;
  readonly state: RedisTierStats['state'];
  readonly pendingInvalidations: number;
}

/** Puts the numbers into the shape users see. */
export function statsOf(tally: Tally, readings: Readings): CacheStats {
  return {
    memory: {
      hits: tally.memoryHits,
      misses: tally.memoryMisses,
      stale: tally.memoryStale,
      entries: readings.entries,
      bytes: readings.bytes,
      evictions: { ...tally.evictions },
    },
    redis: {
      state: readings.state,
      hits: tally.redisHits,
      misses: tally.redisMisses,
      stale: tally.redisStale,
      errors: tally.errors,
      timeouts: tally.timeouts,
      rejected: tally.rejected,
      skipped: tally.skipped,
      pendingInvalidations: readings.pendingInvalidations,
      gaps: tally.gaps,
      compressedIn: tally.compressedIn,
      compressedOut: tally.compressedOut,
    },
    loads: {
      started: tally.started,
      succeeded: tally.succeeded,
      failed: tally.failed,
      timedOut: tally.timedOut,
      running: readings.running,
      coalesced: tally.coalesced,
      coalescedRemotely: tally.coalescedRemotely,
      fenced: tally.fenced,
      refreshes: tally.refreshes,
      totalMs: tally.totalMs,
      p50Ms: tally.quantile(0.5),
      p99Ms: tally.quantile(0.99),
    },
    hitRatio: tally.hitRatio,
  };
}
