import type { Registry } from 'prom-client';
import type { CollectHooks } from './collect-hooks.ts';
import type { CounterFamily } from './instruments/counter.ts';
import type { HistogramFamily } from './instruments/histogram.ts';
import type { InstrumentSet } from './instruments/instrument-set.ts';
import type { Family } from './instruments/family.ts';
import { familyOf } from './instruments/registry-metric.ts';

/** What a collector says about itself. */
export interface SelfMetrics {
  collectFailed(name: string): void;
  scraped(seconds: number): void;
}

const SCRAPE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** Defines `xiaoke_metrics_*` and keeps them up to date. */
export function selfMetrics(
  instruments: InstrumentSet,
  hooks: CollectHooks,
  registry: Registry,
): SelfMetrics {
  const define = (name: string, help: string): CounterFamily =>
    instruments.counter({ name, help, labels: { metric: String }, limit: Infinity });
  const series = instruments.gauge({
    name: 'xiaoke_metrics_series',
    help: 'Series that a metric has now.',
    labels: { metric: String },
    limit: Infinity,
  });
  const dropped = define('xiaoke_metrics_series_dropped_total', 'Updates that went to the overflow series.');
  const invalid = define(
    'xiaoke_metrics_invalid_total',
    'Updates ignored for a value or label that is not allowed.',
  );
  const errors = instruments.counter({
    name: 'xiaoke_metrics_collect_errors_total',
    help: 'Runs of a collector that failed or took too long.',
    labels: { collector: String },
  });
  const duration: HistogramFamily = instruments.histogram({
    name: 'xiaoke_metrics_scrape_duration_seconds',
    help: 'Time to answer a scrape.',
    buckets: SCRAPE_BUCKETS,
  });
  const own = new Set([series, dropped, invalid, errors].map((family) => family.name));
  const update = (): void => {
    for (const metric of registry.getMetricsAsArray() as readonly unknown[]) {
      const family = familyOf(metric);
      // Only labels can make too many series.
      if (family === undefined || family.schema.names.length === 0 || own.has(family.name)) continue;
      const at = [family.name];
      setTo(series.byValues(at), family.series.length);
      setTo(dropped.byValues(at), family.dropped);
      setTo(invalid.byValues(at), family.invalid);
    }
  };
  hooks.add({ name: series.name, collect: update });
  hooks.add({ name: dropped.name, collect: update });
  hooks.add({ name: invalid.name, collect: update });
  return {
    collectFailed: (name) => errors.lookup({ collector: name }).inc(),
    scraped: (seconds) => duration.lookup({}).observe(seconds),
  };
}

/** Gives a series a value that was counted elsewhere. */
export function setTo(series: Family['series'][number], value: number): void {
  series.page[series.offset] = value;
}
