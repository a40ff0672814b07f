import { NativeHistogram } from '../instruments/native-histogram.ts';
import { slotsOf, type Report, type ReportedFamily } from './report.ts';
import type { Contribution, Target } from './target.ts';

/** Finds the series of the sums that a reported one belongs to; nothing for one that fits none. */
export type FindTarget = (family: ReportedFamily, values: readonly string[]) => Target | undefined;

interface Entry {
  readonly target: Target;
  readonly contribution: Contribution;
}

let changes = 0;

/** A process or thread that reports, and what it reported. */
export class Source {
  readonly id: string;
  readonly threadId: number;
  /** When it was heard last, on the monotonic clock. */
  heardAt: number;
  readonly #families = new Map<number, ReportedFamily>();
  readonly #pages = new Map<number, Float64Array>();
  readonly #entries = new Map<number, Entry>();
  #silent = false;

  constructor(id: string, threadId: number, now: number) {
    this.id = id;
    this.threadId = threadId;
    this.heardAt = now;
  }

  get series(): number {
    return this.#entries.size;
  }

  /** Whether its gauges are left out, since it has not been heard for too long. */
  get silent(): boolean {
    return this.#silent;
  }

  set silent(silent: boolean) {
    if (silent === this.#silent) return;
    this.#silent = silent;
    for (const { target, contribution } of this.#entries.values()) {
      contribution.silent = silent;
      target.touch();
    }
  }

  /** Takes a report in. */
  apply(report: Report, find: FindTarget, now: number): void {
    this.heardAt = now;
    this.silent = false;
    for (const family of report.families) this.#families.set(family.id, family);
    for (const [index, memory] of report.pages)
      if (!this.#pages.has(index)) this.#pages.set(index, new Float64Array(memory));
    for (const series of report.series) this.#define(series, find);
    for (const [id, ...numbers] of report.numbers) this.#set(id, numbers);
    for (const native of report.natives) this.#setNative(native);
    for (const id of report.removed) this.#remove(id, false);
  }

  /** Lets go of everything; what it counted stays in the sums. Returns the targets it had part in. */
  retire(): readonly Target[] {
    const targets = [...this.#entries.values()].map(({ target }) => target);
    for (const id of this.#entries.keys()) this.#remove(id, true);
    return targets;
  }

  /** Notices what a thread wrote since the last look, for gauges of which the last value counts. */
  look(): void {
    for (const { contribution } of this.#entries.values()) {
      if (!contribution.shared || contribution.numbers[0] === contribution.seen) continue;
      contribution.seen = contribution.numbers[0] ?? 0;
      contribution.changedAt = ++changes;
    }
  }

  #define([id, familyId, values, page, offset = 0]: Report['series'][number], find: FindTarget): void {
    const family = this.#families.get(familyId);
    if (family === undefined || this.#entries.has(id)) return;
    const memory = page === undefined ? undefined : this.#pages.get(page);
    if (page !== undefined && memory === undefined) return;
    const target = find(family, values);
    if (target === undefined) return;
    const slots = slotsOf(family);
    const contribution: Contribution = {
      numbers: memory?.subarray(offset, offset + slots) ?? new Float64Array(slots),
      shared: memory !== undefined,
      native: undefined,
      silent: this.#silent,
      changedAt: ++changes,
      seen: NaN,
    };
    target.add(contribution);
    this.#entries.set(id, { target, contribution });
  }

  #set(id: number, numbers: readonly (number | string)[]): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    for (const [i, value] of numbers.entries())
      if (i < entry.contribution.numbers.length) entry.contribution.numbers[i] = Number(value);
    entry.contribution.changedAt = ++changes;
    entry.target.touch();
  }

  #setNative([id, schema, zero, positive, negative]: Report['natives'][number]): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    const native = new NativeHistogram(schema, Infinity);
    native.zero = zero;
    native.addRuns(schema, positive);
    native.addRuns(schema, negative, true);
    entry.contribution.native = native;
    entry.target.touch();
  }

  #remove(id: number, ended: boolean): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    entry.target.remove(entry.contribution, ended);
  }
}
