import { quantileOf, sumOf } from './numbers.ts';
import type { Range } from './values.ts';

/** The window a range function looks at, in milliseconds. */
export interface Window {
  readonly start: number;
  readonly end: number;
}

/** Gives one value for a series' samples in a window, or none. `parameter` is the scalar argument, where there is one. */
export type RangeFunction = (range: Range, window: Window, parameter: number) => number | undefined;

/**
 * The increase (or difference) over a window, extrapolated to its ends exactly as Prometheus does: up to the window's
 * edge when the samples come close to it, else by half an interval, and never below a counter's zero.
 */
function extrapolated(range: Range, window: Window, kind: 'rate' | 'increase' | 'delta'): number | undefined {
  const { timestamps, values } = range;
  const count = values.length;
  const [first, last] = [values[0], values[count - 1]];
  if (count < 2 || first === undefined || last === undefined) return undefined;
  let result = last - first;
  if (kind !== 'delta')
    for (let i = 1; i < count; i++) if (at(values, i) < at(values, i - 1)) result += at(values, i - 1);
  let toStart = (at(timestamps, 0) - window.start) / 1_000;
  const toEnd = (window.end - at(timestamps, count - 1)) / 1_000;
  const sampled = (at(timestamps, count - 1) - at(timestamps, 0)) / 1_000;
  const average = sampled / (count - 1);
  if (kind !== 'delta' && result > 0 && first >= 0) toStart = Math.min(toStart, sampled * (first / result));
  const threshold = average * 1.1;
  const covered =
    sampled + (toStart < threshold ? toStart : average / 2) + (toEnd < threshold ? toEnd : average / 2);
  const factor = covered / sampled / (kind === 'rate' ? (window.end - window.start) / 1_000 : 1);
  return result * factor;
}

function lastTwo(range: Range, kind: 'irate' | 'idelta'): number | undefined {
  const count = range.values.length;
  if (count < 2) return undefined;
  const [previous, last] = [at(range.values, count - 2), at(range.values, count - 1)];
  const seconds = (at(range.timestamps, count - 1) - at(range.timestamps, count - 2)) / 1_000;
  if (seconds === 0) return undefined;
  if (kind === 'idelta') return last - previous;
  return (last < previous ? last : last - previous) / seconds;
}

/** Slope a second, and the value at `origin`, by least squares. */
function regression(range: Range, origin: number): { slope: number; intercept: number } | undefined {
  const { timestamps, values } = range;
  const count = values.length;
  if (count < 2) return undefined;
  const first = at(values, 0);
  if (values.every((value) => value === first)) {
    return Number.isFinite(first) ? { slope: 0, intercept: first } : { slope: NaN, intercept: NaN };
  }
  const xs = timestamps.map((time) => (time - origin) / 1_000);
  const [sumX, sumY] = [sumOf(xs), sumOf(values)];
  const covariance = sumOf(xs.map((x, i) => x * at(values, i))) - (sumX * sumY) / count;
  const variance = sumOf(xs.map((x) => x * x)) - (sumX * sumX) / count;
  const slope = covariance / variance;
  return { slope, intercept: sumY / count - (slope * sumX) / count };
}

function changes(range: Range, differs: (now: number, before: number) => boolean): number {
  let count = 0;
  for (let i = 1; i < range.values.length; i++) {
    const [now, before] = [at(range.values, i), at(range.values, i - 1)];
    if (differs(now, before) && !(Number.isNaN(now) && Number.isNaN(before))) count += 1;
  }
  return count;
}

function variance(range: Range): number {
  const mean = sumOf(range.values) / range.values.length;
  return sumOf(range.values.map((value) => (value - mean) ** 2)) / range.values.length;
}

// NaN loses against any number, as in Prometheus.
function extreme(values: readonly number[], better: (a: number, b: number) => boolean): number | undefined {
  let best = values[0];
  for (const value of values)
    if (best === undefined || Number.isNaN(best) || better(value, best)) best = value;
  return best;
}

const over =
  (compute: RangeFunction): RangeFunction =>
  (range, window, parameter) =>
    range.values.length === 0 ? undefined : compute(range, window, parameter);

/** Every function of a range vector. */
export const RANGE_FUNCTIONS: Readonly<Record<string, RangeFunction>> = {
  rate: (range, window) => extrapolated(range, window, 'rate'),
  increase: (range, window) => extrapolated(range, window, 'increase'),
  delta: (range, window) => extrapolated(range, window, 'delta'),
  irate: (range) => lastTwo(range, 'irate'),
  idelta: (range) => lastTwo(range, 'idelta'),
  deriv: (range) => regression(range, range.timestamps[0] ?? 0)?.slope,
  predict_linear: (range, window, seconds) => {
    const line = regression(range, window.end);
    return line === undefined ? undefined : line.slope * seconds + line.intercept;
  },
  changes: over((range) => changes(range, (now, before) => now !== before)),
  resets: over((range) => changes(range, (now, before) => now < before)),
  sum_over_time: over(({ values, windows }) => sumOf(windows?.sum ?? values)),
  count_over_time: over(({ values, windows }) =>
    windows === undefined ? values.length : sumOf(windows.count),
  ),
  avg_over_time: over(({ values, windows }) =>
    windows === undefined ? sumOf(values) / values.length : sumOf(windows.sum) / sumOf(windows.count),
  ),
  min_over_time: over(({ values, windows }) => extreme(windows?.min ?? values, (a, b) => a < b)),
  max_over_time: over(({ values, windows }) => extreme(windows?.max ?? values, (a, b) => a > b)),
  last_over_time: over(({ values }) => values[values.length - 1]),
  present_over_time: over(() => 1),
  stddev_over_time: over((range) => Math.sqrt(variance(range))),
  stdvar_over_time: over(variance),
  quantile_over_time: over(({ values }, _window, q) => quantileOf(values, q)),
};

function at(values: readonly number[], i: number): number {
  return values[i] ?? NaN;
}
