import type { LabelDefinitions } from '@xiaoke/core';
import { MetricsError } from '../errors.ts';
import { formatLabels } from '../names.ts';
import type { Exemplar, ExemplarSource } from './exemplars.ts';
import { LabelSchema, OVERFLOW, type LabelRecord } from './label-schema.ts';
import { LabelTrie } from './label-trie.ts';
import type { Series } from './series.ts';
import type { ValuePages } from './value-pages.ts';

/** What a metric is, in Prometheus's words. */
export type MetricType = 'counter' | 'gauge' | 'histogram' | 'summary' | 'info';

/** How the values of several processes become one. */
export type Aggregation = 'sum' | 'max' | 'min' | 'last';

/** What the instruments of one collector share. */
export interface FamilyContext {
  readonly pages: ValuePages;
  readonly constLabels: Readonly<Record<string, string>>;
  readonly exemplars: ExemplarSource;
  readonly now: () => number;
  readonly invalid: 'count' | 'throw';
  /** Told of every new series, so that a worker thread can announce it. */
  onSeries: ((family: Family, series: Series) => void) | undefined;
}

/** What every metric is made from. */
export interface FamilyDefinition {
  readonly name: string;
  readonly help: string;
  readonly labels?: LabelDefinitions | undefined;
  readonly limit: number;
  readonly presetLimit: number;
  readonly aggregate?: Aggregation | undefined;
  /** Where it was defined, for the error about a conflict. */
  readonly site: string;
}

/** One sample of a series: the metric's name with a suffix, and for a bucket or quantile one more label. */
export type EmitSample = (
  suffix: string,
  extra: readonly [string, string] | undefined,
  value: number,
) => void;

/** A metric with all its series. */
export abstract class Family<S extends Series = Series> {
  abstract readonly type: MetricType;
  /** How many numbers a series has. */
  abstract readonly slots: number;
  readonly name: string;
  readonly help: string;
  readonly schema: LabelSchema;
  readonly site: string;
  readonly limit: number;
  readonly aggregate: Aggregation;
  readonly context: FamilyContext;
  /** Of the collector and of the registry; those that the metric has itself are its own. */
  constLabels: Readonly<Record<string, string>>;
  readonly #collectorLabels: Readonly<Record<string, string>>;
  #defaults: Readonly<Record<string, string>> | undefined;
  /** Replaced, never shortened in place, when a series is removed: a scrape that is under way goes on with its own. */
  series: S[] = [];
  /** By series, at 0 for a counter and by bucket for a histogram; only while traces are being followed. */
  readonly exemplars: Map<Series, (Exemplar | undefined)[]> = new Map();
  /** Updates that were not finite, negative where that is wrong, or had bad labels. */
  invalid = 0;
  /** Updates that went to the overflow series. */
  dropped = 0;
  readonly #presetLimit: number;
  readonly #trie: LabelTrie<S>;
  #overflow: S | undefined;

  constructor(definition: FamilyDefinition, context: FamilyContext, reserved: readonly string[] = []) {
    this.name = definition.name;
    this.help = definition.help;
    this.site = definition.site;
    this.limit = definition.limit;
    this.aggregate = definition.aggregate ?? 'sum';
    this.context = context;
    this.schema = new LabelSchema(definition.labels, reserved);
    this.#collectorLabels = this.#foreign(context.constLabels);
    this.constLabels = this.#collectorLabels;
    this.#presetLimit = definition.presetLimit;
    this.#trie = new LabelTrie(this.schema.names);
  }

  protected abstract make(values: readonly string[], overflow: boolean): S;
  /** The lines of one series in the text format or OpenMetrics. */
  abstract text(series: S, openMetrics: boolean): string;
  abstract samples(series: S, emit: EmitSample): void;

  /** The series that stands for everything beyond the limit, if there was any. */
  get overflow(): S | undefined {
    return this.#overflow;
  }

  /** Creates what can be known beforehand: the series of a metric without labels, or of closed labels only. */
  preset(): void {
    if (this.schema.names.length === 0) this.#create([]);
    else if (this.schema.fullyClosed && this.schema.combinations <= this.#presetLimit) {
      for (const values of this.schema.siblings([])) this.#create(values);
    }
  }

  /** The series of `labels`, made if needed; the overflow series beyond the limit or for labels that are wrong. */
  lookup(labels: LabelRecord): S {
    // An update never throws, whatever is passed.
    if (labels === null || labels === undefined) return this.#resolve(labels);
    return this.#trie.find(labels) ?? this.#resolve(labels);
  }

  /** The series of these values, made if needed; for numbers that come from elsewhere. */
  byValues(values: readonly string[]): S {
    return this.#trie.get(values) ?? this.#admit(values);
  }

  remove(labels: LabelRecord): boolean {
    const values = this.schema.normalise(labels);
    const series = 'problem' in values ? undefined : this.#trie.get(values);
    if (series === undefined) return false;
    this.detach(series);
    return true;
  }

  /** Takes a series out; a bound child that is still held goes on writing where nobody looks. */
  detach(series: S): void {
    if (!this.series.includes(series)) return;
    this.#trie.delete(series.values);
    this.exemplars.delete(series);
    this.series = this.series.filter((other) => other !== series);
    const slots = { page: series.page, offset: series.offset };
    series.move({ page: new Float64Array(this.slots), offset: 0 }, this.slots);
    this.context.pages.release(slots, this.slots);
  }

  /** Back to zero; series and bound children stay. */
  reset(): void {
    for (const series of this.series) {
      series.page.fill(0, series.offset, series.offset + this.slots);
    }
    this.exemplars.clear();
  }

  /** Takes over the default labels of the registry, as its stock metrics have them. */
  useDefaults(defaults: Readonly<Record<string, string>>): void {
    if (defaults === this.#defaults) return;
    this.#defaults = defaults;
    const labels = this.#foreign({ ...defaults, ...this.context.constLabels });
    if (JSON.stringify(labels) === JSON.stringify(this.constLabels)) return;
    this.constLabels = labels;
    for (const series of this.series) series.head = undefined;
  }

  /** Notes an update that cannot be recorded. */
  reject(problem: string): void {
    this.invalid += 1;
    if (this.context.invalid === 'throw') {
      throw new MetricsError('INVALID_SAMPLE', `Metric "${this.name}": ${problem}`, {
        details: { metric: this.name },
      });
    }
  }

  /** Constant and own labels of a series as text, without braces. */
  labelText(series: S): string {
    const names = [...Object.keys(this.constLabels), ...this.schema.names];
    return formatLabels(names, [...Object.values(this.constLabels), ...series.values]);
  }

  /** Constant and own labels of a series. */
  labelsOf(series: S): Record<string, string> {
    return this.#labelsOf(series, this.constLabels);
  }

  /** As {@link Family.labelsOf}, without the registry's, which it adds by itself. */
  labelsForRegistry(series: S): Record<string, string> {
    return this.#labelsOf(series, this.#collectorLabels);
  }

  /** Puts back a series that had been detached. */
  protected attach(series: S): void {
    const present = this.#trie.get(series.values);
    if (present === undefined) this.#insert(series);
  }

  #labelsOf(series: S, constant: Readonly<Record<string, string>>): Record<string, string> {
    const labels: Record<string, string> = { ...constant };
    for (const [i, name] of this.schema.names.entries()) labels[name] = series.values[i] ?? '';
    return labels;
  }

  // The same label twice would cost Prometheus the whole scrape.
  #foreign(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    const own = Object.entries(labels).filter(([name]) => !this.schema.names.includes(name));
    return Object.fromEntries(own.map(([name, value]) => [name, `${value}`]));
  }

  #resolve(labels: LabelRecord): S {
    const values = this.schema.normalise(labels);
    if (!('problem' in values)) return this.byValues(values);
    this.reject(values.problem);
    return this.#overflowing();
  }

  #admit(values: readonly string[]): S {
    if (this.series.length >= this.#capacity()) {
      this.dropped += 1;
      return this.#overflowing();
    }
    if (this.schema.combinations > 1 && this.schema.combinations <= this.#presetLimit) {
      for (const sibling of this.schema.siblings(values)) {
        if (this.series.length < this.#capacity() && this.#trie.get(sibling) === undefined)
          this.#create(sibling);
      }
    }
    return this.#trie.get(values) ?? this.#create(values);
  }

  // The overflow series is one beyond the limit.
  #capacity(): number {
    return this.#overflow === undefined ? this.limit : this.limit + 1;
  }

  #overflowing(): S {
    this.#overflow ??= this.#insert(
      this.make(
        this.schema.names.map(() => OVERFLOW),
        true,
      ),
    );
    return this.#overflow;
  }

  #create(values: readonly string[]): S {
    return this.#insert(this.make(this.#trie.shared(values), false));
  }

  #insert(series: S): S {
    this.#trie.add(series);
    this.series.push(series);
    this.context.onSeries?.(this, series);
    return series;
  }
}
