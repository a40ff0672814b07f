import type {
  Closeable,
  Decorator,
  HealthIndicator,
  LabelDefinitions,
  MetricsSink,
  NoLabels,
} from '@xiaoke/core';
import type { Registry } from 'prom-client';
import type {
  Counter,
  CounterDefinition,
  Gauge,
  GaugeDefinition,
  Histogram,
  HistogramDefinition,
  Info,
  StateSet,
  StateSetDefinition,
  Summary,
  SummaryDefinition,
} from './definitions.ts';
import type { MetricDefinition } from '@xiaoke/core';
import type { MeasureOptions } from './decorators.ts';
import type { MetricsHandler } from './exposition/handler.ts';
import type { FastifyPlugin } from './http/fastify.ts';
import type { HttpRequestLike, HttpResponseLike, RouteOf } from './http/node-http.ts';
import type { HttpMetricsOptions } from './http/recorder.ts';
import type { Operation, OperationOptions } from './operation.ts';
import type { RuntimeOptions } from './runtime/runtime.ts';
import type { MetricSnapshot } from './snapshot.ts';

/** A scrape: the body is a string, or a Buffer for protobuf. */
export interface Exposition {
  readonly contentType: string;
  readonly body: string | Buffer;
}

/** A server whose requests can be measured. */
export interface HttpServerLike {
  on(event: 'request', listener: (request: HttpRequestLike, response: HttpResponseLike) => void): unknown;
  off(event: 'request', listener: (request: HttpRequestLike, response: HttpResponseLike) => void): unknown;
}

/** What this process saw of its own metrics. */
export interface MetricsStats {
  readonly metrics: number;
  readonly series: number;
  readonly dropped: number;
  readonly invalid: number;
  readonly scrapes: number;
}

/**
 * Makes and exposes metrics. Its instruments cost nanoseconds, live in an ordinary prom-client registry beside stock
 * metrics, and are written in all formats that Prometheus reads.
 *
 * Guarantees: an update never throws (unless `invalid: 'throw'`) and never blocks; one collector that fails or hangs never
 * costs the others; a metric never has more than its limit of series, and a counter's sum stays right beyond it.
 */
export interface MetricsCollector extends MetricsSink, Closeable {
  /** @throws `INVALID_OPTION` for a bad definition, `METRIC_CONFLICT` for a name that is taken by another shape */
  counter<const L extends LabelDefinitions = NoLabels>(definition: CounterDefinition<L>): Counter<L>;
  gauge<const L extends LabelDefinitions = NoLabels>(definition: GaugeDefinition<L>): Gauge<L>;
  histogram<const L extends LabelDefinitions = NoLabels>(definition: HistogramDefinition<L>): Histogram<L>;
  /** Quantiles over the last minutes, within 2.2 %; they cannot be aggregated, so prefer a histogram. */
  summary<const L extends LabelDefinitions = NoLabels>(definition: SummaryDefinition<L>): Summary<L>;
  stateSet<const S extends string, const L extends LabelDefinitions = NoLabels>(
    definition: StateSetDefinition<L, S>,
  ): StateSet<L, S>;
  /** Facts such as a version, as labels of a series with the value 1. `_info` is appended to the name if missing. */
  info<const L extends LabelDefinitions>(definition: MetricDefinition<L>): Info<L>;
  /**
   * A business operation: `<name>_processed_total{…,outcome}`, `<singular>_duration_seconds{…}` and
   * `<name>_in_progress{…}`.
   */
  operation<const L extends LabelDefinitions = NoLabels>(
    name: string,
    options?: OperationOptions<L>,
  ): Operation<L>;
  /** Starts metrics of the process, the event loop, the heap and garbage collection. Once is enough. */
  runtime(options?: RuntimeOptions): void;
  /** Observes the seconds a method takes, by outcome. */
  timed(name: string, options?: MeasureOptions): Decorator<unknown>;
  /** Counts the calls of a method, by outcome. */
  counted(name: string, options?: MeasureOptions): Decorator<unknown>;
  /** Counts the calls of a method that are under way. */
  inFlight(name: string, options?: MeasureOptions): Decorator<unknown>;
  /** Answers a scrape in the best format that the `Accept` header `accept` allows. */
  metrics(accept?: string): Promise<Exposition>;
  /** Answers scrapes over HTTP: negotiated, gzipped, in pieces. `?format=text|openmetrics|protobuf` overrides. */
  handler(): MetricsHandler;
  /** A fastify plugin that measures requests. */
  fastify(options?: HttpMetricsOptions): FastifyPlugin;
  /** An express middleware that measures requests; use it before the routes. */
  express(
    options?: HttpMetricsOptions,
  ): (request: HttpRequestLike, response: HttpResponseLike, next: () => void) => void;
  /** Measures the requests of a `node:http` server until the function it returns is called. */
  nodeHttp(server: HttpServerLike, options?: HttpMetricsOptions & { readonly route?: RouteOf }): () => void;
  /** Every series with its value now, for whoever stores or pushes them. */
  snapshot(): Promise<readonly MetricSnapshot[]>;
  /** Sets every one of our metrics to zero. */
  reset(): void;
  /** Takes a metric out; its instruments record nowhere from then on. */
  remove(name: string): void;
  stats(): MetricsStats;
  healthIndicator(): HealthIndicator;
  readonly registry: Registry;
  readonly closed: boolean;
}
