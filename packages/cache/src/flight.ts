import { TransientMap, type Clock, type Timer } from '@xiaoke/core';
import type { Capture } from './capture.ts';

/** One load of one key, and the promise all its callers share. */
export class Flight {
  readonly capture: Capture;
  readonly promise: Promise<unknown>;
  readonly controller: AbortController = new AbortController();
  resolve!: (value: unknown) => void;
  reject!: (error: unknown) => void;
  #abandoned = false;
  #timer: Timer | undefined;

  constructor(capture: Capture) {
    this.capture = capture;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // A load in the background may have no caller; its failure is counted and reported by the one who runs it.
    this.promise.catch(() => {});
  }

  /** Whether its callers have been answered without it. */
  get late(): boolean {
    return this.#abandoned;
  }

  /** Whether another caller may have its result: not once it is late, or was overtaken by an invalidation. */
  get joinable(): boolean {
    return !this.#abandoned && this.capture.intact;
  }

  /** Its callers have their answer; a result that still comes is kept if nothing newer has come. */
  abandon(reason: unknown): void {
    this.#abandoned = true;
    this.controller.abort(reason);
  }

  /** Runs `onTimeout` after `timeout`, unless it has ended; replaces what was armed before. */
  arm(clock: Clock, timeout: number, onTimeout: () => void): Timer {
    this.#timer?.cancel();
    this.#timer = clock.setTimeout(onTimeout, timeout);
    return this.#timer;
  }

  disarm(): void {
    this.#timer?.cancel();
  }
}

/** The loads that run, one a key. */
export class Flights {
  readonly #flights = new TransientMap<string, Flight>();

  get size(): number {
    return this.#flights.size;
  }

  /** A load of the key that a caller may join. */
  joinable(full: string): Flight | undefined {
    const flight = this.#flights.get(full);
    return flight?.joinable === true ? flight : undefined;
  }

  /** Makes `flight` the load of its key. One that is in its way is not joinable, and must not outdo it. */
  add(flight: Flight): void {
    const { full } = flight.capture.place;
    this.#flights.get(full)?.capture.break();
    this.#flights.set(full, flight);
  }

  remove(flight: Flight): void {
    const { full } = flight.capture.place;
    if (this.#flights.get(full) === flight) this.#flights.delete(full);
  }

  /** Ends all of them. */
  close(reason: unknown): void {
    for (const flight of this.#flights.values()) {
      flight.disarm();
      flight.capture.break();
      flight.abandon(reason);
      flight.reject(reason);
    }
    this.#flights.clear();
  }
}
