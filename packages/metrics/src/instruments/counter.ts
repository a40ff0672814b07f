import type { BoundCounter } from '@xiaoke/core';
import type { Exemplar } from './exemplars.ts';
import { escapeLabelValue, formatValue } from '../names.ts';
import {
  Family,
  type EmitSample,
  type FamilyContext,
  type FamilyDefinition,
  type MetricType,
} from './family.ts';
import type { LabelRecord } from './label-schema.ts';
import { Series } from './series.ts';
import type { Slots } from './value-pages.ts';

/** A counter with its labels fixed. */
export class CounterSeries extends Series implements BoundCounter {
  readonly #family: CounterFamily;

  constructor(family: CounterFamily, values: readonly string[], slots: Slots) {
    super(values, slots);
    this.#family = family;
  }

  inc(amount = 1): void {
    if (!(typeof amount === 'number' && amount >= 0 && amount < Infinity)) {
      this.#family.reject('a counter takes finite amounts that are not negative');
      return;
    }
    (this.page[this.offset] as number) += amount;
    if (this.#family.source.active) this.#follow(amount);
  }

  reset(): void {
    this.page[this.offset] = 0;
  }

  #follow(value: number): void {
    const labels = this.#family.source.current();
    if (labels === undefined) return;
    const timestamp = this.#family.context.now() / 1_000;
    this.#family.exemplars.set(this, [{ labels, value, timestamp }]);
  }
}

/** A counter with labels. */
export class LabelledCounter {
  readonly #family: CounterFamily;

  constructor(family: CounterFamily) {
    this.#family = family;
  }

  inc(labels: LabelRecord, amount = 1): void {
    this.#family.lookup(labels).inc(amount);
  }

  with(labels: LabelRecord): CounterSeries {
    return this.#family.lookup(labels);
  }

  remove(labels: LabelRecord): boolean {
    return this.#family.remove(labels);
  }

  reset(): void {
    this.#family.reset();
  }
}

/** All series of a counter. */
export class CounterFamily extends Family<CounterSeries> {
  readonly type: MetricType = 'counter';
  readonly slots = 1;
  readonly source: FamilyContext['exemplars'];
  readonly #openMetricsName: string;

  constructor(definition: FamilyDefinition, context: FamilyContext) {
    super(definition, context);
    this.source = context.exemplars;
    this.#openMetricsName = this.name.endsWith('_total') ? this.name : `${this.name}_total`;
    this.preset();
  }

  text(series: CounterSeries, openMetrics: boolean): string {
    const value = formatValue(series.page[series.offset] ?? 0);
    const head = (series.head ??= this.#head(series, this.name));
    if (!openMetrics) return `${head}${value}\n`;
    const own = this.#openMetricsName === this.name ? head : this.#head(series, this.#openMetricsName);
    return `${own}${value}${exemplarText(this.exemplars.get(series)?.[0])}\n`;
  }

  samples(series: CounterSeries, emit: EmitSample): void {
    emit('', undefined, series.page[series.offset] ?? 0);
  }

  protected make(values: readonly string[]): CounterSeries {
    return new CounterSeries(this, values, this.context.pages.allocate(1));
  }

  #head(series: CounterSeries, name: string): string {
    const labels = this.labelText(series);
    return labels === '' ? `${name} ` : [name, '{', labels, '} '].join('');
  }
}

/** ` # {trace_id="…"} value timestamp`, or nothing. */
export function exemplarText(exemplar: Exemplar | undefined): string {
  if (exemplar === undefined) return '';
  const labels = Object.entries(exemplar.labels).map(
    ([name, value]) => `${name}="${escapeLabelValue(value)}"`,
  );
  return ` # {${labels.join(',')}} ${formatValue(exemplar.value)} ${exemplar.timestamp.toFixed(3)}`;
}
