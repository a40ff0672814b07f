import { InvalidOptionError } from '@xiaoke/core';
import { MetricsError } from '../../errors.ts';
import { checkExpr } from './check.ts';
import { Evaluation, type EvaluationOptions, type EvaluationTimes } from './evaluate.ts';
import { parsePromql } from './parse.ts';
import { labelKey, type DataSource, type Labels, type Sample } from './values.ts';
import type { Expr, ValueType } from './ast.ts';

/** One point: milliseconds since the epoch, and the value. */
export type Point = readonly [time: number, value: number];

/** One series of a result. */
export interface ResultSeries {
  readonly labels: Labels;
  readonly points: readonly Point[];
}

/** What a query gives. A `vector` has one point a series, a `matrix` many. */
export type QueryResult =
  | { readonly type: 'scalar'; readonly point: Point }
  | { readonly type: 'string'; readonly time: number; readonly value: string }
  | { readonly type: 'vector'; readonly series: readonly ResultSeries[] }
  | { readonly type: 'matrix'; readonly series: readonly ResultSeries[] };

// Prometheus's own limit.
const MAX_POINTS = 11_000;
const SLICE = 10;

/** A query that was parsed and checked, to be run many times. */
export class Query {
  readonly text: string;
  readonly expr: Expr;
  readonly type: ValueType;

  /** @throws `PROMQL_SYNTAX`, `PROMQL_UNSUPPORTED` */
  constructor(text: string) {
    this.text = text;
    this.expr = parsePromql(text);
    this.type = checkExpr(this.expr);
  }

  /** The value at one instant. */
  async instant(source: DataSource, time: number, options: EvaluationOptions): Promise<QueryResult> {
    const evaluation = new Evaluation({ start: time, end: time, step: 1 }, options);
    await evaluation.load(this.expr, source);
    const value = evaluation.at(this.expr, time);
    if (value.type === 'scalar') return { type: 'scalar', point: [time, value.value] };
    if (value.type === 'string') return { type: 'string', time, value: value.value };
    if (value.type === 'matrix') {
      const series = value.ranges.map(({ labels, timestamps, values }) => ({
        labels,
        points: timestamps.map((at, i): Point => [at, values[i] ?? NaN]),
      }));
      return { type: 'matrix', series };
    }
    return { type: 'vector', series: value.samples.map((sample) => resultAt(sample, time)) };
  }

  /** The values at every step, giving way to other work in between. */
  async range(source: DataSource, times: EvaluationTimes, options: EvaluationOptions): Promise<QueryResult> {
    checkTimes(times);
    if (this.type !== 'scalar' && this.type !== 'vector') {
      throw new MetricsError('PROMQL_SYNTAX', `a range query gives scalars or vectors, not a ${this.type}`);
    }
    const evaluation = new Evaluation(times, options);
    await evaluation.load(this.expr, source);
    const found = new Map<string, { labels: Labels; points: Point[] }>();
    let started = performance.now();
    for (let time = times.start; time <= times.end; time += times.step) {
      const value = evaluation.at(this.expr, time);
      const samples =
        value.type === 'vector' ? value.samples : value.type === 'scalar' ? [{ labels: {}, ...value }] : [];
      for (const sample of samples) addPoint(found, sample, time);
      if (performance.now() - started < SLICE) continue;
      await new Promise((resolve) => setImmediate(resolve));
      started = performance.now();
    }
    return { type: 'matrix', series: [...found.values()] };
  }
}

function addPoint(
  found: Map<string, { labels: Labels; points: Point[] }>,
  sample: Sample,
  time: number,
): void {
  const key = labelKey(sample.labels);
  const series = found.get(key) ?? { labels: sample.labels, points: [] };
  series.points.push([time, sample.value]);
  found.set(key, series);
}

function resultAt({ labels, value }: Sample, time: number): ResultSeries {
  return { labels, points: [[time, value]] };
}

function checkTimes({ start, end, step }: EvaluationTimes): void {
  if (!Number.isFinite(start)) throw new InvalidOptionError('from', 'must be milliseconds since the epoch');
  if (!Number.isFinite(end) || end < start) throw new InvalidOptionError('to', 'must not be before from');
  if (!(step > 0)) throw new InvalidOptionError('step', 'must be positive');
  if ((end - start) / step > MAX_POINTS) {
    throw new InvalidOptionError('step', `must not make more than ${MAX_POINTS} points a series`);
  }
}
