/** The labels of an instrument: `String` accepts any value, an array is the closed set of the values allowed. */
export type LabelDefinitions = Readonly<Record<string, StringConstructor | readonly string[]>>;

/** The label values that fit `L`; every label is required. */
export type LabelValues<L extends LabelDefinitions> = {
  readonly [K in keyof L]: L[K] extends readonly (infer V extends string)[] ? V : string;
};

/** No labels at all. */
export type NoLabels = Record<never, never>;

/** What an instrument is called and means. */
export interface MetricDefinition<L extends LabelDefinitions = NoLabels> {
  /** Prometheus name, with its unit and, for a counter, `_total`. */
  readonly name: string;
  /** One sentence for the person who reads the graph. */
  readonly help: string;
  readonly labels?: L;
}

/** A gauge may be filled at scrape time. */
export interface GaugeDefinition<L extends LabelDefinitions = NoLabels> extends MetricDefinition<L> {
  /** Called before each scrape to set the current values; it may be asynchronous, and is bounded in time. */
  readonly collect?: (gauge: GaugeInstrument<L>) => void | Promise<void>;
  /**
   * Once it fires, `collect` is never called again. A manager that defines a gauge passes the signal of its own closing:
   * the instrument is shared by name, so several managers may fill the same gauge, each with its own `collect`.
   */
  readonly signal?: AbortSignal;
}

/** A histogram counts observations in buckets. */
export interface HistogramDefinition<L extends LabelDefinitions = NoLabels> extends MetricDefinition<L> {
  /** Upper bounds in the unit of the name, ascending. The sink's default suits latencies in seconds. */
  readonly buckets?: readonly number[];
  /** Also keep a native (sparse) histogram, where the sink can. */
  readonly native?: boolean | { readonly schema?: number; readonly maxBuckets?: number };
}

/** A counter with its labels fixed. */
export interface BoundCounter {
  /** Adds `amount`, by default 1. An amount that is negative or not finite is ignored and counted. */
  inc(amount?: number): void;
}

/** A gauge with its labels fixed. */
export interface BoundGauge {
  set(value: number): void;
  inc(amount?: number): void;
  dec(amount?: number): void;
}

/** A histogram with its labels fixed. */
export interface BoundHistogram {
  observe(value: number): void;
}

/** Only grows. */
export type CounterInstrument<L extends LabelDefinitions = NoLabels> = [keyof L] extends [never]
  ? BoundCounter
  : { inc(labels: LabelValues<L>, amount?: number): void; with(labels: LabelValues<L>): BoundCounter };

/** Goes up and down. */
export type GaugeInstrument<L extends LabelDefinitions = NoLabels> = [keyof L] extends [never]
  ? BoundGauge
  : {
      set(labels: LabelValues<L>, value: number): void;
      inc(labels: LabelValues<L>, amount?: number): void;
      dec(labels: LabelValues<L>, amount?: number): void;
      with(labels: LabelValues<L>): BoundGauge;
      /** Forgets the series of these labels. */
      remove(labels: LabelValues<L>): void;
    };

/** A distribution. */
export type HistogramInstrument<L extends LabelDefinitions = NoLabels> = [keyof L] extends [never]
  ? BoundHistogram
  : { observe(labels: LabelValues<L>, value: number): void; with(labels: LabelValues<L>): BoundHistogram };

/**
 * Where the suite's packages report numbers. `@xiaoke/metrics` implements it; the default does nothing.
 * Asking twice for the same name and shape gives the same instrument.
 */
export interface MetricsSink {
  counter<const L extends LabelDefinitions = NoLabels>(definition: MetricDefinition<L>): CounterInstrument<L>;
  gauge<const L extends LabelDefinitions = NoLabels>(definition: GaugeDefinition<L>): GaugeInstrument<L>;
  histogram<const L extends LabelDefinitions = NoLabels>(
    definition: HistogramDefinition<L>,
  ): HistogramInstrument<L>;
}

const nothing = (): void => {};
// One object serves as every instrument and as its own bound child.
const instrument = {
  inc: nothing,
  dec: nothing,
  set: nothing,
  observe: nothing,
  remove: nothing,
  with: () => instrument,
};
Object.freeze(instrument);

/** The default sink: every call is one empty function. */
export const noopMetrics: MetricsSink = Object.freeze({
  counter: <L extends LabelDefinitions>() => instrument as unknown as CounterInstrument<L>,
  gauge: <L extends LabelDefinitions>() => instrument as unknown as GaugeInstrument<L>,
  histogram: <L extends LabelDefinitions>() => instrument as unknown as HistogramInstrument<L>,
});
