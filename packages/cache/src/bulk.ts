import { abortable, sleep, withTimeout } from '@xiaoke/core';
import type { BatchLoader } from './cache-manager.ts';
import type { Place } from './capture.ts';
import type { Engine } from './engine.ts';
import { CacheError, LoaderTimeoutError } from './errors.ts';
import { Flight } from './flight.ts';
import { Keeper } from './keeper.ts';
import { Spares } from './spare.ts';
import { checkTags, resolveLifetime, type Lifetime, type LoadOptions } from './lifetime.ts';
import type { Claim, Found, Lease } from './second-tier.ts';

interface Batch {
  readonly loader: BatchLoader<unknown>;
  readonly lifetime: Lifetime;
  readonly tags: readonly string[];
  readonly refresh: boolean;
}

/** A key this call loads, with the right to do so. */
interface Granted {
  readonly flight: Flight;
  readonly lease: Lease | undefined;
}

const POLL = 10;

/** Reads and loads of many keys at once. */
export class Bulk {
  readonly #engine: Engine;
  readonly #keeper: Keeper;
  readonly #spares: Spares;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#keeper = new Keeper(engine);
    this.#spares = new Spares(engine);
  }

  async getMany(places: readonly Place[]): Promise<Map<string, unknown>> {
    const found = await Promise.all(places.map((place) => this.#read(place)));
    const values = new Map<string, unknown>();
    places.forEach(({ key }, i) => {
      const value = found[i];
      if (value !== undefined) values.set(key, value.value);
    });
    return values;
  }

  async getOrSetMany(
    places: readonly Place[],
    loader: BatchLoader<unknown>,
    options: LoadOptions | undefined,
  ): Promise<Map<string, unknown>> {
    const batch: Batch = {
      loader,
      lifetime: resolveLifetime(options, this.#engine.options.lifetime),
      tags: checkTags(options?.tags),
      refresh: options?.refresh === true,
    };
    const answers = new Map<string, unknown>();
    const waiting: { readonly place: Place; readonly flight: Flight }[] = [];
    const mine: Flight[] = [];
    const stale: Place[] = [];
    for (const place of places) {
      const served = batch.refresh ? undefined : this.serve(place, stale);
      if (served !== undefined) answers.set(place.key, served.value);
      else waiting.push({ place, flight: this.#join(place, batch, mine) });
    }
    if (mine.length > 0) this.#engine.background.run(() => this.#run(mine, batch), 'load a batch of values');
    if (stale.length > 0) this.#refresh(stale, batch);
    const all = this.#collect(places, answers, waiting, batch);
    return options?.signal === undefined ? all : abortable(all, options.signal);
  }

  #read(place: Place): Promise<{ readonly value: unknown } | undefined> {
    const served = this.serve(place);
    if (served !== undefined) return Promise.resolve(served);
    return new Promise((resolve) => {
      this.#engine.fetch(place, resolve);
    });
  }

  /** From the first tier; a stale value only where it can be loaded again behind it. */
  serve(place: Place, stale?: Place[], counted = false): { readonly value: unknown } | undefined {
    const { first, tally, time } = this.#engine;
    const stored = first.find(place, counted);
    const freshness = stored === undefined ? 'dead' : first.freshness(stored);
    if (stored !== undefined && !stored.details.facts.failed) {
      if (freshness === 'fresh') {
        tally.memoryHits += 1;
        this.#engine.hit(place.key, 'memory', false);
        return stored;
      }
      const leaveAlone = time.now() < stored.details.facts.retryAt;
      if (stale !== undefined && (freshness === 'stale' || leaveAlone)) {
        tally.memoryStale += 1;
        this.#engine.hit(place.key, 'memory', true);
        if (!leaveAlone) stale.push(place);
        return stored;
      }
    }
    tally.memoryMisses += 1;
    return undefined;
  }

  #refresh(stale: readonly Place[], batch: Batch): void {
    const mine: Flight[] = [];
    for (const place of stale) {
      if (this.#engine.flights.joinable(place.full) === undefined) this.#join(place, batch, mine);
    }
    this.#engine.tally.refreshes += mine.length;
    this.#engine.background.run(() => this.#run(mine, batch), 'load a batch of values again');
  }

  #join(place: Place, batch: Batch, mine: Flight[]): Flight {
    const { flights, captures, tally } = this.#engine;
    const running = flights.joinable(place.full);
    if (running !== undefined) {
      tally.coalesced += 1;
      return running;
    }
    const flight = new Flight(captures.open(place, this.#engine.tagsOf(batch.tags)));
    flights.add(flight);
    mine.push(flight);
    return flight;
  }

  // max-params: the whole state of one call
  async #collect(
    places: readonly Place[],
    answers: Map<string, unknown>,
    waiting: readonly { readonly place: Place; readonly flight: Flight }[],
    { lifetime }: Batch,
  ): Promise<Map<string, unknown>> {
    const outcomes = await Promise.allSettled(
      waiting.map(({ flight }) => this.#spares.waitSoftly(flight, lifetime)),
    );
    outcomes.forEach((outcome, i) => {
      const key = waiting[i]?.place.key;
      if (key !== undefined && outcome.status === 'fulfilled' && outcome.value !== undefined)
        answers.set(key, outcome.value);
    });
    // One key's own failure leaves only that key out; a failure of the whole batch is the caller's to know.
    for (const outcome of outcomes)
      if (outcome.status === 'rejected' && !(outcome.reason instanceof KeyFailure)) throw outcome.reason;
    const ordered = new Map<string, unknown>();
    for (const { key } of places) if (answers.has(key)) ordered.set(key, answers.get(key));
    return ordered;
  }

  /** Settles every flight, whatever happens. */
  async #run(flights: readonly Flight[], batch: Batch): Promise<void> {
    try {
      const claims = await Promise.all(flights.map((flight) => this.#look(flight, batch)));
      const granted = flights.flatMap((flight, i): Granted[] => grantedBy(flight, claims[i]));
      const busy = flights.filter((_, i) => claims[i]?.kind === 'busy');
      await Promise.all([this.#load(granted, batch), this.#wait(busy, batch)]);
    } catch (error) {
      for (const flight of flights) flight.reject(error);
    } finally {
      for (const flight of flights) {
        flight.disarm();
        this.#engine.flights.remove(flight);
        this.#engine.captures.close(flight.capture);
      }
    }
  }

  /** What the second tier has, else the right to load. A value found resolves the flight. */
  async #look(flight: Flight, batch: Batch): Promise<Claim> {
    const { second, tally } = this.#engine;
    if (second === undefined) return { kind: 'alone' };
    const { place, tags } = flight.capture;
    const found = await this.#engine.look(place);
    if (found === undefined) tally.redisMisses += 1;
    else if (found.freshFor > 0 && !batch.refresh) {
      tally.redisHits += 1;
      return this.#found(flight, found, batch);
    } else tally.redisStale += 1;
    const claim = await second.claim({
      place,
      tags,
      lifetime: batch.lifetime,
      known: found,
    });
    return claim.kind === 'found' ? this.#found(flight, claim.found, batch) : claim;
  }

  #found(flight: Flight, found: Found, { lifetime }: Batch): Claim {
    this.#engine.adopt(flight.capture, found, lifetime);
    flight.resolve(found.value);
    return { kind: 'found', found };
  }

  /** Waits for the processes that load; loads what they left behind. */
  async #wait(flights: readonly Flight[], batch: Batch): Promise<void> {
    const { time } = this.#engine;
    const { clock } = this.#engine.options;
    const deadline = time.exact() + batch.lifetime.loaderTimeout;
    const granted: Granted[] = [];
    let waiting = flights;
    while (waiting.length > 0) {
      await sleep(POLL, { clock });
      const late = time.exact() >= deadline;
      const claims = await Promise.all(
        waiting.map(async (flight): Promise<Claim> => (late ? { kind: 'alone' } : this.#look(flight, batch))),
      );
      granted.push(...waiting.flatMap((flight, i) => grantedBy(flight, claims[i])));
      waiting = waiting.filter((_, i) => claims[i]?.kind === 'busy');
    }
    await this.#load(granted, batch);
  }

  async #load(granted: readonly Granted[], batch: Batch): Promise<void> {
    if (granted.length === 0) return;
    granted[0]?.flight.controller.signal.throwIfAborted();
    const { time, tally } = this.#engine;
    const started = time.exact();
    tally.started += 1;
    const controller = new AbortController();
    this.#armTimeout(granted, batch, controller);
    const missing = granted.map(({ flight }) => flight.capture.place.key);
    try {
      // Late, its callers are answered and its values still taken, for as long again; then it is given up.
      const answer = Promise.resolve(batch.loader(missing, { signal: controller.signal }));
      const loading = abortable(answer, this.#engine.ended);
      const { clock } = this.#engine.options;
      const values = await withTimeout(loading, 2 * batch.lifetime.loaderTimeout, 'The load', {
        clock,
        ref: false,
      });
      if (!(values instanceof Map))
        throw new CacheError('INVALID_VALUE', 'The loader of getOrSetMany must give a Map');
      const durationMs = time.exact() - started;
      if (!controller.signal.aborted)
        this.#engine.loadEnded(missing, { durationMs, outcome: 'success', fenced: false });
      await Promise.all(granted.map((one) => this.#settle(one, values, durationMs, batch)));
    } catch (error) {
      const durationMs = time.exact() - started;
      if (!controller.signal.aborted)
        this.#engine.loadEnded(missing, { durationMs, outcome: 'failure', fenced: false, error });
      await Promise.all(granted.map((one) => this.#fail(one, error, batch)));
    }
  }

  // max-params: what one key of a batch needs
  async #settle(
    { flight, lease }: Granted,
    values: ReadonlyMap<string, unknown>,
    loadMs: number,
    batch: Batch,
  ): Promise<void> {
    const { lifetime } = batch;
    const value = values.get(flight.capture.place.key);
    if (value instanceof Error) return this.#fail({ flight, lease }, new KeyFailure(value), batch);
    const kept = await this.#keeper.keep(flight.capture, lease, { value, loadMs, lifetime });
    if (!kept) this.#engine.tally.fenced += 1;
    flight.resolve(value);
  }

  /** A stale value stands in for a failed load, where there is one. */
  async #fail({ flight, lease }: Granted, error: unknown, { lifetime }: Batch): Promise<void> {
    await lease?.release();
    this.#standIn(flight, error, lifetime);
  }

  #standIn(flight: Flight, error: unknown, lifetime: Lifetime): void {
    try {
      // Errors are not remembered for the keys of a batch: nobody could be told which of its keys it was.
      flight.resolve(this.#spares.insteadOf(error, flight.capture, { ...lifetime, errorTtl: 0 }));
    } catch (reason) {
      flight.reject(reason);
    }
  }

  #armTimeout(granted: readonly Granted[], { lifetime }: Batch, controller: AbortController): void {
    const { clock } = this.#engine.options;
    const error = new LoaderTimeoutError(lifetime.loaderTimeout);
    granted[0]?.flight.arm(clock, lifetime.loaderTimeout, () => {
      const keys = granted.map(({ flight }) => flight.capture.place.key);
      const durationMs = lifetime.loaderTimeout;
      this.#engine.loadEnded(keys, { durationMs, outcome: 'timeout', fenced: false, error });
      controller.abort(error);
      for (const { flight, lease } of granted) {
        lease?.stopRenewing();
        flight.abandon(error);
        this.#standIn(flight, error, lifetime);
      }
    });
  }
}

/** The loader gave an error for one key of a batch. */
class KeyFailure extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

function grantedBy(flight: Flight, claim: Claim | undefined): Granted[] {
  if (claim?.kind === 'lease') return [{ flight, lease: claim.lease }];
  return claim?.kind === 'alone' ? [{ flight, lease: undefined }] : [];
}
