/**
 * Adds up the metrics of cluster workers, forked processes and worker threads.
 *
 * Terms: a *source* is a process or thread that reports; the *sums* are an ordinary collector; a source is *silent* when it
 * was not heard for a while, and *retired* when it has ended: what it counted stays.
 *
 * @module
 */
export {
  createMetricsAggregator,
  type AggregatedSource,
  type ClusterLike,
  type ForkedProcess,
  type MetricsAggregator,
  type MetricsAggregatorOptions,
  type ThreadLike,
} from './aggregator.ts';
export { reportMetrics, type MetricsReporter, type ReporterOptions } from './reporter.ts';
