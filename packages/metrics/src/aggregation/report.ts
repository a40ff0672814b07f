import type { Aggregation, MetricType } from '../instruments/family.ts';
import type { BucketRun } from '../instruments/native-histogram.ts';

/** The key of our messages among others on the same channel. */
export const MESSAGE = 'xiaoke.metrics';

/** A metric as another process or thread defines it. */
export interface ReportedFamily {
  readonly id: number;
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  /** Constant labels among them. */
  readonly labels: readonly string[];
  readonly aggregate: Aggregation;
  /** Finite upper bounds of a histogram. */
  readonly buckets?: readonly number[];
  readonly native?: { readonly schema: number; readonly maxBuckets: number };
}

/** A series: whose it is, its label values, and where its numbers are when they are in shared memory. */
export type ReportedSeries = readonly [
  id: number,
  family: number,
  values: readonly string[],
  page?: number,
  offset?: number,
];

/** JSON has no words for these. */
type Encoded = number | 'NaN' | 'Infinity' | '-Infinity';

/** A native histogram in full. */
export type ReportedNative = readonly [
  id: number,
  schema: number,
  zero: number,
  positive: readonly BucketRun[],
  negative: readonly BucketRun[],
];

/**
 * What changed since the last report. Numbers are totals, never differences, so that a report can be lost or come twice;
 * definitions come again in turn, so that whoever listens late knows everything after a while.
 */
export interface Report {
  readonly source: string;
  /** Of the thread it comes from; 0 for a process. */
  readonly threadId: number;
  /** The last one of its source. */
  readonly bye: boolean;
  readonly families: readonly ReportedFamily[];
  readonly series: readonly ReportedSeries[];
  readonly numbers: readonly (readonly [id: number, ...numbers: Encoded[]])[];
  readonly natives: readonly ReportedNative[];
  readonly removed: readonly number[];
  readonly pages: readonly (readonly [index: number, memory: SharedArrayBuffer])[];
}

/** A number as a report carries it. */
export function encode(value: number): Encoded {
  return Number.isFinite(value) ? value : (String(value) as Encoded);
}

/** The report in a message, if it is one of ours. */
export function reportIn(message: unknown): Report | undefined {
  if (typeof message !== 'object' || message === null || !(MESSAGE in message)) return undefined;
  const report = message[MESSAGE];
  return typeof report === 'object' && report !== null && 'source' in report ? (report as Report) : undefined;
}

/** How many numbers a series of this family has. */
export function slotsOf({ type, buckets = [] }: ReportedFamily): number {
  if (type === 'histogram') return buckets.length + 2;
  return type === 'summary' ? 2 : 1;
}
