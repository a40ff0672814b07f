import type {
  CounterInstrument,
  Duration,
  GaugeInstrument,
  HistogramDefinition as CoreHistogramDefinition,
  HistogramInstrument,
  LabelDefinitions,
  LabelValues,
  MetricDefinition,
  NoLabels,
} from '@xiaoke/core';
import type { Aggregation } from './instruments/family.ts';

/** What this package adds to a metric's definition. */
export interface MetricExtras {
  /** Series beyond this many go to one overflow series. @default the collector's `limits.seriesPerMetric` */
  readonly limit?: number;
}

/** A counter's definition. */
export type CounterDefinition<L extends LabelDefinitions = NoLabels> = MetricDefinition<L> & MetricExtras;

/** A gauge's definition. */
export interface GaugeDefinition<L extends LabelDefinitions = NoLabels>
  extends MetricDefinition<L>, MetricExtras {
  /**
   * Called before each scrape to set the current values. One that throws, or takes longer than `collectTimeout`, is
   * counted, and the scrape goes on with the values of last time.
   */
  readonly collect?: (gauge: Gauge<L>, context: { readonly signal: AbortSignal }) => void | Promise<void>;
  /** Once it fires, `collect` is never called again. */
  readonly signal?: AbortSignal;
  /** How long a collected value is good enough. @default 0 */
  readonly collectEvery?: Duration;
  /** A series not updated for this long goes away, until it is updated again. @default never */
  readonly ttl?: Duration;
  /** How the values of cluster workers and threads become one. @default 'sum' */
  readonly aggregate?: Aggregation;
}

/** A histogram's definition. */
export interface HistogramDefinition<L extends LabelDefinitions = NoLabels>
  extends CoreHistogramDefinition<L>, MetricExtras {}

/** A summary's definition. */
export interface SummaryDefinition<L extends LabelDefinitions = NoLabels>
  extends MetricDefinition<L>, MetricExtras {
  /** Between 0 and 1. @default [0.5, 0.9, 0.99] */
  readonly quantiles?: readonly number[];
  /** The span the quantiles look back over. @default '5m' */
  readonly maxAge?: Duration;
}

/** What every instrument with labels can do beside recording. */
export interface SeriesControl<L extends LabelDefinitions> {
  /** Forgets the series of these labels; a child that is still bound to them records nowhere. */
  remove(labels: LabelValues<L>): boolean;
  /** Sets every series to zero. Bound children stay usable. */
  reset(): void;
}

/** Measures seconds from its start to the call, or to the end of a `using` block. */
export type StopTimer = (() => number) & Disposable;

type Plain<L extends LabelDefinitions, P, W> = [keyof L] extends [never] ? P : W;

interface Resettable {
  reset(): void;
}

interface PlainTimers extends Resettable {
  time<T>(fn: () => T | PromiseLike<T>): Promise<T>;
  startTimer(): StopTimer;
}

interface LabelledTimers<L extends LabelDefinitions> extends SeriesControl<L> {
  time<T>(labels: LabelValues<L>, fn: () => T | PromiseLike<T>): Promise<T>;
  startTimer(labels: LabelValues<L>): StopTimer;
  with(labels: LabelValues<L>): { observe(value: number): void } & PlainTimers;
}

/** A counter of this package: the sink's, and {@link SeriesControl}. */
export type Counter<L extends LabelDefinitions = NoLabels> = CounterInstrument<L> &
  Plain<L, Resettable, SeriesControl<L>>;

/** A gauge of this package. */
export type Gauge<L extends LabelDefinitions = NoLabels> = GaugeInstrument<L> &
  Plain<L, Resettable, SeriesControl<L>>;

/** A histogram of this package, with timers. */
export type Histogram<L extends LabelDefinitions = NoLabels> = HistogramInstrument<L> &
  Plain<L, PlainTimers, LabelledTimers<L>>;

/** Quantiles of the last minutes. */
export type Summary<L extends LabelDefinitions = NoLabels> = HistogramInstrument<L> &
  Plain<L, Resettable, SeriesControl<L>>;

/** A state set's definition: one series per state, of which one is 1 and the others are 0. */
export interface StateSetDefinition<
  L extends LabelDefinitions,
  S extends string,
> extends MetricDefinition<L> {
  readonly states: readonly S[];
  /** The label that names the state. @default 'state' */
  readonly stateLabel?: string;
}

/** Which one of several states something is in. */
export interface StateSet<L extends LabelDefinitions, S extends string> {
  set(...args: [keyof L] extends [never] ? [state: S] : [labels: LabelValues<L>, state: S]): void;
}

/** Facts as labels, with the value 1. */
export interface Info<L extends LabelDefinitions> {
  /** Replaces what was there. */
  set(labels: LabelValues<L>): void;
}
