import { abortable, sleep } from '@xiaoke/core';
import type { Capture, Place } from './capture.ts';
import type { Loader } from './cache-manager.ts';
import type { Engine } from './engine.ts';
import { LoaderTimeoutError } from './errors.ts';
import type { LoadEnd } from './events.ts';
import { Flight } from './flight.ts';
import { Keeper } from './keeper.ts';
import { checkTags, resolveLifetime, type Lifetime, type LoadOptions } from './lifetime.ts';
import type { Claim, Found, Lease } from './second-tier.ts';
import { Spares } from './spare.ts';
import type { Stored } from './stored.ts';

/** One load with its options resolved. */
interface Request {
  readonly place: Place;
  readonly loader: Loader<unknown>;
  readonly lifetime: Lifetime;
  readonly tags: readonly string[];
}

// How much later than the other process's loader a waiting one may notice its end: an eighth of the time it took.
const PATIENCE = 8;
const SHORTEST_POLL = 2;
const LONGEST_POLL = 50;

/** Loads: who does it, how long it may take, what is served meanwhile, and what is kept. */
export class Loading {
  readonly #engine: Engine;
  readonly #keeper: Keeper;
  readonly #spares: Spares;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#keeper = new Keeper(engine);
    this.#spares = new Spares(engine);
  }

  /** The value of a place whose entry in the first tier is not simply fresh. */
  async getOrSet(place: Place, loader: Loader<unknown>, options: LoadOptions | undefined): Promise<unknown> {
    const engine = this.#engine;
    const request = this.#request(place, loader, options);
    const stored = options?.refresh === true ? undefined : engine.first.find(place, true);
    const served = stored && this.#serve(request, stored);
    if (served !== undefined) return this.#give(served);
    if (options?.refresh !== true) engine.tally.memoryMisses += 1;
    const flight = this.#join(request, options?.refresh === true);
    const result = this.#spares.waitSoftly(flight, request.lifetime);
    return options?.signal === undefined ? result : abortable(result, options.signal);
  }

  #request(place: Place, loader: Loader<unknown>, options: LoadOptions | undefined): Request {
    const lifetime = resolveLifetime(options, this.#engine.options.lifetime);
    return { place, loader, lifetime, tags: checkTags(options?.tags) };
  }

  /** The entry itself, if it can be served now; it may be loaded again behind it. */
  #serve(request: Request, stored: Stored): Stored | undefined {
    const { first, tally, time } = this.#engine;
    const { facts } = stored.details;
    const freshness = first.freshness(stored);
    const mayRetry = time.now() >= facts.retryAt;
    if (freshness === 'fresh') {
      tally.memoryHits += 1;
      this.#engine.hit(request.place.key, 'memory', false);
      if (!facts.failed && time.now() >= facts.refreshAt && mayRetry) this.#refresh(request);
      return stored;
    }
    if (mayRetry && freshness !== 'stale') return undefined;
    tally.memoryStale += 1;
    this.#engine.hit(request.place.key, 'memory', true);
    if (mayRetry) this.#refresh(request);
    return stored;
  }

  #give(stored: Stored): unknown {
    if (stored.details.facts.failed) throw stored.value;
    return stored.value;
  }

  /** Loads behind the callers' backs, unless somebody does already. */
  #refresh(request: Request): void {
    if (this.#engine.flights.joinable(request.place.full) !== undefined) return;
    this.#engine.tally.refreshes += 1;
    this.#start(request, true);
  }

  #join(request: Request, anew: boolean): Flight {
    const { flights, tally } = this.#engine;
    const running = flights.joinable(request.place.full);
    if (running === undefined) return this.#start(request, anew);
    tally.coalesced += 1;
    return running;
  }

  #start(request: Request, anew: boolean): Flight {
    const { captures, flights, background } = this.#engine;
    const tags = this.#engine.tagsOf(request.tags);
    const flight = new Flight(captures.open(request.place, tags));
    flights.add(flight);
    background.run(async () => {
      try {
        flight.resolve(await this.#fly(flight, request, anew));
      } catch (error) {
        flight.reject(error);
      } finally {
        flight.disarm();
        flights.remove(flight);
        captures.close(flight.capture);
      }
    }, 'load a value');
    return flight;
  }

  async #fly(flight: Flight, request: Request, anew: boolean): Promise<unknown> {
    const { second } = this.#engine;
    const found = second && (await this.#look(flight.capture, request, anew));
    if (found?.usable === true) return found.value.value;
    const claim = await this.#claim(flight, request, found?.value);
    if (claim.kind === 'found') {
      this.#engine.tally.coalescedRemotely += 1;
      this.#engine.adopt(flight.capture, claim.found, request.lifetime);
      return claim.found.value;
    }
    return this.#load(flight, request, claim.kind === 'lease' ? claim.lease : undefined);
  }

  /** What the second tier has, and whether it makes the load unnecessary. */
  async #look(
    capture: Capture,
    request: Request,
    anew: boolean,
  ): Promise<{ value: Found; usable: boolean } | undefined> {
    const { tally, first } = this.#engine;
    const value = await this.#engine.look(request.place);
    if (value === undefined) {
      tally.redisMisses += 1;
      return undefined;
    }
    // When it is refreshed ahead of time, only what another process has written since is of use.
    const current = anew ? first.peek(request.place) : undefined;
    const left = current === undefined ? 0 : current.expiresAt - this.#engine.time.now();
    const newer = value.freshFor > Math.max(0, left) + request.lifetime.ttl / 20;
    const usable = anew ? current !== undefined && newer : value.freshFor > 0;
    if (usable) tally.redisHits += 1;
    else tally.redisStale += 1;
    if (usable || current === undefined) this.#engine.adopt(capture, value, request.lifetime);
    return this.#staleServes(request, value, anew) ? { value, usable: true } : { value, usable };
  }

  // A stale value of the second tier is served at once as one of the first is, and loaded again behind it.
  #staleServes(request: Request, value: Found, anew: boolean): boolean {
    if (anew || value.freshFor > 0 || -value.freshFor >= request.lifetime.staleFor) return false;
    // This flight ends now; the refresh is the next one.
    queueMicrotask(() => this.#refresh(request));
    return true;
  }

  /** Gets the right to load, or waits for the process that has it. */
  async #claim(flight: Flight, request: Request, known: Found | undefined): Promise<Claim> {
    const { second, time } = this.#engine;
    const { clock, random } = this.#engine.options;
    const { tags } = flight.capture;
    const started = time.exact();
    for (;;) {
      const claim: Claim = (await second?.claim({ ...request, tags, known })) ?? { kind: 'alone' };
      const waited = time.exact() - started;
      if (claim.kind !== 'busy' || waited >= request.lifetime.loaderTimeout) return claim;
      const poll = Math.min(LONGEST_POLL, Math.max(SHORTEST_POLL, waited / PATIENCE));
      await sleep(poll * (0.75 + random() / 2), { clock, signal: flight.controller.signal });
    }
  }

  async #load(flight: Flight, request: Request, lease: Lease | undefined): Promise<unknown> {
    const { time, tally } = this.#engine;
    // Abandoned while it waited for its turn: nobody is there to load for.
    flight.controller.signal.throwIfAborted();
    const started = time.exact();
    tally.started += 1;
    this.#armTimeout(flight, request, lease);
    try {
      const value = await this.#call(flight, request);
      const loadMs = time.exact() - started;
      const kept = await this.#keeper.keep(flight.capture, lease, {
        value,
        loadMs,
        lifetime: request.lifetime,
      });
      if (!flight.late) this.#ended(flight, { durationMs: loadMs, outcome: 'success', fenced: !kept });
      return value;
    } catch (error) {
      const durationMs = time.exact() - started;
      if (!flight.late) this.#ended(flight, { durationMs, outcome: 'failure', fenced: false, error });
      await lease?.release();
      return this.#spares.insteadOf(error, flight.capture, request.lifetime);
    }
  }

  async #call(flight: Flight, request: Request): Promise<unknown> {
    const spare = this.#spares.of(request.place);
    const context = { key: request.place.key, signal: flight.controller.signal };
    return request.loader(spare === undefined ? context : { ...context, staleValue: spare.value });
  }

  /** When the loader is late its callers are answered; its own result is still taken, for as long again. */
  #armTimeout(flight: Flight, request: Request, lease: Lease | undefined): void {
    const { clock } = this.#engine.options;
    const { loaderTimeout } = request.lifetime;
    flight.arm(clock, loaderTimeout, () => {
      const error = new LoaderTimeoutError(loaderTimeout);
      lease?.stopRenewing();
      flight.abandon(error);
      this.#ended(flight, { durationMs: loaderTimeout, outcome: 'timeout', fenced: false, error });
      try {
        flight.resolve(this.#spares.insteadOf(error, flight.capture, request.lifetime));
      } catch (reason) {
        flight.reject(reason);
      }
      flight
        .arm(clock, loaderTimeout, () => {
          flight.capture.break();
          this.#engine.flights.remove(flight);
          this.#engine.captures.close(flight.capture);
        })
        .unref();
    });
  }

  #ended(flight: Flight, end: LoadEnd): void {
    this.#engine.loadEnded([flight.capture.place.key], end);
  }
}
