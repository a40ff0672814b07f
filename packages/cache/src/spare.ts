import { TimeoutError, withTimeout } from '@xiaoke/core';
import type { Capture, Place } from './capture.ts';
import type { Engine } from './engine.ts';
import type { Flight } from './flight.ts';
import type { Lifetime } from './lifetime.ts';
import { Details, type Stored } from './stored.ts';

/** The expired values of the first tier that stand in when a load fails, or takes too long. */
export class Spares {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  of(place: Place): Stored | undefined {
    const stored = this.#engine.first.peek(place);
    return stored === undefined || stored.details.facts.failed ? undefined : stored;
  }

  /** While a spare value exists, waits no longer than the soft timeout; the load goes on. */
  async waitSoftly(flight: Flight, { softTimeout }: Lifetime): Promise<unknown> {
    const { clock } = this.#engine.options;
    if (softTimeout === Infinity) return flight.promise;
    try {
      return await withTimeout(flight.promise, softTimeout, 'The load', { clock });
    } catch (error) {
      const spare = error instanceof TimeoutError ? this.of(flight.capture.place) : undefined;
      if (spare === undefined) return flight.promise;
      this.#engine.tally.memoryStale += 1;
      return spare.value;
    }
  }

  /**
   * The spare value if there is one; the loader is then left alone for a while.
   *
   * @throws the error of the load, which is remembered if that is wanted
   */
  insteadOf(error: unknown, capture: Capture, lifetime: Lifetime): unknown {
    const { time, tally } = this.#engine;
    const spare = this.of(capture.place);
    if (spare === undefined) {
      if (lifetime.errorTtl > 0)
        this.#engine.keep(capture, error, { freshFor: lifetime.errorTtl, lifetime, failed: true });
      throw error;
    }
    const { facts } = spare.details;
    tally.memoryStale += 1;
    spare.details = Details.of(facts.leftAloneUntil(time.now() + lifetime.errorThrottle));
    this.#engine.first.store.update(capture.place.full, spare);
    return spare.value;
  }
}
