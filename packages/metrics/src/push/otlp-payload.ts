import type { MetricSnapshot, SampleSnapshot } from '../snapshot.ts';
import type { BucketRun } from '../instruments/native-histogram.ts';

type Labels = Readonly<Record<string, string>>;

/** When the metrics began to count and when they were read, in milliseconds since the epoch. */
export interface OtlpTimes {
  readonly start: number;
  readonly now: number;
}

const CUMULATIVE = 2;
const SCOPE = { name: '@xiaoke/metrics' };

/**
 * The body of an OTLP `ExportMetricsServiceRequest` in JSON: integers of 64 bits are strings, everything is cumulative.
 *
 * Format: opentelemetry-proto 1.x, `metrics.proto`, with the JSON mapping of protocol buffers.
 */
export function otlpPayload(
  snapshot: readonly MetricSnapshot[],
  resource: Labels,
  times: OtlpTimes,
): Readonly<Record<string, unknown>> {
  const metrics = snapshot.filter(({ samples }) => samples.length > 0).map((one) => metricOf(one, times));
  return {
    resourceMetrics: [
      { resource: { attributes: attributes(resource) }, scopeMetrics: [{ scope: SCOPE, metrics }] },
    ],
  };
}

function metricOf(metric: MetricSnapshot, times: OtlpTimes): object {
  const { name, help: description, type } = metric;
  const head = { name, description };
  if (type === 'histogram') {
    if (metric.natives.length > 0) return { ...head, exponentialHistogram: exponential(metric, times) };
    const dataPoints = bySeries(metric, 'le').map((series) => histogramPoint(name, series, times));
    return { ...head, histogram: { aggregationTemporality: CUMULATIVE, dataPoints } };
  }
  if (type === 'summary') {
    const dataPoints = bySeries(metric, 'quantile').map((series) => summaryPoint(name, series, times));
    return { ...head, summary: { dataPoints } };
  }
  const dataPoints = metric.samples.map((sample) => numberPoint(sample, times));
  if (type !== 'counter') return { ...head, gauge: { dataPoints } };
  return { ...head, sum: { aggregationTemporality: CUMULATIVE, isMonotonic: true, dataPoints } };
}

function numberPoint(sample: SampleSnapshot, times: OtlpTimes): object {
  return { ...point(sample.labels, times), asDouble: number(sample.value), ...exemplars([sample]) };
}

interface SeriesSamples {
  readonly labels: Labels;
  readonly samples: readonly SampleSnapshot[];
}

function histogramPoint(name: string, { labels, samples }: SeriesSamples, times: OtlpTimes): object {
  const buckets = samples.filter((sample) => sample.name === `${name}_bucket`);
  // Ours are cumulative, theirs each for itself.
  const counts = buckets.map(({ value }, i) => String(value - (buckets[i - 1]?.value ?? 0)));
  return {
    ...point(labels, times),
    count: String(valueOf(samples, `${name}_count`)),
    sum: number(valueOf(samples, `${name}_sum`)),
    bucketCounts: counts,
    explicitBounds: buckets.slice(0, -1).map((sample) => Number(sample.labels['le'])),
    ...exemplars(buckets),
  };
}

function summaryPoint(name: string, { labels, samples }: SeriesSamples, times: OtlpTimes): object {
  const quantiles = samples.filter((sample) => sample.name === name);
  return {
    ...point(labels, times),
    count: String(valueOf(samples, `${name}_count`)),
    sum: number(valueOf(samples, `${name}_sum`)),
    quantileValues: quantiles.map((sample) => ({
      quantile: Number(sample.labels['quantile']),
      value: number(sample.value),
    })),
  };
}

function exponential({ name, natives, samples }: MetricSnapshot, times: OtlpTimes): object {
  const dataPoints = natives.map(({ labels, sum, histogram }) => ({
    ...point(labels, times),
    count: String(histogram.count),
    sum: number(sum),
    scale: histogram.schema,
    zeroCount: String(histogram.zero),
    positive: dense(histogram.runs()),
    negative: dense(histogram.runs(true)),
    ...exemplars(samples.filter((sample) => sample.name === `${name}_bucket` && within(sample, labels))),
  }));
  return { aggregationTemporality: CUMULATIVE, dataPoints };
}

/** Their bucket `i` has our index `i + 1`, and there are no gaps. */
function dense(runs: readonly BucketRun[]): object {
  const [first] = runs;
  if (first === undefined) return { offset: 0, bucketCounts: [] };
  const counts: number[] = [];
  for (const { index, counts: own } of runs) {
    while (counts.length < index - first.index) counts.push(0);
    counts.push(...own);
  }
  return { offset: first.index - 1, bucketCounts: counts.map(String) };
}

function bySeries({ samples }: MetricSnapshot, inner: 'le' | 'quantile'): readonly SeriesSamples[] {
  const found = new Map<string, { labels: Labels; samples: SampleSnapshot[] }>();
  for (const sample of samples) {
    const { [inner]: _inner, ...labels } = sample.labels;
    const key = JSON.stringify(labels);
    const series = found.get(key) ?? { labels, samples: [] };
    series.samples.push(sample);
    found.set(key, series);
  }
  return [...found.values()];
}

function within(sample: SampleSnapshot, labels: Labels): boolean {
  return Object.entries(labels).every(([name, value]) => sample.labels[name] === value);
}

function valueOf(samples: readonly SampleSnapshot[], name: string): number {
  return samples.find((sample) => sample.name === name)?.value ?? 0;
}

function point(labels: Labels, { start, now }: OtlpTimes): object {
  return { attributes: attributes(labels), startTimeUnixNano: nanos(start), timeUnixNano: nanos(now) };
}

function exemplars(samples: readonly SampleSnapshot[]): { readonly exemplars?: readonly object[] } {
  const found = samples.flatMap(({ exemplar }) => exemplar ?? []);
  if (found.length === 0) return {};
  return {
    exemplars: found.map(({ labels, value, timestamp }) => {
      const { trace_id: traceId, span_id: spanId, ...rest } = labels;
      return {
        timeUnixNano: nanos(timestamp * 1_000),
        asDouble: number(value),
        ...(traceId === undefined ? {} : { traceId }),
        ...(spanId === undefined ? {} : { spanId }),
        filteredAttributes: attributes(rest),
      };
    }),
  };
}

function attributes(labels: Labels): readonly object[] {
  return Object.entries(labels).map(([key, stringValue]) => ({ key, value: { stringValue } }));
}

// Nanoseconds do not fit a double.
function nanos(milliseconds: number): string {
  return `${Math.round(milliseconds)}000000`;
}

function number(value: number): number | string {
  if (Number.isFinite(value)) return value;
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
}
