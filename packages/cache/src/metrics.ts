import type { BoundCounter, MetricsSink } from '@xiaoke/core';
import type { Tier } from './events.ts';
import type { Tally } from './stats.ts';

/** What only the first tier knows when it is asked. */
export interface Filling {
  readonly entries: number;
  readonly bytes: number;
}

/** What metrics need of their cache. */
export interface CacheMetricsParts {
  readonly sink: MetricsSink;
  /** The label `cache`. */
  readonly name: string;
  readonly tally: Tally;
  readonly filling: () => Filling;
  /** Ends the reports. */
  readonly signal: AbortSignal;
}

/**
 * Reports a cache to a metrics sink. Counters are brought up to date when they are scraped, from the statistics that are kept
 * anyway: a hit has no time for more than one addition.
 */
export class CacheMetrics {
  readonly #parts: CacheMetricsParts;
  readonly #instruments: ReturnType<typeof define>;
  readonly #counters: readonly (readonly [read: (tally: Tally) => number, counter: BoundCounter])[];
  #reported: number[];

  constructor(parts: CacheMetricsParts) {
    this.#parts = parts;
    this.#instruments = define(parts, () => this.flush());
    this.#counters = countersOf(parts.name, this.#instruments);
    this.#reported = this.#counters.map(() => 0);
  }

  load(durationMs: number): void {
    this.#instruments.duration.observe({ cache: this.#parts.name }, durationMs / 1_000);
  }

  error(tier: Tier, op: string): void {
    this.#instruments.errors.inc({ cache: this.#parts.name, tier, op });
  }

  /** Reports what has come since the last time. */
  flush(): void {
    const { tally, filling, name: cache } = this.#parts;
    this.#counters.forEach(([read, counter], i) => {
      const total = read(tally);
      counter.inc(total - (this.#reported[i] ?? 0));
      this.#reported[i] = total;
    });
    const { entries, bytes } = filling();
    this.#instruments.entries.set({ cache, tier: 'memory' }, entries);
    this.#instruments.bytes.set({ cache, tier: 'memory' }, bytes);
  }

  /** The statistics were set to zero; counters only grow, so they go on from where they are. */
  rebase(): void {
    this.#reported = this.#counters.map(([read]) => read(this.#parts.tally));
  }
}

const TIERS = ['memory', 'redis'] as const;

function define({ sink, signal }: CacheMetricsParts, collect: () => void) {
  const tiered = { cache: String, tier: TIERS } as const;
  return {
    requests: sink.counter({
      name: 'xiaoke_cache_requests_total',
      help: 'Reads of each tier, by what they found.',
      labels: { ...tiered, result: ['hit', 'miss', 'stale'] },
    }),
    entries: sink.gauge({
      name: 'xiaoke_cache_entries',
      help: 'Entries held.',
      labels: tiered,
      collect,
      signal,
    }),
    bytes: sink.gauge({
      name: 'xiaoke_cache_size_bytes',
      help: 'Bytes held, by estimate; 0 for a cache that is not bounded by bytes.',
      labels: tiered,
    }),
    evictions: sink.counter({
      name: 'xiaoke_cache_evictions_total',
      help: 'Entries that left, by why.',
      labels: { ...tiered, reason: ['capacity', 'expired', 'deleted', 'invalidated'] },
    }),
    loads: sink.counter({
      name: 'xiaoke_cache_loads_total',
      help: 'Loads that ended, by how.',
      labels: { cache: String, outcome: ['success', 'failure', 'timeout'] },
    }),
    duration: sink.histogram({
      name: 'xiaoke_cache_load_duration_seconds',
      help: 'How long loads took.',
      labels: { cache: String },
    }),
    coalesced: sink.counter({
      name: 'xiaoke_cache_coalesced_total',
      help: 'Calls that were answered by a load somebody else had started, in this process or another.',
      labels: { cache: String },
    }),
    compressed: sink.counter({
      name: 'xiaoke_cache_compressed_bytes_total',
      help: 'Bytes before and after compression.',
      labels: { cache: String, stage: ['in', 'out'] },
    }),
    errors: sink.counter({
      name: 'xiaoke_cache_errors_total',
      help: 'What failed, by tier and operation.',
      labels: { ...tiered, op: String },
    }),
  };
}

// Bound here once: closed label sets then show their series from the start, at zero.
function countersOf(
  cache: string,
  { requests, evictions, loads, coalesced, compressed }: ReturnType<typeof define>,
): (readonly [(tally: Tally) => number, BoundCounter])[] {
  const memory = { cache, tier: 'memory' } as const;
  const redis = { cache, tier: 'redis' } as const;
  return [
    [(tally) => tally.memoryHits, requests.with({ ...memory, result: 'hit' })],
    [(tally) => tally.memoryMisses, requests.with({ ...memory, result: 'miss' })],
    [(tally) => tally.memoryStale, requests.with({ ...memory, result: 'stale' })],
    [(tally) => tally.redisHits, requests.with({ ...redis, result: 'hit' })],
    [(tally) => tally.redisMisses, requests.with({ ...redis, result: 'miss' })],
    [(tally) => tally.redisStale, requests.with({ ...redis, result: 'stale' })],
    [(tally) => tally.evictions.capacity, evictions.with({ ...memory, reason: 'capacity' })],
    [(tally) => tally.evictions.expired, evictions.with({ ...memory, reason: 'expired' })],
    [(tally) => tally.evictions.deleted, evictions.with({ ...memory, reason: 'deleted' })],
    [(tally) => tally.evictions.invalidated, evictions.with({ ...memory, reason: 'invalidated' })],
    [(tally) => tally.succeeded, loads.with({ cache, outcome: 'success' })],
    [(tally) => tally.failed, loads.with({ cache, outcome: 'failure' })],
    [(tally) => tally.timedOut, loads.with({ cache, outcome: 'timeout' })],
    [(tally) => tally.coalesced + tally.coalescedRemotely, coalesced.with({ cache })],
    [(tally) => tally.compressedIn, compressed.with({ cache, stage: 'in' })],
    [(tally) => tally.compressedOut, compressed.with({ cache, stage: 'out' })],
  ];
}
