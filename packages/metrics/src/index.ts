/**
 * Prometheus instruments at nanoseconds, in every format Prometheus reads.
 *
 * Terms: a *metric* is a name with a kind and labels; a *series* is a metric with its labels fixed; a *bound child* is
 * the object that updates one series; the *overflow series* stands for all label sets beyond a metric's limit; a *native*
 * histogram has exponential buckets.
 *
 * @module
 */
export { createMetricsCollector, getMetricsCollector } from './default-collector.ts';
export type { Exposition, HttpServerLike, MetricsCollector, MetricsStats } from './collector.ts';
export type { MetricsCollectorOptions } from './options.ts';
export type {
  Counter,
  CounterDefinition,
  Gauge,
  GaugeDefinition,
  Histogram,
  HistogramDefinition,
  Info,
  MetricExtras,
  SeriesControl,
  StateSet,
  StateSetDefinition,
  StopTimer,
  Summary,
  SummaryDefinition,
} from './definitions.ts';
export { MetricConflictError, MetricsError, type MetricsErrorCode } from './errors.ts';
export type { ExemplarLabels } from './instruments/exemplars.ts';
export { OVERFLOW } from './instruments/label-schema.ts';
export { NativeHistogram, type BucketRun } from './instruments/native-histogram.ts';
export type { Aggregation, MetricType } from './instruments/family.ts';
export type { MeasureOptions } from './decorators.ts';
export type { MetricsHandler, ScrapeRequest, ScrapeResponse } from './exposition/handler.ts';
export { UNMATCHED, type HttpMetricsOptions } from './http/recorder.ts';
export type { HttpRequestLike, HttpResponseLike, RouteOf } from './http/node-http.ts';
export type { FastifyLike, FastifyPlugin } from './http/fastify.ts';
export type { Operation, OperationOptions, Outcome, RunningOperation, SloDefinition } from './operation.ts';
export type { RuntimeOptions } from './runtime/runtime.ts';
export type { MetricSnapshot, SampleSnapshot } from './snapshot.ts';
