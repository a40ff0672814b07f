import {
  toMilliseconds,
  type CloseOptions,
  type Decorator,
  type HealthIndication,
  type HealthIndicator,
  type KeyTemplate,
} from '@xiaoke/core';
import { Bulk } from './bulk.ts';
import { cachedDecorator } from './cached.ts';
import type {
  BatchLoader,
  CachedOptions,
  CacheManager,
  CacheRecord,
  Loader,
  WarmOptions,
  WarmReport,
  WarmSource,
} from './cache-manager.ts';
import type { Place } from './capture.ts';
import type { Engine } from './engine.ts';
import { checkIterable, checkKey, CacheError } from './errors.ts';
import type { CacheEvent, CacheListener } from './events.ts';
import { checkLoadOptions, type LoadOptions, type SetOptions } from './lifetime.ts';
import { Loading } from './loading.ts';
import { checkNamespace } from './options.ts';
import type { Scope } from './scope.ts';
import type { CacheStats } from './stats.ts';
import { Details } from './stored.ts';
import { warm } from './warm.ts';
import { Writing } from './writing.ts';

/** {@link CacheManager} on an {@link Engine}: the hit path, and the way to everything else. */
export class Cache<V> implements CacheManager<V> {
  readonly #engine: Engine;
  readonly #scope: Scope;
  readonly #loading: Loading;
  readonly #writing: Writing;
  readonly #bulk: Bulk;

  constructor(engine: Engine, scope: Scope) {
    this.#engine = engine;
    this.#scope = scope;
    this.#loading = new Loading(engine);
    this.#writing = new Writing(engine);
    this.#bulk = new Bulk(engine);
  }

  get closed(): boolean {
    return this.#engine.closed;
  }

  on<E extends CacheEvent>(event: E, listener: CacheListener<E>): this {
    return this.#listen(this.#engine.events.on(event, listener));
  }

  once<E extends CacheEvent>(event: E, listener: CacheListener<E>): this {
    return this.#listen(this.#engine.events.once(event, listener));
  }

  off<E extends CacheEvent>(event: E, listener: CacheListener<E>): this {
    return this.#listen(this.#engine.events.off(event, listener));
  }

  // The methods up to getOrSet are written for the hit: one lookup, one comparison, no promise of their own.
  getSync(key: string): V | undefined {
    const slot = this.#find(key);
    if (slot === undefined || !this.#isFresh(slot)) return this.#getSlowly(key);
    this.#engine.tally.memoryHits += 1;
    this.#engine.hit(key, 'memory', false);
    return this.#engine.first.store.slots.valueOf(slot) as V;
  }

  peek(key: string): V | undefined {
    checkIsText(key);
    const stored = this.#engine.first.store.peek(this.#scope.prefix + key);
    if (stored === undefined) return undefined;
    const { facts } = stored.details;
    const usable = facts.scope === this.#scope && facts.valid() && !facts.failed;
    return usable && this.#engine.first.freshness(stored) === 'fresh' ? (stored.value as V) : undefined;
  }

  get(key: string): Promise<V | undefined> {
    const slot = this.#find(key);
    if (slot !== undefined && this.#isFresh(slot)) return this.#hit(slot, key);
    return this.#get(key, slot !== undefined);
  }

  getOrSet(key: string, loader: Loader<V>, options?: LoadOptions): Promise<V> {
    const slot = this.#find(key);
    if (slot !== undefined && options?.refresh !== true && this.#isFresh(slot)) return this.#hit(slot, key);
    return this.#getOrSet(key, loader, options);
  }

  async has(key: string): Promise<boolean> {
    return (await this.#bulk.getMany([this.#place(key)])).size > 0;
  }

  async set(key: string, value: V, options?: SetOptions): Promise<void> {
    this.#engine.checkOpen();
    await this.#writing.setMany(this.#scope, [[key, value, options]] as CacheRecord<V>[]);
  }

  async setMany(entries: Iterable<CacheRecord<V>>, options?: SetOptions): Promise<void> {
    this.#engine.checkOpen();
    await this.#writing.setMany(this.#scope, entries, options);
  }

  async delete(key: string): Promise<boolean> {
    const [removed] = await this.#writing.deleteMany([this.#place(key)]);
    return removed === true;
  }

  async deleteMany(keys: Iterable<string>): Promise<number> {
    const removed = await this.#writing.deleteMany(this.#places(keys));
    return removed.filter(Boolean).length;
  }

  async clear(): Promise<void> {
    this.#engine.checkOpen();
    await this.#writing.clear(this.#scope);
  }

  async getMany(keys: Iterable<string>): Promise<Map<string, V>> {
    return (await this.#bulk.getMany(this.#places(keys))) as Map<string, V>;
  }

  async getOrSetMany(
    keys: Iterable<string>,
    loader: BatchLoader<V>,
    options?: LoadOptions,
  ): Promise<Map<string, V>> {
    checkLoader(loader);
    const places = this.#places(keys);
    return (await this.#bulk.getOrSetMany(places, loader, options)) as Map<string, V>;
  }

  async invalidateTags(...tags: string[]): Promise<void> {
    this.#engine.checkOpen();
    await this.#writing.invalidateTags(tags);
  }

  namespace<N = V>(name: string): CacheManager<N> {
    checkNamespace(name, 'namespace');
    return new Cache<N>(this.#engine, this.#scope.child(name));
  }

  async warm(source: WarmSource<V>, options?: WarmOptions): Promise<WarmReport> {
    this.#engine.checkOpen();
    const {
      options: { clock, logger },
      ended,
    } = this.#engine;
    return warm(this, source, { clock, logger, ended }, options);
  }

  cached(template?: KeyTemplate | CachedOptions, options: CachedOptions = {}): Decorator {
    const cache = this as unknown as CacheManager;
    checkLoadOptions(typeof template === 'object' ? template : options);
    if (typeof template === 'object')
      return cachedDecorator(cache, this.#scope.cachedNames, undefined, template);
    return cachedDecorator(cache, this.#scope.cachedNames, template, options);
  }

  stats(): CacheStats {
    return this.#engine.stats();
  }

  resetStats(): void {
    this.#engine.resetStats();
  }

  async ready(options: { readonly timeout?: number | string } = {}): Promise<boolean> {
    const timeout = toMilliseconds(options.timeout ?? '5s', 'timeout');
    return this.#engine.second === undefined ? false : this.#engine.second.ready(timeout);
  }

  healthIndicator(): HealthIndicator {
    const { second, options } = this.#engine;
    return {
      name: `cache:${options.name}`,
      check: async (): Promise<HealthIndication> => {
        if (this.closed) return { status: 'unhealthy', code: 'CACHE_CLOSED' };
        return second === undefined ? { status: 'healthy' } : second.health();
      },
    };
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#engine.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #listen(events: Engine['events']): this {
    this.#engine.watchesHits = events.listenerCount('hit') > 0;
    return this;
  }

  // Joined to a prefix, anything would pass for a text.
  #find(key: string): number | undefined {
    return typeof key === 'string' ? this.#engine.first.store.slot(this.#scope.prefix + key) : undefined;
  }

  #isFresh(slot: number): boolean {
    return this.#engine.first.store.slots.isFresh(slot, this.#scope.validity, this.#engine.time.now());
  }

  #hit(slot: number, key: string): Promise<V> {
    const { slots } = this.#engine.first.store;
    this.#engine.tally.memoryHits += 1;
    this.#engine.hit(key, 'memory', false);
    const details = slots.detailsOf(slot) as Details;
    if (details.promise !== undefined) return details.promise as Promise<V>;
    const promise = Promise.resolve(slots.valueOf(slot) as V);
    // The promise of an entry that is read a second time is kept: making one costs more than finding the entry.
    const { plain, warm: warmed } = this.#scope;
    if (details === plain) slots.describe(slot, warmed);
    else slots.describe(slot, new Details(details.fast, details.facts, promise));
    return promise;
  }

  #getSlowly(key: string): V | undefined {
    const { first, tally } = this.#engine;
    const stored = first.find(this.#place(key), true);
    if (stored === undefined || stored.details.facts.failed || first.freshness(stored) !== 'fresh') {
      tally.memoryMisses += 1;
      return undefined;
    }
    tally.memoryHits += 1;
    this.#engine.hit(key, 'memory', false);
    return stored.value as V;
  }

  #get(key: string, known: boolean): Promise<V | undefined> {
    return new Promise((resolve) => {
      const place = this.#place(key);
      const served = known ? this.#bulk.serve(place, undefined, true) : undefined;
      if (!known) this.#engine.tally.memoryMisses += 1;
      if (served !== undefined) {
        resolve(served.value as V);
        return;
      }
      this.#engine.fetch(place, (found) => {
        if (found === undefined) this.#engine.missed(key);
        resolve(found?.value as V | undefined);
      });
    });
  }

  async #getOrSet(key: string, loader: Loader<V>, options: LoadOptions | undefined): Promise<V> {
    const place = this.#place(key);
    checkLoader(loader);
    return (await this.#loading.getOrSet(place, loader as Loader<unknown>, options)) as V;
  }

  #place(key: string): Place {
    this.#engine.checkOpen();
    checkKey(key);
    return { scope: this.#scope, key, full: this.#scope.prefix + key };
  }

  #places(keys: Iterable<string>): readonly Place[] {
    const seen = new Set<string>();
    for (const key of checkIterable(keys, 'keys')) {
      checkKey(key);
      seen.add(key);
    }
    return [...seen].map((key) => this.#place(key));
  }
}

function checkIsText(key: unknown): void {
  if (typeof key !== 'string') checkKey(key);
}

function checkLoader(loader: unknown): void {
  if (typeof loader !== 'function') throw new CacheError('INVALID_VALUE', 'The loader must be a function');
}
