import type { Logger } from '../logger.ts';
import type {
  CounterInstrument,
  GaugeDefinition,
  GaugeInstrument,
  HistogramInstrument,
  LabelDefinitions,
  MetricsSink,
} from '../metrics-sink.ts';
import { onAbort } from '../wait.ts';

/** One line that was logged. */
export interface LoggedLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A logger that keeps what it was given. */
export interface RecordingLogger extends Logger {
  readonly lines: readonly LoggedLine[];
}

/** Makes a logger that keeps every line. */
export function recordingLogger(): RecordingLogger {
  const lines: LoggedLine[] = [];
  const at =
    (level: LoggedLine['level']) =>
    (first: object | string, message = ''): void => {
      lines.push(
        typeof first === 'string'
          ? { level, fields: {}, message: first }
          : { level, fields: { ...first }, message },
      );
    };
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** A sink that keeps what it was given. */
export interface RecordingMetrics extends MetricsSink {
  /** The sum of a counter, the last value of a gauge, or the number of observations; 0 when there was none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number;
  /** Every observation of a histogram, in order. */
  observations(name: string, labels?: Readonly<Record<string, string>>): readonly number[];
  /** Runs every `collect`, as a scrape does. */
  collect(): Promise<void>;
  /** The names that were defined. */
  names(): readonly string[];
  /** The labels of every series of an instrument. */
  series(name: string): readonly Readonly<Record<string, string>>[];
}

type Values = Readonly<Record<string, string>>;

class Series {
  value = 0;
  readonly observed: number[] = [];

  inc = (amount = 1): void => void (this.value += amount);
  dec = (amount = 1): void => void (this.value -= amount);
  set = (value: number): void => void (this.value = value);
  observe = (value: number): void => {
    this.value += 1;
    this.observed.push(value);
  };
}

class Instrument {
  readonly series = new Map<string, Series>();
  readonly #labelled: boolean;

  constructor(labelled: boolean) {
    this.#labelled = labelled;
  }

  with = (labels: Values): Series => {
    const key = keyOf(labels);
    const series = this.series.get(key) ?? new Series();
    this.series.set(key, series);
    return series;
  };
  inc = (...args: unknown[]): void => this.#apply('inc', args);
  dec = (...args: unknown[]): void => this.#apply('dec', args);
  set = (...args: unknown[]): void => this.#apply('set', args);
  observe = (...args: unknown[]): void => this.#apply('observe', args);
  remove = (labels: Values): void => void this.series.delete(keyOf(labels));

  #apply(method: 'inc' | 'dec' | 'set' | 'observe', args: readonly unknown[]): void {
    const [labels, amount] = this.#labelled ? [args[0] as Values, args[1]] : [{}, args[0]];
    this.with(labels)[method](amount as number);
  }
}

/** Makes a sink that keeps every number. */
export function recordingMetrics(): RecordingMetrics {
  const instruments = new Map<string, Instrument>();
  const collectors = new Set<() => unknown>();
  const define = <I>(name: string, labels: LabelDefinitions | undefined): I => {
    const instrument = instruments.get(name) ?? new Instrument(Object.keys(labels ?? {}).length > 0);
    instruments.set(name, instrument);
    return instrument as I;
  };
  return {
    counter: <L extends LabelDefinitions>(definition: { name: string; labels?: L }) =>
      define<CounterInstrument<L>>(definition.name, definition.labels),
    histogram: <L extends LabelDefinitions>(definition: { name: string; labels?: L }) =>
      define<HistogramInstrument<L>>(definition.name, definition.labels),
    gauge: <L extends LabelDefinitions>(definition: GaugeDefinition<L>) => {
      const gauge = define<GaugeInstrument<L>>(definition.name, definition.labels);
      if (definition.collect) {
        const collect = (): unknown => definition.collect?.(gauge);
        collectors.add(collect);
        onAbort(definition.signal, () => void collectors.delete(collect));
      }
      return gauge;
    },
    value: (name, labels = {}) => instruments.get(name)?.series.get(keyOf(labels))?.value ?? 0,
    observations: (name, labels = {}) => instruments.get(name)?.series.get(keyOf(labels))?.observed ?? [],
    collect: async () => void (await Promise.all([...collectors].map((collect) => collect()))),
    names: () => [...instruments.keys()],
    series: (name) =>
      [...(instruments.get(name)?.series.keys() ?? [])].map(
        (key) => Object.fromEntries(JSON.parse(key) as [string, string][]) as Values,
      ),
  };
}

function keyOf(labels: Values): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
