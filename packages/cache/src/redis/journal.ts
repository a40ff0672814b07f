import type { Place } from '../capture.ts';
import type { Counter } from '../counters.ts';

/** Invalidations that Redis has not seen yet. */
export interface PendingInvalidations {
  readonly places: readonly Place[];
  readonly counters: readonly Counter[];
}

/**
 * What was invalidated while Redis was away, once each. Beyond its bound it forgets what it was and asks for the whole
 * namespace to be invalidated, which is never too little.
 */
export class Journal {
  readonly #places = new Map<string, Place>();
  readonly #counters = new Map<string, Counter>();
  readonly #limit: number;
  readonly #everything: Counter;

  /** @param everything - the counter that invalidates all there is */
  constructor(limit: number, everything: Counter) {
    this.#limit = limit;
    this.#everything = everything;
  }

  get size(): number {
    return this.#places.size + this.#counters.size;
  }

  addPlaces(places: readonly Place[]): void {
    for (const place of places) this.#places.set(place.full, place);
    this.#bound();
  }

  addCounters(counters: readonly Counter[]): void {
    for (const counter of counters) this.#counters.set(counter.id, counter);
    this.#bound();
  }

  /** Everything that waits, which is then no longer waiting; put it back if it cannot be done. */
  take(): PendingInvalidations {
    const taken = { places: [...this.#places.values()], counters: [...this.#counters.values()] };
    this.#places.clear();
    this.#counters.clear();
    return taken;
  }

  putBack({ places, counters }: PendingInvalidations): void {
    this.addPlaces(places);
    this.addCounters(counters);
  }

  #bound(): void {
    if (this.size <= this.#limit) return;
    this.#places.clear();
    this.#counters.clear();
    this.#counters.set(this.#everything.id, this.#everything);
  }
}
