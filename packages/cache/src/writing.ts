import { InvalidOptionError } from '@xiaoke/core';
import type { CacheRecord } from './cache-manager.ts';
import type { Capture, Place } from './capture.ts';
import type { Engine } from './engine.ts';
import { CacheError, checkIterable, checkKey, checkValue } from './errors.ts';
import { Keeper } from './keeper.ts';
import { checkTag, checkTags, resolveLifetime, type SetOptions } from './lifetime.ts';
import type { Scope } from './scope.ts';
import type { Draft, WriteOutcome } from './second-tier.ts';

/** Explicit writes and invalidations. Each is checked whole before anything changes. */
export class Writing {
  readonly #engine: Engine;
  readonly #keeper: Keeper;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#keeper = new Keeper(engine);
  }

  async setMany(scope: Scope, records: Iterable<CacheRecord<unknown>>, options?: SetOptions): Promise<void> {
    const drafts = [...checkIterable(records, 'entries')].map((record) =>
      this.#draft(scope, record, options),
    );
    const { second } = this.#engine;
    const captures = drafts.map((draft) => this.#begin(draft));
    let broken: Error | undefined;
    try {
      const outcomes = second === undefined ? [] : await second.write(drafts);
      drafts.forEach((draft, i) => {
        const failure = this.#finish(captures[i], draft, outcomes[i]);
        broken ??= failure;
      });
    } finally {
      for (const capture of captures) this.#engine.captures.close(capture);
    }
    if (broken !== undefined) throw broken;
  }

  /** Whether each was there. */
  async deleteMany(places: readonly Place[]): Promise<readonly boolean[]> {
    const { second, events } = this.#engine;
    const had = places.map((place) => this.#engine.drop(place.full));
    const removed = second === undefined ? [] : await second.remove(places);
    return places.map((place, i) => {
      // Again: a read that began before the second tier's answer may have brought the old value back.
      if (second !== undefined) this.#engine.drop(place.full);
      events.emit('delete', { key: place.key });
      return had[i] === true || removed[i] === true;
    });
  }

  async invalidateTags(tags: readonly string[]): Promise<void> {
    for (const tag of tags) checkTag(tag);
    const counters = this.#engine.tagsOf([...new Set(tags)]);
    for (const counter of counters) counter.seen += 1;
    if (this.#engine.second !== undefined && counters.length > 0) {
      await this.#engine.second.invalidate(counters);
      for (const counter of counters) counter.seen += 1;
    }
    this.#engine.events.emit('invalidate', { tags, origin: 'local' });
  }

  async clear(scope: Scope): Promise<void> {
    const { root, first, second, events } = this.#engine;
    scope.invalidate();
    if (scope === root) first.clear();
    if (second !== undefined) {
      await second.invalidate([scope.generation]);
      scope.invalidate();
    }
    events.emit('invalidate', { tags: [], namespace: scope.path, origin: 'local' });
  }

  #draft(scope: Scope, record: CacheRecord<unknown>, common: SetOptions | undefined): Draft {
    if (!Array.isArray(record))
      throw new InvalidOptionError('entries', 'must hold pairs of a key and a value');
    const [key, value, own] = record as CacheRecord<unknown>;
    checkKey(key);
    checkValue(value);
    const lifetime = resolveLifetime(own, resolveLifetime(common, this.#engine.options.lifetime));
    const tags = this.#engine.tagsOf(checkTags(own?.tags ?? common?.tags));
    const serialized = this.#engine.second?.serialize(value);
    const freshFor = this.#keeper.jittered(lifetime.ttl, lifetime.ttlJitter);
    return { place: { scope, key, full: scope.prefix + key }, value, freshFor, lifetime, tags, serialized };
  }

  // What is written here wins over every load that runs.
  #begin({ place, tags }: Draft): Capture {
    this.#engine.captures.break(place.full);
    return this.#engine.captures.open(place, tags);
  }

  /** What a broken eviction policy made of it: the other entries of the same call must not suffer. */
  #finish(capture: Capture | undefined, draft: Draft, outcome: WriteOutcome | undefined): Error | undefined {
    if (capture === undefined) return undefined;
    const { captures, first, options, events } = this.#engine;
    const { place, value, lifetime } = draft;
    captures.break(place.full, capture);
    const freshFor = outcome === 'away' ? Math.min(draft.freshFor, options.ttlWithoutRedis) : draft.freshFor;
    let broken: Error | undefined;
    try {
      // Not intact: somebody else wrote or deleted it meanwhile, and only the second tier knows who was last.
      if (!capture.intact) first.remove(place.full, 'deleted');
      else if (!first.put(capture, value, { freshFor, lifetime })) first.remove(place.full, 'capacity');
    } catch (error) {
      first.remove(place.full, 'capacity');
      broken = error instanceof Error ? error : new CacheError('EVICTION_POLICY', String(error));
    }
    if (broken === undefined) events.emit('set', { key: place.key });
    return broken;
  }
}
