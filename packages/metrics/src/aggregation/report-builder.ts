import type { Collected } from '../exposition/scrape.ts';
import type { Family } from '../instruments/family.ts';
import type { HistogramFamily, HistogramSeries } from '../instruments/histogram.ts';
import type { Series } from '../instruments/series.ts';
import {
  encode,
  type Report,
  type ReportedFamily,
  type ReportedNative,
  type ReportedSeries,
} from './report.ts';
import { stockFamily } from './stock-series.ts';
import { TimeSlices } from '../time-slices.ts';

// Every definition comes again within so many reports, for a listener that came late.
const REPEAT_WITHIN = 30;
// How long building a report may hold the event loop, in milliseconds.
const SLICE = 3;

interface Known {
  readonly id: number;
  readonly definition: ReportedSeries;
  readonly family: ReportedFamily;
  /** What was reported last; nothing for numbers in shared memory. */
  readonly last: Float64Array | undefined;
  nativeCount: number;
  turn: number;
}

/** A report that is being put together. */
interface Draft {
  readonly families: Set<ReportedFamily>;
  readonly series: ReportedSeries[];
  readonly numbers: Report['numbers'][number][];
  readonly natives: ReportedNative[];
  readonly pages: Set<number>;
}

/** Finds out what changed in a collector since the last report. */
export class ReportBuilder {
  readonly #source: string;
  readonly #threadId: number;
  readonly #families = new Map<unknown, ReportedFamily>();
  readonly #series = new Map<unknown, Known>();
  readonly #pages = new Map<SharedArrayBuffer, number>();
  readonly #replaced: number[] = [];
  #ids = 0;
  #turn = 0;
  #everything = true;

  constructor(source: string, threadId: number) {
    this.#source = source;
    this.#threadId = threadId;
  }

  /** The next report has everything. */
  repeatAll(): void {
    this.#everything = true;
  }

  /** What changed, in pieces of work that do not hold the event loop. */
  async build(
    collected: readonly Collected[],
    defaults: Readonly<Record<string, string>>,
    bye = false,
  ): Promise<Report> {
    const draft = this.#draft();
    this.#turn += 1;
    const slices = new TimeSlices(SLICE);
    for (const _ of this.#additions(draft, collected, defaults)) await slices.turn();
    this.#everything = false;
    return { ...this.#finish(draft), removed: this.#forgetGone(), bye };
  }

  /** A report of one series alone, without waiting for anything. */
  announce(family: Family, series: Series): Report {
    const draft = this.#draft();
    this.#addSeries(draft, family, series);
    return { ...this.#finish(draft), removed: [], bye: false };
  }

  /** Adds everything, with a pause for others now and then. */
  *#additions(
    draft: Draft,
    collected: readonly Collected[],
    defaults: Readonly<Record<string, string>>,
  ): Generator<undefined, void, undefined> {
    for (const one of collected) {
      if ('foreign' in one) {
        this.#addStock(draft, one.foreign, defaults);
        yield;
        continue;
      }
      for (const [i, series] of one.family.series.entries()) {
        this.#addSeries(draft, one.family, series);
        if (i % 200 === 199) yield;
      }
    }
  }

  #draft(): Draft {
    return { families: new Set(), series: [], numbers: [], natives: [], pages: new Set() };
  }

  #finish({ families, series, numbers, natives, pages }: Draft): Omit<Report, 'removed' | 'bye'> {
    const memory = [...this.#pages].filter(([, index]) => pages.has(index));
    return {
      source: this.#source,
      threadId: this.#threadId,
      families: [...families],
      series,
      numbers,
      natives,
      pages: memory.map(([buffer, index]) => [index, buffer] as const),
    };
  }

  #addSeries(draft: Draft, family: Family, series: Series): void {
    const { page, offset } = series;
    const met = this.#series.get(series);
    // Default labels of the registry that were set since make it another one.
    const same = met !== undefined && met.family === this.#familyOf(family);
    if (met !== undefined && !same) this.#replaced.push(met.id);
    const known = same ? met : this.#meet(draft, series, family);
    const numbers = page.subarray(offset, offset + family.slots);
    this.#note(draft, known, known.last === undefined ? undefined : numbers);
    const { native } = series as Partial<HistogramSeries>;
    if (native === undefined) return;
    const { count } = native;
    if (count === known.nativeCount && !this.#isDue(known)) return;
    known.nativeCount = count;
    draft.natives.push([known.id, native.schema, native.zero, native.runs(), native.runs(true)]);
  }

  #addStock(
    draft: Draft,
    metric: Parameters<typeof stockFamily>[0],
    defaults: Readonly<Record<string, string>>,
  ): void {
    const stock = stockFamily(metric, defaults);
    if (stock === undefined) return;
    const { name, help, type, labels, buckets } = stock;
    // The labels of a stock metric are those it was used with so far.
    const shape = JSON.stringify([name, labels, buckets]);
    const family = this.#families.get(shape) ?? {
      id: this.#families.size,
      name,
      help,
      type,
      labels,
      aggregate: 'sum',
      buckets,
    };
    this.#families.set(shape, family);
    for (const { values, numbers } of stock.series) {
      const key = `${shape}${JSON.stringify(values)}`;
      const known = this.#series.get(key) ?? this.#remember(key, { family, values, slots: numbers.length });
      this.#note(draft, known, numbers);
    }
  }

  #meet(draft: Draft, series: Series, family: Family): Known {
    const reported = this.#familyOf(family);
    const values = [...Object.values(family.constLabels), ...series.values];
    const known = this.#remember(series, {
      family: reported,
      values,
      place: this.#place(series),
      slots: family.slots,
    });
    draft.families.add(reported);
    return known;
  }

  #remember(
    key: unknown,
    {
      family,
      values,
      place,
      slots,
    }: Pick<Known, 'family'> & {
      readonly values: readonly string[];
      readonly place?: readonly [page: number, offset: number] | undefined;
      readonly slots: number;
    },
  ): Known {
    const id = this.#ids++;
    const known: Known = {
      id,
      family,
      definition: [id, family.id, values, ...(place ?? [])],
      last: place === undefined ? new Float64Array(slots).fill(NaN) : undefined,
      nativeCount: -1,
      turn: -1,
    };
    this.#series.set(key, known);
    return known;
  }

  #note(draft: Draft, known: Known, numbers: ArrayLike<number> | undefined): void {
    const due = this.#isDue(known);
    if (due) {
      draft.families.add(known.family);
      draft.series.push(known.definition);
      const [, , , page] = known.definition;
      if (page !== undefined) draft.pages.add(page);
    }
    known.turn = this.#turn;
    const { last } = known;
    if (numbers === undefined || last === undefined) return;
    let changed = due;
    for (let i = 0; i < last.length && !changed; i++) changed = !Object.is(last[i], numbers[i]);
    if (!changed) return;
    last.set(numbers);
    draft.numbers.push([known.id, ...Array.from(last, encode)]);
  }

  #isDue({ id, turn }: Known): boolean {
    return turn < 0 || this.#everything || id % REPEAT_WITHIN === this.#turn % REPEAT_WITHIN;
  }

  #place({ page, offset }: Series): readonly [page: number, offset: number] | undefined {
    const { buffer } = page;
    if (!(buffer instanceof SharedArrayBuffer)) return undefined;
    const index = this.#pages.get(buffer) ?? this.#pages.size;
    this.#pages.set(buffer, index);
    return [index, offset];
  }

  #familyOf(family: Family): ReportedFamily {
    // Another set of constant labels is another shape.
    const shape = family.constLabels;
    const known = this.#families.get(shape);
    if (known !== undefined) return known;
    const { upper, native } = family as unknown as Partial<HistogramFamily>;
    const reported: ReportedFamily = {
      id: this.#families.size,
      name: family.name,
      help: family.help,
      type: family.type,
      labels: [...Object.keys(family.constLabels), ...family.schema.names],
      aggregate: family.aggregate,
      ...(upper === undefined ? {} : { buckets: [...upper] }),
      ...(native === undefined ? {} : { native }),
    };
    this.#families.set(shape, reported);
    return reported;
  }

  #forgetGone(): readonly number[] {
    const removed = this.#replaced.splice(0);
    for (const [key, { id, turn }] of this.#series) {
      if (turn === this.#turn) continue;
      this.#series.delete(key);
      removed.push(id);
    }
    return removed;
  }
}
