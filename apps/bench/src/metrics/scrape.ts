/** The scrape: time to render 10,000 series as text, with and without labels on all of them, and as histograms. */
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import promClient from 'prom-client';
import { createMetricsCollector, type MetricsCollector } from '@xiaoke/metrics';
import { compare, type Figures } from '../harness.ts';

const labels = { queue: String, id: String } as const;
const names = ['queue', 'id'] as const;
const SERVICE = { service: 'medical', zone: 'z1' };
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
// With their buckets, 714 histograms are 10,000 series.
const HISTOGRAMS = 714;

function own(series: number, constLabels: Readonly<Record<string, string>> = {}): MetricsCollector {
  const limits = { seriesPerMetric: 1_000_000 };
  const metrics = createMetricsCollector({ selfMetrics: false, exemplars: false, limits, constLabels });
  const counter = metrics.counter({ name: 'jobs_total', help: 'Jobs.', labels });
  for (let i = 0; i < series; i++) counter.inc({ queue: `queue-${i % 10}`, id: `id-${i}` }, i * 1.5);
  return metrics;
}

function stock(series: number): promClient.Registry {
  const registry = new promClient.Registry();
  const theirs = { name: 'jobs_total', help: 'Jobs.', labelNames: names, registers: [registry] };
  const counter = new promClient.Counter(theirs);
  for (let i = 0; i < series; i++) counter.inc({ queue: `queue-${i % 10}`, id: `id-${i}` }, i * 1.5);
  return registry;
}

function ownHistograms(): MetricsCollector {
  const limits = { seriesPerMetric: 1_000_000 };
  const metrics = createMetricsCollector({ selfMetrics: false, exemplars: false, limits });
  const histogram = metrics.histogram({ name: 'job_seconds', help: 'S.', labels, buckets: BUCKETS });
  for (let i = 0; i < HISTOGRAMS * 20; i++)
    histogram.observe({ queue: 'queue', id: `id-${i % HISTOGRAMS}` }, (i % 997) / 100);
  return metrics;
}

function stockHistograms(): promClient.Registry {
  const registry = new promClient.Registry();
  const theirs = {
    name: 'job_seconds',
    help: 'S.',
    labelNames: names,
    registers: [registry],
    buckets: BUCKETS,
  };
  const histogram = new promClient.Histogram(theirs);
  for (let i = 0; i < HISTOGRAMS * 20; i++)
    histogram.observe({ queue: 'queue', id: `id-${i % HISTOGRAMS}` }, (i % 997) / 100);
  return registry;
}

function openTelemetry(series: number): () => Promise<string> {
  const reader = new PrometheusExporter({ preventServerStart: true });
  // Its own limit would make one series of all beyond 2000.
  const views = [{ instrumentName: '*', aggregationCardinalityLimit: series + 1 }];
  const meter = new MeterProvider({ readers: [reader], views }).getMeter('bench');
  const counter = meter.createCounter('jobs_total');
  for (let i = 0; i < series; i++) counter.add(i * 1.5, { queue: `queue-${i % 10}`, id: `id-${i}` });
  const serializer = new PrometheusSerializer();
  return async () => serializer.serialize((await reader.collect()).resourceMetrics);
}

/** Milliseconds from nothing to the bytes of one scrape; the median of several, since garbage collections hit some. */
async function timed(scrape: () => Promise<string>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 7; i++) {
    const start = performance.now();
    Buffer.from(await scrape());
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[3] ?? NaN;
}

const text = (metrics: MetricsCollector) => async (): Promise<string> =>
  String((await metrics.metrics()).body);

const [own10k, stock10k, otel10k] = [own(10_000), stock(10_000), openTelemetry(10_000)];
const [ownConst, stockConst] = [own(10_000, SERVICE), stock(10_000)];
stockConst.setDefaultLabels(SERVICE);
const [ownBuckets, stockBuckets] = [ownHistograms(), stockHistograms()];

await compare({
  name: 'metrics/scrape',
  rounds: 5,
  lowerIsBetter: ['counters ms', 'const labels ms', 'histograms ms'],
  candidates: {
    xiaoke: async (): Promise<Figures> => ({
      'counters ms': await timed(text(own10k)),
      'const labels ms': await timed(text(ownConst)),
      'histograms ms': await timed(text(ownBuckets)),
    }),
    'prom-client': async (): Promise<Figures> => ({
      'counters ms': await timed(() => stock10k.metrics()),
      'const labels ms': await timed(() => stockConst.metrics()),
      'histograms ms': await timed(() => stockBuckets.metrics()),
    }),
    OpenTelemetry: async (): Promise<Figures> => ({ 'counters ms': await timed(otel10k) }),
  },
  bars: [
    { figure: 'counters ms', versus: 'prom-client', atMost: 1 / 6 },
    { figure: 'const labels ms', versus: 'prom-client', atMost: 1 / 15 },
    { figure: 'histograms ms', versus: 'prom-client', atMost: 1 / 6 },
  ],
});
