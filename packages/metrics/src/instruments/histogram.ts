import type { BoundHistogram } from '@xiaoke/core';
import { formatBound, formatValue } from '../names.ts';
import { exemplarText } from './counter.ts';
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

/** A histogram with its labels fixed. Its slots are one count per bucket, then the sum. */
export class HistogramSeries extends Series implements BoundHistogram {
  readonly #family: HistogramFamily;
  /** Replaced by a reset. */
  native: NativeHistogram | undefined;

  constructor(family: HistogramFamily, values: readonly string[], slots: Slots) {
    super(values, slots);
    this.#family = family;
    this.native = family.newNative();
  }

  observe(value: number): void {
    const family = this.#family;
    if (!(typeof value === 'number' && value - value === 0)) {
      family.reject('a histogram takes finite values');
      return;
    }
    const upper = family.upper;
    const last = upper.length;
    let bucket = 0;
    while (bucket < last && value > (upper[bucket] as number)) bucket++;
    const { page, offset } = this;
    (page[offset + bucket] as number) += 1;
    (page[offset + last + 1] as number) += value;
    if (this.native !== undefined) this.native.observe(value);
    if (family.source.active) this.#follow(bucket, value);
  }

  /** Runs `fn` and observes how long it took, in seconds, whatever its outcome. */
  async time<T>(fn: () => T | PromiseLike<T>): Promise<T> {
    const stop = this.startTimer();
    try {
      return await fn();
    } finally {
      stop();
    }
  }

  /** Starts a timer; calling or disposing what is returned observes the seconds since, once. */
  startTimer(): (() => number) & Disposable {
    const start = performance.now();
    let seconds: number | undefined;
    const stop = (): number => {
      if (seconds === undefined) this.observe((seconds = (performance.now() - start) / 1_000));
      return seconds;
    };
    return Object.assign(stop, { [Symbol.dispose]: () => void stop() });
  }

  reset(): void {
    this.page.fill(0, this.offset, this.offset + this.#family.slots);
    this.native = this.#family.newNative();
    this.#family.exemplars.delete(this);
  }

  #follow(bucket: number, value: number): void {
    const labels = this.#family.source.current();
    if (labels === undefined) return;
    const { exemplars, upper, context } = this.#family;
    const own = exemplars.get(this) ?? Array.from({ length: upper.length + 1 });
    own[bucket] = { labels, value, timestamp: context.now() / 1_000 };
    exemplars.set(this, own);
  }
}

/** A histogram with labels. */
export class LabelledHistogram {
  readonly #family: HistogramFamily;

  constructor(family: HistogramFamily) {
    this.#family = family;
  }

  observe(labels: LabelRecord, value: number): void {
    this.#family.lookup(labels).observe(value);
  }

  with(labels: LabelRecord): HistogramSeries {
    return this.#family.lookup(labels);
  }

  time<T>(labels: LabelRecord, fn: () => T | PromiseLike<T>): Promise<T> {
    return this.#family.lookup(labels).time(fn);
  }

  startTimer(labels: LabelRecord): (() => number) & Disposable {
    return this.#family.lookup(labels).startTimer();
  }

  remove(labels: LabelRecord): boolean {
    return this.#family.remove(labels);
  }

  reset(): void {
    this.#family.reset();
  }
}

/** What a histogram is made from. */
export interface HistogramFamilyDefinition extends FamilyDefinition {
  /** Finite, ascending, without duplicates. */
  readonly buckets: readonly number[];
  readonly native: { readonly schema: number; readonly maxBuckets: number } | undefined;
}

/** All series of a histogram. */
export class HistogramFamily extends Family<HistogramSeries> {
  readonly type: MetricType = 'histogram';
  readonly slots: number;
  readonly upper: Float64Array;
  readonly source: FamilyContext['exemplars'];
  readonly native: HistogramFamilyDefinition['native'];
  /** `le="0.1"} ` of each bucket, as text and as OpenMetrics. */
  readonly #les: readonly [readonly string[], readonly string[]];

  constructor(definition: HistogramFamilyDefinition, context: FamilyContext) {
    super(definition, context, ['le']);
    this.upper = Float64Array.from(definition.buckets);
    this.slots = this.upper.length + 2;
    this.source = context.exemplars;
    this.native = definition.native;
    const bounds = [...definition.buckets, Infinity];
    this.#les = [
      bounds.map((bound) => `le="${formatValue(bound)}"} `),
      bounds.map((bound) => `le="${formatBound(bound)}"} `),
    ];
    this.preset();
  }

  newNative(): NativeHistogram | undefined {
    return this.native && new NativeHistogram(this.native.schema, this.native.maxBuckets);
  }

  text(series: HistogramSeries, openMetrics: boolean): string {
    const head = (series.head ??= this.#head(series));
    const les = this.#les[openMetrics ? 1 : 0];
    const { page, offset } = series;
    const exemplars = openMetrics ? this.exemplars.get(series) : undefined;
    let total = 0;
    let text = '';
    for (let i = 0; i < les.length; i++) {
      total += page[offset + i] as number;
      if (exemplars === undefined) text += head + (les[i] as string) + total + '\n';
      else text += head + (les[i] as string) + total + exemplarText(exemplars[i]) + '\n';
    }
    const bare = this.name.length + '_bucket'.length;
    // What the head has between the name and its last comma.
    const tail = head.endsWith('{') ? ' ' : `${head.slice(bare, -1)}} `;
    const sum = formatValue(page[offset + les.length] as number);
    return `${text}${this.name}_sum${tail}${sum}\n${this.name}_count${tail}${total}\n`;
  }

  #head(series: HistogramSeries): string {
    const labels = this.labelText(series);
    return [this.name, '_bucket{', labels, labels === '' ? '' : ','].join('');
  }

  samples(series: HistogramSeries, emit: EmitSample): void {
    let total = 0;
    for (let i = 0; i <= this.upper.length; i++) {
      total += series.page[series.offset + i] ?? 0;
      emit('_bucket', ['le', formatValue(this.upper[i] ?? Infinity)], total);
    }
    emit('_sum', undefined, series.page[series.offset + this.upper.length + 1] ?? 0);
    emit('_count', undefined, total);
  }

  override reset(): void {
    for (const series of this.series) series.reset();
  }

  protected make(values: readonly string[]): HistogramSeries {
    return new HistogramSeries(this, values, this.context.pages.allocate(this.slots));
  }
}
