import { SLOT, type Chunk } from './chunk-codec.ts';

/** The end of a series that is still being written. */
export class OpenChunk implements Chunk {
  readonly start: number;
  readonly base: number;
  readonly flags: number[] = [];
  readonly columns: number[][];

  constructor(start: number, base: number, columns: number) {
    this.start = start;
    this.base = base;
    this.columns = Array.from({ length: columns }, () => []);
  }

  /** The slot after the last. */
  get end(): number {
    return this.start + this.flags.length;
  }

  /** Writes a slot that lies at or after the end; those in between are missing. */
  append(slot: number, values: readonly number[] | undefined): void {
    while (this.end < slot) this.flags.push(SLOT.MISSING);
    this.flags.push(values === undefined ? SLOT.STALE : SLOT.VALUE);
    if (values === undefined) return;
    for (const [i, column] of this.columns.entries()) column.push(values[i] ?? NaN);
  }
}

/** Last, least, greatest, sum and number of the values of a window that is still open. */
export class WindowStats {
  slot: number;
  last: number = NaN;
  #min = Infinity;
  #max = -Infinity;
  #sum = 0;
  #count = 0;
  stale: boolean = false;

  constructor(slot: number) {
    this.slot = slot;
  }

  add(value: number): void {
    this.last = value;
    this.#min = Math.min(this.#min, value);
    this.#max = Math.max(this.#max, value);
    this.#sum += value;
    this.#count += 1;
    this.stale = false;
  }

  /** The columns of a gauge, or of a counter; `undefined` when the series ended in the window. */
  columns(gauge: boolean): readonly number[] | undefined {
    if (this.stale || this.#count === 0) return undefined;
    return gauge ? [this.last, this.#min, this.#max, this.#sum, this.#count] : [this.last];
  }
}
