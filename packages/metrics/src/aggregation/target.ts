import type { Aggregation, Family } from '../instruments/family.ts';
import type { HistogramFamily, HistogramSeries } from '../instruments/histogram.ts';
import { NativeHistogram } from '../instruments/native-histogram.ts';
import type { Series } from '../instruments/series.ts';

/** The numbers of one source for one series. */
export interface Contribution {
  /** Its own copy, or a view of memory that a thread writes. */
  readonly numbers: Float64Array;
  readonly shared: boolean;
  native: NativeHistogram | undefined;
  /** Left out for the time being: a gauge of a source that is silent. */
  silent: boolean;
  /** Greater for what changed later. */
  changedAt: number;
  seen: number;
}

/** One series of the sums, and what it is made of. */
export class Target {
  readonly family: Family;
  readonly series: Series;
  readonly #aggregate: Aggregation;
  readonly #contributions = new Set<Contribution>();
  /** What sources that have ended had counted. */
  #retired: Float64Array | undefined;
  #retiredNative: NativeHistogram | undefined;
  #dirty = true;
  #shared = 0;

  constructor(family: Family, series: Series, aggregate: Aggregation) {
    this.family = family;
    this.series = series;
    this.#aggregate = aggregate;
  }

  get cumulative(): boolean {
    return this.family.type !== 'gauge' && this.family.type !== 'info';
  }

  /** Whether nothing is left of it. */
  get empty(): boolean {
    return this.#contributions.size === 0 && this.#retired === undefined;
  }

  add(contribution: Contribution): void {
    this.#contributions.add(contribution);
    if (contribution.shared) this.#shared += 1;
    this.#dirty = true;
  }

  touch(): void {
    this.#dirty = true;
  }

  /** Takes a contribution out; what it had counted stays when its source has `ended`. */
  remove(contribution: Contribution, ended: boolean): void {
    if (!this.#contributions.delete(contribution)) return;
    if (contribution.shared) this.#shared -= 1;
    this.#dirty = true;
    if (!ended || !this.cumulative) return;
    this.#retired ??= new Float64Array(this.family.slots);
    for (let i = 0; i < this.#retired.length; i++)
      (this.#retired[i] as number) += contribution.numbers[i] ?? 0;
    if (contribution.native === undefined) return;
    this.#retiredNative ??= new NativeHistogram(contribution.native.schema, contribution.native.maxBuckets);
    this.#retiredNative.merge(contribution.native);
  }

  /** Writes the sums into the series; never a number that is half done. */
  refresh(): void {
    if (!this.#dirty && this.#shared === 0) return;
    this.#dirty = false;
    const { page, offset } = this.series;
    if (this.cumulative) for (let i = 0; i < this.family.slots; i++) page[offset + i] = this.#sum(i);
    else page[offset] = this.#combined();
    if ((this.family as unknown as Partial<HistogramFamily>).native !== undefined) this.#refreshNative();
  }

  #sum(slot: number): number {
    let sum = this.#retired?.[slot] ?? 0;
    for (const { numbers } of this.#contributions) sum += numbers[slot] ?? 0;
    return sum;
  }

  #combined(): number {
    const audible = [...this.#contributions].filter(({ silent }) => !silent);
    const values = audible.map(({ numbers }) => numbers[0] ?? 0);
    if (values.length === 0) return 0;
    if (this.#aggregate === 'max') return Math.max(...values);
    if (this.#aggregate === 'min') return Math.min(...values);
    if (this.#aggregate === 'sum') return values.reduce((sum, value) => sum + value, 0);
    return audible.reduce((a, b) => (b.changedAt >= a.changedAt ? b : a)).numbers[0] ?? 0;
  }

  #refreshNative(): void {
    const { native } = this.family as unknown as HistogramFamily;
    if (native === undefined) return;
    const merged = new NativeHistogram(native.schema, native.maxBuckets);
    if (this.#retiredNative !== undefined) merged.merge(this.#retiredNative);
    for (const contribution of this.#contributions)
      if (contribution.native !== undefined) merged.merge(contribution.native);
    (this.series as HistogramSeries).native = merged;
  }
}
