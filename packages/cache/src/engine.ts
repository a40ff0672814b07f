import { Background, IsolatedEmitter, noopMetrics, type CloseOptions } from '@xiaoke/core';
import { Captures, type Capture, type Place } from './capture.ts';
import { CoarseTime } from './coarse-time.ts';
import { CounterRegistry, type Counter } from './counters.ts';
import { CacheError } from './errors.ts';
import type { CacheEvents, LoadEnd, Tier } from './events.ts';
import { FirstTier, type Term } from './first-tier.ts';
import { Flights } from './flight.ts';
import type { Lifetime } from './lifetime.ts';
import { CacheMetrics, type Filling } from './metrics.ts';
import type { ResolvedCacheOptions } from './options.ts';
import { Scope } from './scope.ts';
import type { Found, Receiver, SecondTier, SecondTierListener } from './second-tier.ts';
import { statsOf, Tally, type CacheStats } from './stats.ts';

/** Makes the second tier of a cache, if it has one. */
export type MakeSecondTier = (
  options: ResolvedCacheOptions,
  parts: {
    listener: SecondTierListener;
    tally: Tally;
    time: CoarseTime;
    counters: CounterRegistry;
    root: Scope;
  },
) => SecondTier | undefined;

/** What all namespaces of one cache share: both tiers, what is on its way between them, and what they count. */
export class Engine {
  readonly options: ResolvedCacheOptions;
  readonly time: CoarseTime;
  readonly events: IsolatedEmitter<CacheEvents>;
  readonly background: Background;
  readonly captures: Captures = new Captures();
  readonly flights: Flights = new Flights();
  readonly counters: CounterRegistry = new CounterRegistry();
  readonly root: Scope;
  readonly first: FirstTier;
  readonly second: SecondTier | undefined;
  readonly tally: Tally = new Tally();
  /** Undefined when nobody wants them. */
  readonly metrics: CacheMetrics | undefined;
  closed = false;
  /** Whether anybody ever listened to hits; asking the emitter each time would cost half of what a hit does. */
  watchesHits = false;
  #closing: Promise<void> | undefined;
  readonly #ended = new AbortController();

  constructor(options: ResolvedCacheOptions, makeSecondTier: MakeSecondTier) {
    this.options = options;
    this.time = new CoarseTime(options.clock);
    this.events = new IsolatedEmitter({ logger: options.logger });
    this.background = new Background({
      logger: options.logger,
      onError: (error) => this.events.emit('error', error),
    });
    this.root = new Scope(options.lifetime);
    this.first = new FirstTier(options, {
      time: this.time,
      tally: this.tally,
      events: this.events,
      touch: (place, life) => this.second?.touch(place, life),
    });
    this.metrics = this.#createMetrics();
    this.second = makeSecondTier(options, {
      listener: this.#listener(),
      tally: this.tally,
      time: this.time,
      counters: this.counters,
      root: this.root,
    });
  }

  /** Fires when the cache is closed. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** @throws CacheError `CACHE_CLOSED` */
  checkOpen(): void {
    if (this.closed) throw new CacheError('CACHE_CLOSED', 'The cache is closed');
  }

  tagsOf(tags: readonly string[]): readonly Counter[] {
    return tags.map((tag) => this.counters.tag(tag));
  }

  /** The fresh value of the place from the second tier, kept in the first. `receive` must not throw. */
  fetch(place: Place, receive: (found: Found | undefined) => void): void {
    if (this.second === undefined) receive(undefined);
    else this.second.read(place, new Fetch(this, this.captures.beginRead(place), receive));
  }

  /** What the second tier has, fresh or not. */
  look(place: Place): Promise<Found | undefined> {
    return new Promise((resolve) => {
      if (this.second === undefined) resolve(undefined);
      else this.second.read(place, { receive: resolve });
    });
  }

  /**
   * Keeps in the first tier what the second had, unless it was overtaken on the way. Whoever asked for it may have it in any
   * case, since he asked before that.
   */
  adopt(capture: Capture, found: Found, lifetime: Lifetime = this.options.lifetime): void {
    if (!capture.intact) return;
    // The tags came with the value: it counts from the moment they were compared with their versions, which is now.
    const kept = found.tags.length === 0 ? capture : capture.withTags(found.tags);
    const { freshFor, loadMs, idleTtl } = found;
    const own = idleTtl === lifetime.idleTtl ? lifetime : { ...lifetime, idleTtl };
    this.keep(kept, found.value, { freshFor, lifetime: own, loadMs });
    if (idleTtl > 0 && freshFor > 0) this.second?.touch(capture.place, Math.min(idleTtl, freshFor));
  }

  /** Puts a value into the first tier. A broken eviction policy must not cost the caller the value it asked for. */
  keep(capture: Capture, value: unknown, term: Term): void {
    try {
      this.first.put(capture, value, term);
    } catch (error) {
      this.first.remove(capture.place.full, 'capacity');
      this.metrics?.error('memory', 'policy');
      this.events.emit('error', error);
    }
  }

  /** Tells who listens that a read gave a value. */
  hit(key: string, tier: Tier, stale: boolean): void {
    if (this.watchesHits) this.events.emit('hit', { key, tier, stale });
  }

  /** Tells who listens that a read found nothing. */
  missed(key: string): void {
    if (this.events.listenerCount('miss') > 0) this.events.emit('miss', { key });
  }

  stats(): CacheStats {
    return statsOf(this.tally, {
      entries: this.first.store.size,
      bytes: this.first.store.bytes,
      running: this.flights.size,
      state: this.second?.state ?? 'none',
      pendingInvalidations: this.second?.pending ?? 0,
    });
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  resetStats(): void {
    this.metrics?.flush();
    this.tally.reset();
    this.metrics?.rebase();
  }

  /** A load has ended, or its callers were told that it is late. */
  loadEnded(keys: readonly string[], end: LoadEnd): void {
    const { durationMs, outcome } = end;
    this.tally.loaded(durationMs);
    if (outcome === 'success') this.tally.succeeded += 1;
    else if (outcome === 'timeout') this.tally.timedOut += 1;
    else this.tally.failed += 1;
    if (end.fenced) this.tally.fenced += 1;
    this.metrics?.load(durationMs);
    if (this.events.listenerCount('load') > 0)
      for (const key of keys) this.events.emit('load', { key, ...end });
  }

  #createMetrics(): CacheMetrics | undefined {
    const { metrics: sink, name } = this.options;
    if (sink === noopMetrics) return undefined;
    const { tally, first } = this;
    const filling = (): Filling => ({ entries: first.store.size, bytes: first.store.bytes });
    return new CacheMetrics({ sink, name, tally, filling, signal: this.#ended.signal });
  }

  async #close(options: CloseOptions): Promise<void> {
    this.closed = true;
    this.metrics?.flush();
    const reason = new CacheError('CACHE_CLOSED', 'The cache was closed while the value was loaded');
    this.flights.close(reason);
    this.#ended.abort(reason);
    await this.second?.close(options);
    this.first.close();
    this.time.close();
  }

  #listener(): SecondTierListener {
    return {
      onKeys: (path, keys) => {
        const scope = this.root.find(path);
        if (scope !== undefined) for (const key of keys) this.drop(scope.prefix + key);
      },
      onCounters: (versions) => this.#heardOf(versions),
      onGap: (first) => {
        this.counters.forgetShared();
        this.root.suspect();
        if (first) return;
        this.tally.gaps += 1;
        this.events.emit('gap');
      },
      onState: (state, reason) =>
        this.events.emit('redis', reason === undefined ? { state } : { state, reason }),
      onFailure: (op) => this.metrics?.error('redis', op),
      onReject: (place, reason) => this.events.emit('reject', { key: place.key, reason }),
    };
  }

  /** The key was deleted or overwritten: nothing of it, and nothing on its way, may be kept. */
  drop(full: string, mine?: Capture): boolean {
    this.captures.break(full, mine);
    return this.first.remove(full, 'deleted');
  }

  #heardOf(versions: readonly (readonly [id: string, version: number])[]): void {
    const tags: string[] = [];
    for (const [id, version] of versions) {
      const scope = id.startsWith('g') ? this.root.find(id.slice(1)) : undefined;
      const counter = scope?.generation ?? this.counters.find(id);
      if (scope !== undefined) scope.invalidate();
      else if (counter !== undefined) counter.seen += 1;
      // 0 is a counter that had to be deleted: whoever makes it anew decides where it begins.
      if (counter !== undefined) counter.shared = version === 0 ? undefined : version;
      if (id.startsWith('t')) tags.push(id.slice(1));
      else this.events.emit('invalidate', { tags: [], namespace: id.slice(1), origin: 'remote' });
    }
    if (tags.length > 0) this.events.emit('invalidate', { tags, origin: 'remote' });
  }
}

/** A read on its way to the second tier and back. A promise for each of its steps would cost as much as the rest. */
class Fetch implements Receiver {
  readonly #engine: Engine;
  readonly #capture: Capture;
  readonly #answer: (found: Found | undefined) => void;

  constructor(engine: Engine, capture: Capture, answer: (found: Found | undefined) => void) {
    this.#engine = engine;
    this.#capture = capture;
    this.#answer = answer;
  }

  receive(found: Found | undefined): void {
    const { tally, captures } = this.#engine;
    const fresh = found !== undefined && found.freshFor > 0;
    if (fresh) {
      tally.redisHits += 1;
      this.#engine.hit(this.#capture.place.key, 'redis', false);
      this.#engine.adopt(this.#capture, found);
    } else tally.redisMisses += 1;
    captures.endRead();
    this.#answer(fresh ? found : undefined);
  }
}
