import type { AsyncHandler, ApiOptions } from './http-api.ts';
import type { Closeable, Duration, HealthIndicator } from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import type { MetricSnapshot } from '../snapshot.ts';
import type { QueryResult } from './promql/query.ts';
import type { DataSource, Labels } from './promql/values.ts';
import type { IncomingSample } from './sampler.ts';

/** The span of a range query. */
export interface QueryRange {
  /** Milliseconds since the epoch, or a date. */
  readonly from: number | Date;
  /** @default now */
  readonly to?: number | Date;
  /** @default a 250th of the span, at least the finest step */
  readonly step?: Duration;
}

/** The span of a range query in Prometheus's words. */
export interface PrometheusRange {
  /** Milliseconds since the epoch, or a date. */
  readonly start: number | Date;
  /** @default now */
  readonly end?: number | Date;
  readonly step?: Duration;
}

/** The instant of an instant query. */
export interface QueryInstant {
  /** @default now */
  readonly time?: number | Date;
}

/** What a store holds. */
export interface StoreStats {
  readonly series: number;
  /** Chunks, kept and open. */
  readonly bytes: number;
  readonly samples: number;
  /** Samples that came too late or for a series that had no room. */
  readonly dropped: number;
  /** Chunks sealed but not kept yet. */
  readonly pending: number;
  readonly oldest: number | undefined;
}

/** Exemplars of one series. */
export interface ExemplarSeries {
  readonly labels: Labels;
  readonly exemplars: readonly {
    readonly labels: Labels;
    readonly value: number;
    readonly timestamp: number;
  }[];
}

/**
 * Remembers metrics in tiers of resolution and answers PromQL.
 *
 * Guarantees: never more than `maxBytes` of chunks; a chunk that the storage acknowledged is not lost by a crash; a clock
 * that goes back overwrites nothing; a gap is a gap, never a zero.
 */
export interface TimeSeriesStore extends Closeable, DataSource {
  /** Reads what the storage holds; the first query or sample does so by itself. */
  open(): Promise<void>;
  /** Samples a collector at every step of the finest tier until the function it returns is called. */
  attach(collector: MetricsCollector, options?: { readonly labels?: Labels }): () => void;
  /** Samples every attached collector now, rather than at the next step. */
  sample(): Promise<void>;
  /** Adds samples of one instant, in milliseconds; series of `source` that are missing this time have ended. */
  append(time: number, samples: readonly IncomingSample[], source?: string): Promise<void>;
  /** Evaluates PromQL at an instant, or over a span. */
  query(promql: string, range?: QueryRange | PrometheusRange | QueryInstant): Promise<QueryResult>;
  /** Answers the Prometheus HTTP API under `/api/v1`. */
  httpApi(options?: ApiOptions): AsyncHandler;
  /** The labels of every series that has a sample between two instants. */
  series(from: number, to: number): readonly Labels[];
  metadata(): readonly MetricSnapshot[];
  exemplars(): readonly ExemplarSeries[];
  /** Hands everything sealed to the storage. */
  flush(): Promise<void>;
  stats(): StoreStats;
  healthIndicator(): HealthIndicator;
}
