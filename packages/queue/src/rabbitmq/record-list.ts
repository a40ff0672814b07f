import type { LedgerRecord } from './ledger-record.ts';

// Symbols, so that no snapshot shows where a record stands.
const LIST: unique symbol = Symbol('list');
const PREVIOUS: unique symbol = Symbol('previous');
const NEXT: unique symbol = Symbol('next');

/** What a record needs to stand in a list. */
export interface Linked {
  [LIST]?: RecordList | undefined;
  [PREVIOUS]?: LedgerRecord | undefined;
  [NEXT]?: LedgerRecord | undefined;
}

/**
 * Records in the order they came, linked through themselves: a record is in one list at most, and moving it costs no look into
 * the table of a Set, which for a hundred thousand records is a microsecond each time.
 */
export class RecordList implements Iterable<LedgerRecord> {
  #first: LedgerRecord | undefined;
  #last: LedgerRecord | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The oldest. */
  get first(): LedgerRecord | undefined {
    return this.#first;
  }

  add(record: LedgerRecord): void {
    if (record[LIST] === this) return;
    record[LIST]?.delete(record);
    const last = this.#last;
    record[LIST] = this;
    record[PREVIOUS] = last;
    if (last === undefined) this.#first = record;
    else last[NEXT] = record;
    this.#last = record;
    this.#size += 1;
  }

  delete(record: LedgerRecord): void {
    if (record[LIST] !== this) return;
    const previous = record[PREVIOUS];
    const next = record[NEXT];
    if (previous === undefined) this.#first = next;
    else previous[NEXT] = next;
    if (next === undefined) this.#last = previous;
    else next[PREVIOUS] = previous;
    // A record that is gone must not keep its neighbours.
    record[LIST] = undefined;
    record[PREVIOUS] = undefined;
    record[NEXT] = undefined;
    this.#size -= 1;
  }

  clear(): void {
    for (const record of this) this.delete(record);
  }

  /** The record at hand may leave the list meanwhile, for good, and others may come; no other one may leave. */
  *[Symbol.iterator](): Generator<LedgerRecord, void, undefined> {
    let record = this.#first;
    while (record !== undefined) {
      const next: LedgerRecord | undefined = record[NEXT];
      yield record;
      record = record[LIST] === this ? record[NEXT] : next;
    }
  }
}
