import { withoutTwins, type ForeignMetric, type ForeignValue } from '../exposition/foreign.ts';
import type { MetricType } from '../instruments/family.ts';

/** A stock prom-client metric in the shape of ours. */
export interface StockFamily {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly labels: readonly string[];
  readonly buckets: readonly number[];
  readonly series: readonly { readonly values: readonly string[]; readonly numbers: readonly number[] }[];
}

const TYPES: readonly string[] = ['counter', 'gauge', 'histogram', 'summary'];

/** Reads a stock metric: series with the same label names, and buckets each for itself. */
export function stockFamily(
  metric: ForeignMetric,
  defaults: Readonly<Record<string, string>>,
): StockFamily | undefined {
  if (!TYPES.includes(metric.type)) return undefined;
  const type = metric.type as MetricType;
  const values = withoutTwins(metric.values);
  const inner = type === 'histogram' ? 'le' : type === 'summary' ? 'quantile' : '';
  const labels = [
    ...new Set(values.flatMap((value) => Object.keys({ ...defaults, ...value.labels }))),
  ].filter((name) => name !== inner);
  const groups = new Map<string, { values: readonly string[]; of: ForeignValue[] }>();
  for (const value of values) {
    const own = labels.map((name) => String(value.labels[name] ?? defaults[name] ?? ''));
    const key = JSON.stringify(own);
    const group = groups.get(key) ?? { values: own, of: [] };
    group.of.push(value);
    groups.set(key, group);
  }
  const buckets = type === 'histogram' ? boundsOf(values) : [];
  const series = [...groups.values()].map((group) => ({
    values: group.values,
    numbers: numbersOf(metric.name, type, group.of, buckets),
  }));
  return { name: metric.name, help: metric.help, type, labels, buckets, series };
}

function boundsOf(values: readonly ForeignValue[]): readonly number[] {
  const bounds = values.map(({ labels }) => Number(labels['le'])).filter((bound) => Number.isFinite(bound));
  return [...new Set(bounds)].sort((a, b) => a - b);
}

function numbersOf(
  name: string,
  type: MetricType,
  values: readonly ForeignValue[],
  buckets: readonly number[],
): readonly number[] {
  const named = (suffix: string): number =>
    values.find(({ metricName }) => metricName === name + suffix)?.value ?? 0;
  if (type === 'summary') return [named('_count'), named('_sum')];
  if (type !== 'histogram') return [values[0]?.value ?? 0];
  let below = 0;
  const counts = [...buckets, Infinity].map((bound) => {
    const found = values.find(
      ({ labels }) => Number(String(labels['le']).replace('Inf', 'Infinity')) === bound,
    );
    const own = (found?.value ?? below) - below;
    below += own;
    return own;
  });
  return [...counts, named('_sum')];
}
