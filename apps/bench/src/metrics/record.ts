/** The record path: one update of a counter and of a histogram, through a bound child and through a label object. */
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import promClient from 'prom-client';
import { createMetricsCollector } from '@xiaoke/metrics';
import { compare, type Figures } from '../harness.ts';

const CALLS = 400_000;
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
// Powers of two, so that picking one costs little beside what is measured.
const labelSets = Array.from({ length: 32 }, (_, i) => ({
  queue: `queue-${i % 4}`,
  task: `task-${i % 8}`,
  outcome: `outcome-${i}`,
}));
const names = ['queue', 'task', 'outcome'] as const;
const definition = { help: 'h', labels: { queue: String, task: String, outcome: String } } as const;

const metrics = createMetricsCollector({ selfMetrics: false });
const counter = metrics.counter({ name: 'own_total', ...definition });
const histogram = metrics.histogram({ name: 'own_seconds', buckets: BUCKETS, ...definition });
const native = metrics.histogram({ name: 'own_native_seconds', buckets: [], native: true, ...definition });
const ownCounters = labelSets.map((labels) => counter.with(labels));
const ownHistograms = labelSets.map((labels) => histogram.with(labels));
const ownNatives = labelSets.map((labels) => native.with(labels));

const registry = new promClient.Registry();
const theirs = { help: 'h', labelNames: names, registers: [registry] };
const promCounter = new promClient.Counter({ name: 'prom_total', ...theirs });
const promHistogram = new promClient.Histogram({ name: 'prom_seconds', buckets: BUCKETS, ...theirs });
const promCounters = labelSets.map((labels) => promCounter.labels(labels));
const promHistograms = labelSets.map((labels) => promHistogram.labels(labels));

const reader = new PrometheusExporter({ preventServerStart: true });
const meter = new MeterProvider({ readers: [reader] }).getMeter('bench');
const otelCounter = meter.createCounter('otel_total');
const otelHistogram = meter.createHistogram('otel_seconds', {
  advice: { explicitBucketBoundaries: BUCKETS },
});

/**
 * Nanoseconds a call; the loop and the array read are part of it for everybody. Each measurement gets a loop of its own:
 * in a shared one the engine would see many functions at one call and could inline none of them.
 */
function timer(update: (i: number) => void): () => number {
  // oxlint-disable-next-line no-implied-eval -- see above
  const loop = new Function('update', 'calls', 'for (let i = 0; i < calls; i++) update(i);');
  loop(update, CALLS);
  return () => {
    const start = performance.now();
    loop(update, CALLS);
    return ((performance.now() - start) / CALLS) * 1e6;
  };
}

/** The times of all `updates`. */
function timing(updates: Readonly<Record<string, (i: number) => void>>): () => Figures {
  const timers = Object.entries(updates).map(([name, update]) => [name, timer(update)] as const);
  return () => Object.fromEntries(timers.map(([name, run]) => [name, run()]));
}

const values = Array.from({ length: 1_024 }, (_, i) => (i % 1_000) / 100);
const value = (i: number): number => values[i & 1_023] as number;
const at = <T>(items: readonly T[], i: number): T => items[i & 31] as T;

await compare({
  name: 'metrics/record',
  rounds: 7,
  lowerIsBetter: ['bound counter ns', 'bound histogram ns', 'counter by labels ns', 'histogram by labels ns'],
  candidates: {
    xiaoke: timing({
      'bound counter ns': (i) => at(ownCounters, i).inc(),
      'bound histogram ns': (i) => at(ownHistograms, i).observe(value(i)),
      'bound native histogram ns': (i) => at(ownNatives, i).observe(value(i)),
      'counter by labels ns': (i) => counter.inc(at(labelSets, i)),
      'histogram by labels ns': (i) => histogram.observe(at(labelSets, i), value(i)),
    }),
    'prom-client': timing({
      'bound counter ns': (i) => at(promCounters, i).inc(),
      'bound histogram ns': (i) => at(promHistograms, i).observe(value(i)),
      'counter by labels ns': (i) => promCounter.inc(at(labelSets, i)),
      'histogram by labels ns': (i) => promHistogram.observe(at(labelSets, i), value(i)),
    }),
    OpenTelemetry: timing({
      'counter by labels ns': (i) => otelCounter.add(1, at(labelSets, i)),
      'histogram by labels ns': (i) => otelHistogram.record(value(i), at(labelSets, i)),
    }),
  },
  bars: [
    { figure: 'bound counter ns', versus: 'prom-client', atMost: 1 / 20 },
    { figure: 'bound histogram ns', versus: 'prom-client', atMost: 1 / 20 },
    { figure: 'counter by labels ns', versus: 'prom-client', atMost: 1 / 4 },
    { figure: 'histogram by labels ns', versus: 'prom-client', atMost: 1 / 4 },
    { figure: 'counter by labels ns', versus: 'OpenTelemetry', atMost: 1 / 10 },
  ],
});
