import { MetricsError } from '../../errors.ts';
import { aggregate } from './aggregate.ts';
import { isSetOperator, type Expr, type TimeShift } from './ast.ts';
import { combineSets, matchVectors, operate, withScalar } from './binary.ts';
import { callFunction } from './functions.ts';
import {
  dropName,
  labelKey,
  type DataSource,
  type Range,
  type Sample,
  type SeriesData,
  type Value,
} from './values.ts';

/** The instants of a query, in milliseconds since the epoch. */
export interface EvaluationTimes {
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/** Limits of a query. */
export interface EvaluationOptions {
  /** How long a sample counts as current, in milliseconds. */
  readonly lookback: number;
  /** Samples that one query may read. */
  readonly maxSamples: number;
}

type Selector = Extract<Expr, { kind: 'vector' } | { kind: 'matrix' }>;

/** Evaluates one expression at any instant of a prepared span. */
export class Evaluation {
  readonly #times: EvaluationTimes;
  readonly #options: EvaluationOptions;
  readonly #data = new Map<Selector, readonly SeriesData[]>();
  #samples = 0;

  constructor(times: EvaluationTimes, options: EvaluationOptions) {
    this.#times = times;
    this.#options = options;
  }

  /** Reads all samples that `expr` needs. */
  async load(expr: Expr, source: DataSource): Promise<void> {
    const wanted: { selector: Selector; from: number; to: number }[] = [];
    this.#plan(expr, this.#times.start, this.#times.end, (selector, from, to) =>
      wanted.push({ selector, from, to }),
    );
    for (const { selector, from, to } of wanted) {
      const series = await source.select(selector.matchers, from, to);
      for (const { timestamps } of series) this.#samples += timestamps.length;
      if (this.#samples > this.#options.maxSamples) {
        throw new MetricsError(
          'PROMQL_EVALUATION',
          `the query reads more than ${this.#options.maxSamples} samples`,
        );
      }
      this.#data.set(selector, series);
    }
  }

  /** The value of `expr` at `time`. */
  at(expr: Expr, time: number): Value {
    switch (expr.kind) {
      case 'number':
        return { type: 'scalar', value: expr.value };
      case 'string':
        return { type: 'string', value: expr.value };
      case 'vector':
        return { type: 'vector', samples: this.#instant(expr, this.#shift(expr, time)) };
      case 'matrix':
        return this.#matrix(expr, this.#shift(expr, time));
      case 'subquery':
        return this.#subquery(expr, this.#shift(expr, time));
      case 'paren':
        return this.at(expr.expr, time);
      case 'negate':
        return negate(this.at(expr.expr, time));
      case 'call':
        return this.#call(expr, time);
      case 'aggregate':
        return this.#aggregate(expr, time);
      case 'binary':
        return this.#binary(expr, time);
    }
  }

  #plan(
    expr: Expr,
    from: number,
    to: number,
    want: (selector: Selector, from: number, to: number) => void,
  ): void {
    switch (expr.kind) {
      case 'vector':
      case 'matrix': {
        const span = expr.kind === 'vector' ? this.#options.lookback : expr.range;
        const fixed = expr.at !== undefined;
        want(expr, this.#shift(expr, fixed ? 0 : from) - span, this.#shift(expr, fixed ? 0 : to));
        return;
      }
      case 'subquery': {
        const fixed = expr.at !== undefined;
        const start = this.#shift(expr, fixed ? 0 : from) - expr.range;
        return this.#plan(expr.expr, start, this.#shift(expr, fixed ? 0 : to), want);
      }
      case 'call':
        for (const argument of expr.args) this.#plan(argument, from, to, want);
        return;
      case 'binary':
        this.#plan(expr.left, from, to, want);
        return this.#plan(expr.right, from, to, want);
      case 'aggregate':
        if (expr.parameter !== undefined) this.#plan(expr.parameter, from, to, want);
        return this.#plan(expr.expr, from, to, want);
      case 'paren':
      case 'negate':
        return this.#plan(expr.expr, from, to, want);
      case 'number':
      case 'string':
    }
  }

  #shift(shift: TimeShift, time: number): number {
    const { start, end } = this.#times;
    const base = shift.at === 'start' ? start : shift.at === 'end' ? end : (shift.at ?? time);
    return base - shift.offset;
  }

  #instant(selector: Selector, time: number): readonly Sample[] {
    const samples: Sample[] = [];
    for (const { labels, timestamps, values, stale } of this.#data.get(selector) ?? []) {
      const i = lastAtOrBefore(timestamps, time);
      const at = timestamps[i];
      const value = values[i];
      if (at === undefined || value === undefined || stale?.[i] === 1) continue;
      if (at >= time - this.#options.lookback) samples.push({ labels, value, at });
    }
    return samples;
  }

  #matrix(selector: Extract<Expr, { kind: 'matrix' }>, time: number): Value {
    const start = time - selector.range;
    const ranges: Range[] = [];
    for (const series of this.#data.get(selector) ?? []) {
      const range = cut(series, start, time);
      if (range.values.length > 0) ranges.push(range);
    }
    return { type: 'matrix', ranges, start, end: time };
  }

  #subquery(expr: Extract<Expr, { kind: 'subquery' }>, time: number): Value {
    const step = expr.step ?? DEFAULT_SUBQUERY_STEP;
    const start = time - expr.range;
    // Subqueries run at multiples of their step, whenever they are asked.
    let instant = Math.floor(start / step) * step;
    if (instant < start) instant += step;
    const found = new Map<string, { labels: Sample['labels']; timestamps: number[]; values: number[] }>();
    for (; instant <= time; instant += step) {
      const value = this.at(expr.expr, instant);
      if (value.type !== 'vector') continue;
      for (const { labels, value: of } of value.samples) {
        const key = labelKey(labels);
        const range = found.get(key) ?? { labels, timestamps: [], values: [] };
        range.timestamps.push(instant);
        range.values.push(of);
        found.set(key, range);
      }
    }
    return { type: 'matrix', ranges: [...found.values()], start, end: time };
  }

  #call(expr: Extract<Expr, { kind: 'call' }>, time: number): Value {
    if (expr.name === 'absent' || expr.name === 'absent_over_time') return this.#absent(expr, time);
    const args = expr.args.map((argument) => this.at(argument, time));
    const result = callFunction(expr.name, args, time);
    if (result.type === 'vector') refuseTwins(result.samples);
    return result;
  }

  #absent(expr: Extract<Expr, { kind: 'call' }>, time: number): Value {
    const [argument] = expr.args;
    if (argument === undefined) return { type: 'vector', samples: [] };
    const value = this.at(argument, time);
    const present =
      value.type === 'matrix' ? value.ranges.length : value.type === 'vector' ? value.samples.length : 0;
    if (present > 0) return { type: 'vector', samples: [] };
    const bare = argument.kind === 'paren' ? argument.expr : argument;
    const matchers = bare.kind === 'vector' || bare.kind === 'matrix' ? bare.matchers : [];
    const labels: Record<string, string> = {};
    for (const { name, op, value: of } of matchers) {
      const once = matchers.filter((other) => other.name === name).length === 1;
      if (op === '=' && name !== '__name__' && once) labels[name] = of;
    }
    return { type: 'vector', samples: [{ labels, value: 1 }] };
  }

  #aggregate(expr: Extract<Expr, { kind: 'aggregate' }>, time: number): Value {
    const parameter = expr.parameter === undefined ? undefined : this.at(expr.parameter, time);
    const value = this.at(expr.expr, time);
    const of = parameter?.type === 'scalar' || parameter?.type === 'string' ? parameter.value : NaN;
    const samples = value.type === 'vector' ? value.samples : [];
    return { type: 'vector', samples: aggregate(expr.op, samples, expr.grouping, of) };
  }

  #binary(expr: Extract<Expr, { kind: 'binary' }>, time: number): Value {
    const left = this.at(expr.left, time);
    const right = this.at(expr.right, time);
    if (left.type === 'scalar' && right.type === 'scalar') {
      return { type: 'scalar', value: operate(expr.op, left.value, right.value) };
    }
    return { type: 'vector', samples: this.#vectors(expr, left, right) };
  }

  #vectors(expr: Extract<Expr, { kind: 'binary' }>, left: Value, right: Value): readonly Sample[] {
    if (left.type === 'vector' && right.type === 'scalar')
      return withScalar(expr, left.samples, right.value, false);
    if (left.type === 'scalar' && right.type === 'vector')
      return withScalar(expr, right.samples, left.value, true);
    if (left.type !== 'vector' || right.type !== 'vector') return [];
    const combine = isSetOperator(expr.op) ? combineSets : matchVectors;
    return combine(expr, left.samples, right.samples);
  }
}

const DEFAULT_SUBQUERY_STEP = 60_000;

function negate(value: Value): Value {
  if (value.type === 'scalar') return { type: 'scalar', value: -value.value };
  if (value.type !== 'vector') return value;
  return {
    type: 'vector',
    samples: value.samples.map(({ labels, value: of }) => ({ labels: dropName(labels), value: -of })),
  };
}

function refuseTwins(samples: readonly Sample[]): void {
  if (samples.length < 2) return;
  if (new Set(samples.map(({ labels }) => labelKey(labels))).size < samples.length) {
    throw new MetricsError('PROMQL_EVALUATION', 'the result would contain the same series twice');
  }
}

/** The index of the last timestamp that is not after `time`, or -1. */
function lastAtOrBefore(timestamps: ArrayLike<number>, time: number): number {
  let low = 0;
  let high = timestamps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((timestamps[middle] ?? Infinity) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The samples in `[start, end]`; Prometheus 2 includes both ends. */
function cut(series: SeriesData, start: number, end: number): Range {
  const { labels, timestamps: times, values: all, stale, windows } = series;
  const timestamps: number[] = [];
  const values: number[] = [];
  const kept = windows === undefined ? undefined : { min: [], max: [], sum: [], count: [] };
  const range: Range = { labels, timestamps, values, windows: kept };
  for (let i = lastAtOrBefore(times, start - 1) + 1; i < times.length && (times[i] ?? 0) <= end; i++) {
    if (stale?.[i] === 1) continue;
    timestamps.push(times[i] ?? 0);
    values.push(all[i] ?? NaN);
    if (windows === undefined || range.windows === undefined) continue;
    for (const key of ['min', 'max', 'sum', 'count'] as const)
      range.windows[key].push(windows[key][i] ?? NaN);
  }
  return range;
}
