import type { Slots } from './value-pages.ts';

/**
 * One series: its label values and where its numbers are. It is also the bound child that callers hold, so an update is
 * an addition to a slot.
 */
export abstract class Series {
  readonly values: readonly string[];
  page: Float64Array;
  offset: number;
  /** The text in front of the value, made by the first scrape. */
  head: string | undefined = undefined;

  constructor(values: readonly string[], slots: Slots) {
    this.values = values;
    this.page = slots.page;
    this.offset = slots.offset;
  }

  /** Copies the numbers to `slots` and goes on there. */
  move(slots: Slots, count: number): void {
    slots.page.set(this.page.subarray(this.offset, this.offset + count), slots.offset);
    this.page = slots.page;
    this.offset = slots.offset;
  }
}
