import { MetricsError } from '../../errors.ts';
import type { Grouping } from './ast.ts';
import { quantileOf, sumOf } from './numbers.ts';
import { labelKey, projectLabels, type Labels, type Sample } from './values.ts';
import { formatValue } from '../../names.ts';

const REDUCE: Readonly<Record<string, (values: readonly number[]) => number>> = {
  sum: sumOf,
  avg: (values) => sumOf(values) / values.length,
  count: (values) => values.length,
  group: () => 1,
  min: (values) => values.reduce((a, b) => (b < a || Number.isNaN(a) ? b : a)),
  max: (values) => values.reduce((a, b) => (b > a || Number.isNaN(a) ? b : a)),
  stdvar: variance,
  stddev: (values) => Math.sqrt(variance(values)),
};

/** Aggregations that need a number (or, for `count_values`, a text) as their first argument. */
export const PARAMETRIC: readonly string[] = ['topk', 'bottomk', 'quantile', 'count_values'];

/** Every aggregation that can be evaluated. */
export const AGGREGATIONS: readonly string[] = [...Object.keys(REDUCE), ...PARAMETRIC];

/** Puts samples into groups and makes one sample of each, or the `k` best. */
export function aggregate(
  op: string,
  samples: readonly Sample[],
  grouping: Grouping | undefined,
  parameter: number | string,
): readonly Sample[] {
  const groups = new Map<string, { labels: Labels; members: Sample[] }>();
  for (const sample of samples) {
    const labels = projectLabels(sample.labels, grouping?.labels ?? [], grouping?.keep ?? true);
    const key = labelKey(labels);
    const group = groups.get(key) ?? { labels, members: [] };
    group.members.push(sample);
    groups.set(key, group);
  }
  return [...groups.values()].flatMap(({ labels, members }) => one(op, labels, members, parameter));
}

function one(
  op: string,
  labels: Labels,
  members: readonly Sample[],
  parameter: number | string,
): readonly Sample[] {
  const values = members.map(({ value }) => value);
  const reduce = REDUCE[op];
  if (reduce !== undefined) return [{ labels, value: reduce(values) }];
  if (op === 'quantile') return [{ labels, value: quantileOf(values, Number(parameter)) }];
  if (op === 'count_values') return countValues(labels, values, String(parameter));
  const k = Math.trunc(Number(parameter));
  if (!(k >= 1)) return [];
  const sign = op === 'topk' ? -1 : 1;
  const order = (a: Sample, b: Sample): number => {
    // NaN comes last either way.
    if (Number.isNaN(a.value)) return 1;
    return Number.isNaN(b.value) ? -1 : sign * (a.value - b.value);
  };
  return [...members].sort(order).slice(0, k);
}

function countValues(labels: Labels, values: readonly number[], label: string): readonly Sample[] {
  if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label)) {
    throw new MetricsError('PROMQL_EVALUATION', `"${label.slice(0, 40)}" is no label name`);
  }
  const counts = new Map<string, number>();
  for (const value of values) counts.set(formatValue(value), (counts.get(formatValue(value)) ?? 0) + 1);
  return [...counts].map(([text, count]) => ({ labels: { ...labels, [label]: text }, value: count }));
}

function variance(values: readonly number[]): number {
  const mean = sumOf(values) / values.length;
  return sumOf(values.map((value) => (value - mean) ** 2)) / values.length;
}
