/** Memory of a series: heap and array buffers, after a scrape, since what a scrape leaves behind stays. */
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import promClient from 'prom-client';
import { createMetricsCollector } from '@xiaoke/metrics';
import { compare, type Figures } from '../harness.ts';

const SERIES = 20_000;
const HISTOGRAMS = 5_000;
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const labels = { queue: String, id: String } as const;
const labelNames = ['queue', 'id'] as const;
const limits = { seriesPerMetric: 1_000_000 };

function used(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Bytes that what `make` gives takes, for each of `count`. */
async function bytesOf(count: number, make: () => Promise<unknown>): Promise<number> {
  const before = used();
  const made = await make();
  const bytes = used() - before;
  if (made === undefined) throw new Error('nothing was made');
  return bytes / count;
}

const labelsOf = (i: number): { queue: string; id: string } => ({ queue: `queue-${i % 10}`, id: `id-${i}` });

async function ownCounters(): Promise<unknown> {
  const metrics = createMetricsCollector({ selfMetrics: false, limits });
  const counter = metrics.counter({ name: 'jobs_total', help: 'Jobs.', labels });
  for (let i = 0; i < SERIES; i++) counter.inc(labelsOf(i));
  await metrics.metrics();
  return metrics;
}

async function ownHistograms(): Promise<unknown> {
  const metrics = createMetricsCollector({ selfMetrics: false, limits });
  const histogram = metrics.histogram({ name: 'job_seconds', help: 'S.', labels, buckets: BUCKETS });
  for (let i = 0; i < HISTOGRAMS; i++) histogram.observe(labelsOf(i), 0.3);
  await metrics.metrics();
  return metrics;
}

async function stockCounters(): Promise<unknown> {
  const registry = new promClient.Registry();
  const registers = [registry];
  const counter = new promClient.Counter({ name: 'jobs_total', help: 'Jobs.', labelNames, registers });
  for (let i = 0; i < SERIES; i++) counter.inc(labelsOf(i));
  await registry.metrics();
  return registry;
}

async function stockHistograms(): Promise<unknown> {
  const registry = new promClient.Registry();
  const registers = [registry];
  const options = { name: 'job_seconds', help: 'S.', labelNames, registers, buckets: BUCKETS };
  const histogram = new promClient.Histogram(options);
  for (let i = 0; i < HISTOGRAMS; i++) histogram.observe(labelsOf(i), 0.3);
  await registry.metrics();
  return registry;
}

async function otelCounters(): Promise<unknown> {
  const reader = new PrometheusExporter({ preventServerStart: true });
  const views = [{ instrumentName: '*', aggregationCardinalityLimit: SERIES + 1 }];
  const provider = new MeterProvider({ readers: [reader], views });
  const counter = provider.getMeter('bench').createCounter('jobs_total');
  for (let i = 0; i < SERIES; i++) counter.add(1, labelsOf(i));
  await reader.collect();
  return provider;
}

await compare({
  name: 'metrics/heap',
  rounds: 5,
  lowerIsBetter: ['bytes/counter series', 'bytes/histogram'],
  candidates: {
    xiaoke: async (): Promise<Figures> => ({
      'bytes/counter series': await bytesOf(SERIES, ownCounters),
      'bytes/histogram': await bytesOf(HISTOGRAMS, ownHistograms),
    }),
    'prom-client': async (): Promise<Figures> => ({
      'bytes/counter series': await bytesOf(SERIES, stockCounters),
      'bytes/histogram': await bytesOf(HISTOGRAMS, stockHistograms),
    }),
    OpenTelemetry: async (): Promise<Figures> => ({
      'bytes/counter series': await bytesOf(SERIES, otelCounters),
    }),
  },
  bars: [
    { figure: 'bytes/counter series', versus: 'prom-client', atMost: 1.3 },
    { figure: 'bytes/histogram', versus: 'prom-client', atMost: 1 },
  ],
});
