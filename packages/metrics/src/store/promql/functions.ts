import { MetricsError } from '../../errors.ts';
import { bucketQuantile, type Bucket } from './numbers.ts';
import { RANGE_FUNCTIONS } from './range-functions.ts';
import { dropName, labelKey, type Labels, type Sample, type Value } from './values.ts';
import type { ValueType } from './ast.ts';
import { compileRegex } from './parse.ts';

/** What a function takes; the last `optional` ones may be left out. */
export interface Signature {
  readonly args: readonly ValueType[];
  readonly optional?: number;
  /** The last argument may be repeated. */
  readonly variadic?: boolean;
  readonly returns: ValueType;
}

const MATH: Readonly<Record<string, (value: number) => number>> = {
  abs: Math.abs,
  ceil: Math.ceil,
  floor: Math.floor,
  exp: Math.exp,
  ln: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  sqrt: Math.sqrt,
  sgn: (value) => (value > 0 ? 1 : value < 0 ? -1 : value),
};

const DATES: Readonly<Record<string, (date: Date) => number>> = {
  minute: (date) => date.getUTCMinutes(),
  hour: (date) => date.getUTCHours(),
  day_of_week: (date) => date.getUTCDay(),
  day_of_month: (date) => date.getUTCDate(),
  days_in_month: (date) => new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate(),
  month: (date) => date.getUTCMonth() + 1,
  year: (date) => date.getUTCFullYear(),
};

const signatures: Record<string, Signature> = {
  absent: { args: ['vector'], returns: 'vector' },
  absent_over_time: { args: ['matrix'], returns: 'vector' },
  clamp: { args: ['vector', 'scalar', 'scalar'], returns: 'vector' },
  clamp_max: { args: ['vector', 'scalar'], returns: 'vector' },
  clamp_min: { args: ['vector', 'scalar'], returns: 'vector' },
  histogram_quantile: { args: ['scalar', 'vector'], returns: 'vector' },
  label_join: {
    args: ['vector', 'string', 'string', 'string'],
    variadic: true,
    optional: 1,
    returns: 'vector',
  },
  label_replace: { args: ['vector', 'string', 'string', 'string', 'string'], returns: 'vector' },
  pi: { args: [], returns: 'scalar' },
  predict_linear: { args: ['matrix', 'scalar'], returns: 'vector' },
  quantile_over_time: { args: ['scalar', 'matrix'], returns: 'vector' },
  round: { args: ['vector', 'scalar'], optional: 1, returns: 'vector' },
  scalar: { args: ['vector'], returns: 'scalar' },
  sort: { args: ['vector'], returns: 'vector' },
  sort_desc: { args: ['vector'], returns: 'vector' },
  time: { args: [], returns: 'scalar' },
  timestamp: { args: ['vector'], returns: 'vector' },
  vector: { args: ['scalar'], returns: 'vector' },
};
for (const name of Object.keys(MATH)) signatures[name] = { args: ['vector'], returns: 'vector' };
for (const name of Object.keys(DATES))
  signatures[name] = { args: ['vector'], optional: 1, returns: 'vector' };
for (const name of Object.keys(RANGE_FUNCTIONS)) signatures[name] ??= { args: ['matrix'], returns: 'vector' };

/** Every function that can be evaluated. */
export const SIGNATURES: Readonly<Record<string, Signature>> = Object.freeze(signatures);

/** Calls a function of evaluated arguments at the instant `time`, in milliseconds. */
export function callFunction(name: string, args: readonly Value[], time: number): Value {
  const range = RANGE_FUNCTIONS[name];
  if (range !== undefined) return overRange(name, args);
  const math = MATH[name];
  if (math !== undefined) return mapped(args[0], math);
  const date = DATES[name];
  if (date !== undefined) {
    const of = args.length === 0 ? vector([{ labels: {}, value: time / 1_000 }]) : args[0];
    return mapped(of, (seconds) => date(new Date(seconds * 1_000)));
  }
  return special(name, args, time);
}

function overRange(name: string, args: readonly Value[]): Value {
  const compute = RANGE_FUNCTIONS[name];
  const matrix = args.find((value) => value.type === 'matrix');
  if (matrix === undefined || compute === undefined) return vector([]);
  const parameter = args.find((value) => value.type === 'scalar')?.value ?? NaN;
  const samples: Sample[] = [];
  for (const range of matrix.ranges) {
    const value = compute(range, matrix, parameter);
    const labels = name === 'last_over_time' ? range.labels : dropName(range.labels);
    if (value !== undefined) samples.push({ labels, value });
  }
  return vector(samples);
}

function special(name: string, args: readonly Value[], time: number): Value {
  const [first, second, third] = args;
  switch (name) {
    case 'time':
      return { type: 'scalar', value: time / 1_000 };
    case 'pi':
      return { type: 'scalar', value: Math.PI };
    case 'vector':
      return vector([{ labels: {}, value: numberOf(first) }]);
    case 'scalar': {
      const samples = samplesOf(first);
      return { type: 'scalar', value: samples.length === 1 ? (samples[0]?.value ?? NaN) : NaN };
    }
    case 'timestamp':
      return vector(
        samplesOf(first).map(({ labels, at }) => ({ labels: dropName(labels), value: (at ?? time) / 1_000 })),
      );
    case 'sort':
      return vector([...samplesOf(first)].sort((a, b) => a.value - b.value));
    case 'sort_desc':
      return vector([...samplesOf(first)].sort((a, b) => b.value - a.value));
    case 'clamp':
      return clamped(first, numberOf(second), numberOf(third));
    case 'clamp_min':
      return clamped(first, numberOf(second), Infinity);
    case 'clamp_max':
      return clamped(first, -Infinity, numberOf(second));
    case 'round': {
      const inverse = 1 / (second === undefined ? 1 : numberOf(second));
      return mapped(first, (value) => Math.floor(value * inverse + 0.5) / inverse);
    }
    default:
      return labelFunction(name, args);
  }
}

function labelFunction(name: string, args: readonly Value[]): Value {
  if (name === 'histogram_quantile') return histogramQuantile(numberOf(args[0]), samplesOf(args[1]));
  if (name === 'label_join') {
    const [target = '', separator = '', ...sources] = args.slice(1).map(textOf);
    return relabelled(samplesOf(args[0]), target, (labels) =>
      sources.map((source) => labels[source] ?? '').join(separator),
    );
  }
  const [target = '', replacement = '', source = '', regex = ''] = args.slice(1).map(textOf);
  const pattern = compileRegex(regex);
  const template = replacement.replaceAll(/\$(?:\{(\w+)\}|(\d+))/g, (_, named: string, numbered: string) => {
    const group = named ?? numbered;
    return /^\d+$/.test(group) ? (group === '0' ? '$&' : `$${group}`) : `$<${group}>`;
  });
  return relabelled(samplesOf(args[0]), target, (labels) => {
    const value = labels[source] ?? '';
    return pattern.test(value) ? value.replace(pattern, template) : undefined;
  });
}

function relabelled(
  samples: readonly Sample[],
  target: string,
  make: (labels: Labels) => string | undefined,
): Value {
  if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(target)) {
    throw new MetricsError('PROMQL_EVALUATION', `"${target.slice(0, 40)}" is no label name`);
  }
  const results = samples.map((sample) => {
    const value = make(sample.labels);
    if (value === undefined) return sample;
    const { [target]: _old, ...rest } = sample.labels;
    return { ...sample, labels: value === '' ? rest : { ...rest, [target]: value } };
  });
  if (new Set(results.map(({ labels }) => labelKey(labels))).size < results.length) {
    throw new MetricsError('PROMQL_EVALUATION', 'the new labels make two series the same');
  }
  return vector(results);
}

function histogramQuantile(q: number, samples: readonly Sample[]): Value {
  const groups = new Map<string, { labels: Labels; buckets: Bucket[] }>();
  for (const { labels, value } of samples) {
    const { le, __name__: _name, ...rest } = labels;
    const upper = le === '+Inf' ? Infinity : Number(le);
    if (le === undefined || Number.isNaN(upper)) continue;
    const key = labelKey(rest);
    const group = groups.get(key) ?? { labels: rest, buckets: [] };
    group.buckets.push({ upper, count: value });
    groups.set(key, group);
  }
  return vector(
    [...groups.values()].map(({ labels, buckets }) => ({ labels, value: bucketQuantile(q, buckets) })),
  );
}

function clamped(value: Value | undefined, min: number, max: number): Value {
  if (max < min) return vector([]);
  return mapped(value, (of) => Math.max(min, Math.min(max, of)));
}

function mapped(value: Value | undefined, change: (value: number) => number): Value {
  return vector(
    samplesOf(value).map(({ labels, value: of }) => ({ labels: dropName(labels), value: change(of) })),
  );
}

function vector(samples: readonly Sample[]): Value {
  return { type: 'vector', samples };
}

function samplesOf(value: Value | undefined): readonly Sample[] {
  return value?.type === 'vector' ? value.samples : [];
}

function numberOf(value: Value | undefined): number {
  return value?.type === 'scalar' ? value.value : NaN;
}

function textOf(value: Value): string {
  return value.type === 'string' ? value.value : '';
}
