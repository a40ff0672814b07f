import { formatBound, formatValue } from '../names.ts';
import {
  Family,
  type EmitSample,
  type FamilyContext,
  type FamilyDefinition,
  type MetricType,
} from './family.ts';
import type { LabelRecord } from './label-schema.ts';
import { NativeHistogram } from './native-histogram.ts';
import { Series } from './series.ts';
import type { Slots } from './value-pages.ts';

// Boundaries are 2.2 % apart, which is how far a quantile may be off.
const SCHEMA = 5;
const MAX_BUCKETS = 640;

/** The last minutes of observations, as a ring of histograms of which the oldest is thrown away. */
class Window {
  readonly #parts: NativeHistogram[];
  readonly #span: number;
  #turn = 0;

  constructor(parts: number, maxAge: number) {
    this.#parts = Array.from({ length: parts }, () => new NativeHistogram(SCHEMA, MAX_BUCKETS));
    this.#span = maxAge / parts;
  }

  at(now: number): NativeHistogram {
    const turn = Math.floor(now / this.#span);
    const steps = Math.min(turn - this.#turn, this.#parts.length);
    for (let i = 1; i <= steps; i++) this.#part(turn - steps + i).clear();
    if (turn > this.#turn) this.#turn = turn;
    return this.#part(this.#turn);
  }

  merged(now: number): NativeHistogram {
    this.at(now);
    const all = new NativeHistogram(SCHEMA, MAX_BUCKETS);
    for (const part of this.#parts) all.merge(part);
    return all;
  }

  #part(turn: number): NativeHistogram {
    return this.#parts[turn % this.#parts.length] as NativeHistogram;
  }
}

/** A summary with its labels fixed. Its slots are the count and the sum. */
export class SummarySeries extends Series {
  readonly #family: SummaryFamily;
  window: Window;

  constructor(family: SummaryFamily, values: readonly string[], slots: Slots) {
    super(values, slots);
    this.#family = family;
    this.window = family.newWindow();
  }

  observe(value: number): void {
    if (!Number.isFinite(value)) {
      this.#family.reject('a summary takes finite values');
      return;
    }
    (this.page[this.offset] as number) += 1;
    (this.page[this.offset + 1] as number) += value;
    this.window.at(this.#family.context.now()).observe(value);
  }

  reset(): void {
    this.page.fill(0, this.offset, this.offset + 2);
    this.window = this.#family.newWindow();
  }
}

/** A summary with labels. */
export class LabelledSummary {
  readonly #family: SummaryFamily;

  constructor(family: SummaryFamily) {
    this.#family = family;
  }

  observe(labels: LabelRecord, value: number): void {
    this.#family.lookup(labels).observe(value);
  }

  with(labels: LabelRecord): SummarySeries {
    return this.#family.lookup(labels);
  }

  remove(labels: LabelRecord): boolean {
    return this.#family.remove(labels);
  }

  reset(): void {
    this.#family.reset();
  }
}

/** All series of a summary: quantiles of the last minutes, seen from this process alone. */
export class SummaryFamily extends Family<SummarySeries> {
  readonly type: MetricType = 'summary';
  readonly slots = 2;
  readonly quantiles: readonly number[];
  readonly #maxAge: number;

  constructor(
    definition: FamilyDefinition & { readonly quantiles: readonly number[]; readonly maxAge: number },
    context: FamilyContext,
  ) {
    super(definition, context, ['quantile']);
    this.quantiles = definition.quantiles;
    this.#maxAge = definition.maxAge;
    this.preset();
  }

  newWindow(): Window {
    return new Window(5, this.#maxAge);
  }

  text(series: SummarySeries, openMetrics: boolean): string {
    const labels = (series.head ??= this.labelText(series));
    const open = labels === '' ? '{' : `{${labels},`;
    const tail = labels === '' ? ' ' : `{${labels}} `;
    let text = '';
    for (const [q, value] of this.quantileValues(series)) {
      const quantile = openMetrics ? formatBound(q) : formatValue(q);
      text += `${this.name}${open}quantile="${quantile}"} ${formatValue(value)}\n`;
    }
    const { page, offset } = series;
    text += `${this.name}_sum${tail}${formatValue(page[offset + 1] ?? 0)}\n`;
    return `${text}${this.name}_count${tail}${page[offset] ?? 0}\n`;
  }

  quantileValues(series: SummarySeries): readonly (readonly [number, number])[] {
    const merged = series.window.merged(this.context.now());
    return this.quantiles.map((q) => [q, merged.quantile(q)]);
  }

  samples(series: SummarySeries, emit: EmitSample): void {
    for (const [q, value] of this.quantileValues(series)) emit('', ['quantile', formatValue(q)], value);
    emit('_sum', undefined, series.page[series.offset + 1] ?? 0);
    emit('_count', undefined, series.page[series.offset] ?? 0);
  }

  override reset(): void {
    for (const series of this.series) series.reset();
  }

  protected make(values: readonly string[]): SummarySeries {
    return new SummarySeries(this, values, this.context.pages.allocate(this.slots));
  }
}
