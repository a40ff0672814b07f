import { withTimeout, type Background } from '@xiaoke/core';
import type { ChunkStorage, NewChunk } from './chunk-storage.ts';
import type { ResolvedStoreOptions } from './options.ts';
import type { Matcher } from './promql/ast.ts';
import { labelKey, type Labels } from './promql/values.ts';
import type { IncomingSample } from './sampler.ts';
import type { StoreStats } from './store.ts';
import { mostOpenBytes, StoredSeries, type SealedChunk } from './stored-series.ts';

// How long appending may hold the event loop, in milliseconds.
const SLICE = 5;
// A storage that failed is left alone for this long, in milliseconds.
const RETRY_AFTER = 5_000;
// A rough measure of what an open series takes beside its values.
const SERIES_BYTES = 400;
// Room is made a little before the limit, since all series may close a window at once, and a little more than is needed,
// so that not every sample has to make its own.
const FULL = 0.95;
const ROOMY = 0.9;

/** All series of a store, and what is not kept yet. */
export class SeriesTable {
  /** Told how many samples each append took and refused. */
  onSamples: (taken: number, refused: number) => void = () => {};
  readonly #options: ResolvedStoreOptions;
  readonly #storage: ChunkStorage;
  readonly #background: Background;
  readonly #byName = new Map<string, Map<string, StoredSeries>>();
  /** By source, what it had the last time. */
  readonly #present = new Map<string, Set<StoredSeries>>();
  #pending: { readonly chunk: SealedChunk; readonly address: NewChunk }[] = [];
  #pendingBytes = 0;
  #series = 0;
  /** What all series take at most while they are open. */
  #committed = 0;
  /** As of the last time it was counted, and what began since. */
  #openBytes = 0;
  /** What a sample adds to open chunks at most, its share of longer windows included; until they are counted again. */
  readonly #sampleBytes: number;
  #samples = 0;
  #dropped = 0;
  #flushing: Promise<void> | undefined;
  #retryAt = 0;

  constructor(options: ResolvedStoreOptions, background: Background) {
    this.#options = options;
    this.#background = background;
    this.#storage = options.storage;
    const [finest, ...coarser] = options.tiers;
    const windows = coarser.reduce((sum, { step }) => sum + (finest?.step ?? 0) / step, 0);
    this.#sampleBytes = 8 + 5 * 8 * windows;
  }

  /** Learns what the storage holds. */
  async open(): Promise<void> {
    const stored = await this.#storage.open();
    for (const { labels, kind, step, start, slots, handle } of stored) {
      const series = this.#make(labels, labelKey(labels), kind);
      const data = series.tiers.find(({ tier }) => tier.step === step);
      data?.sealed.push({ start, slots, payload: undefined, handle });
    }
    for (const series of this.#all()) {
      for (const data of series.tiers) data.sealed.sort((a, b) => a.start - b.start);
    }
    this.#background.run(() => this.#retain(), 'let go of what is too old');
  }

  /** Adds the samples of one slot, giving way to other work, and marks what `source` no longer has as ended. */
  async append(slot: number, samples: readonly IncomingSample[], source: string): Promise<void> {
    const present = new Set<StoredSeries>();
    const before = [this.#samples, this.#dropped] as const;
    let started = performance.now();
    for (const { labels, value, kind } of samples) {
      const series = this.#seriesFor(labels, kind);
      if (series !== undefined) present.add(series);
      if (series?.append(slot, value, this.#seal) === true) this.#samples += 1;
      else this.#dropped += 1;
      if (performance.now() - started < SLICE) continue;
      await new Promise((resolve) => setImmediate(resolve));
      started = performance.now();
    }
    for (const series of this.#present.get(source) ?? []) {
      if (!present.has(series)) series.end(slot, this.#seal);
    }
    this.#present.set(source, present);
    this.onSamples(this.#samples - before[0], this.#dropped - before[1]);
    this.#openBytes += this.#sampleBytes * samples.length;
    if (this.#total() > this.#options.maxBytes * FULL) await this.#makeRoom();
    // Not waited for: with the storage away, samples are taken all the same.
    if (this.#pending.length > 0 && this.#flushing === undefined) this.#flushLater();
  }

  /** Gives everything sealed to the storage; what it does not take stays pending. */
  async flush(): Promise<void> {
    // One that is under way does not know of what was sealed since.
    await this.#flushing?.catch(() => {});
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  /** Saves what is open, and lets go of what is too old or too much. */
  async checkpoint(): Promise<void> {
    await this.flush();
    await this.#storage.saveHeads([...this.#all()].flatMap((series) => series.heads()));
    await this.#retain();
  }

  async close(timeout: number): Promise<void> {
    for (const series of this.#all()) series.sealAll(this.#seal);
    const last = async (): Promise<void> => {
      await this.#flushing?.catch(() => {});
      await this.flush();
      await this.#storage.saveHeads([]);
    };
    try {
      await withTimeout(last(), timeout, 'keeping the last chunks');
    } finally {
      await this.#storage.close();
    }
  }

  /** The series that pass `test`; the matchers only narrow the search. */
  find(test: (labels: Labels) => boolean, matchers: readonly Matcher[]): readonly StoredSeries[] {
    const name = matchers.find((matcher) => matcher.name === '__name__' && matcher.op === '=')?.value;
    const found: StoredSeries[] = [];
    const candidates =
      name === undefined ? [...this.#byName.values()] : [this.#byName.get(name) ?? new Map()];
    for (const group of candidates as readonly Map<string, StoredSeries>[]) {
      for (const series of group.values()) if (test(series.labels)) found.push(series);
    }
    return found;
  }

  labelsBetween(from: number, to: number): readonly Labels[] {
    const within = (start: number, slots: number, step: number): boolean =>
      start * step <= to && (start + slots) * step > from;
    const alive = (series: StoredSeries): boolean =>
      series.tiers.some(
        ({ sealed, head, tier }) =>
          sealed.some(({ start, slots }) => within(start, slots, tier.step)) ||
          (head !== undefined && within(head.start, head.flags.length, tier.step)),
      );
    return [...this.#all()].filter(alive).map(({ labels }) => labels);
  }

  stats(): StoreStats {
    this.#countOpen();
    let oldest: number | undefined;
    for (const { tiers } of this.#all()) {
      for (const { sealed, head, tier } of tiers) {
        const start = sealed[0]?.start ?? head?.start;
        if (start !== undefined) oldest = Math.min(oldest ?? Infinity, start * tier.step);
      }
    }
    return {
      series: this.#series,
      bytes: this.#total(),
      samples: this.#samples,
      dropped: this.#dropped,
      pending: this.#pending.length,
      oldest,
    };
  }

  readonly #seal = (chunk: SealedChunk, address: NewChunk): void => {
    this.#pending.push({ chunk, address });
    this.#pendingBytes += address.payload.length;
  };

  #flushLater(): void {
    const now = this.#options.clock.monotonic();
    if (now < this.#retryAt) return;
    this.#retryAt = now + RETRY_AFTER;
    this.#background.run(async () => {
      await this.flush();
      this.#retryAt = 0;
    }, 'keep sealed chunks');
  }

  async #flush(): Promise<void> {
    // A copy: more may be sealed while this is written.
    const batch = [...this.#pending];
    if (batch.length === 0) return;
    try {
      const handles = await this.#storage.write(batch.map(({ address }) => address));
      for (const [i, { chunk }] of batch.entries()) {
        chunk.handle = handles[i];
        if (chunk.newest !== true) chunk.payload = undefined;
      }
      // More may have been sealed meanwhile, and some of these let go.
      const kept = new Set(batch);
      for (const one of this.#pending) if (kept.has(one)) this.#pendingBytes -= one.address.payload.length;
      this.#pending = this.#pending.filter((one) => !kept.has(one));
    } finally {
      await this.#retain();
    }
  }

  // The samples were taken, whatever becomes of the room.
  async #makeRoom(): Promise<void> {
    try {
      await this.#retain();
    } catch (error) {
      this.#background.run(() => Promise.reject(error), 'make room in the storage');
    }
  }

  /** Applies the tiers' `keep` and the byte limit, oldest first. */
  async #retain(): Promise<void> {
    const now = this.#options.clock.now();
    this.#countOpen();
    const limit = this.#options.maxBytes * ROOMY;
    try {
      for (const { step, keep } of this.#options.tiers) await this.#storage.dropBefore(step, now - keep);
      while (this.#total() > limit) {
        if (!(await this.#storage.dropOldest())) break;
      }
    } finally {
      this.#trim(limit);
      this.#forget(now);
    }
  }

  // With the storage down, pending chunks are all there is to let go of.
  #trim(limit: number): void {
    while (this.#pendingBytes + this.#openBytes > limit) {
      const oldest = this.#pending.shift();
      if (oldest === undefined) break;
      this.#pendingBytes -= oldest.address.payload.length;
      this.#dropped += 1;
      oldest.chunk.payload = undefined;
    }
  }

  #forget(now: number): void {
    for (const [name, group] of this.#byName) {
      for (const [key, series] of group) {
        if (series.forget(now) || this.#isPresent(series)) continue;
        group.delete(key);
        this.#series -= 1;
        this.#committed -= SERIES_BYTES + mostOpenBytes(series.kind, this.#options.tiers);
      }
      if (group.size === 0) this.#byName.delete(name);
    }
  }

  #isPresent(series: StoredSeries): boolean {
    for (const present of this.#present.values()) if (present.has(series)) return true;
    return false;
  }

  #seriesFor(labels: Labels, kind: StoredSeries['kind']): StoredSeries | undefined {
    const key = labelKey(labels);
    const known = this.#byName.get(labels['__name__'] ?? '')?.get(key);
    if (known !== undefined) return known;
    // By what it will need once its open chunks are full, or the limit could not be kept later.
    const most = SERIES_BYTES + mostOpenBytes(kind, this.#options.tiers);
    if (this.#committed + most > this.#options.maxBytes) return undefined;
    return this.#make(labels, key, kind);
  }

  #make(labels: Labels, key: string, kind: StoredSeries['kind']): StoredSeries {
    const name = labels['__name__'] ?? '';
    const group = this.#byName.get(name) ?? new Map<string, StoredSeries>();
    this.#byName.set(name, group);
    const known = group.get(key);
    if (known !== undefined) return known;
    const series = new StoredSeries(labels, key, kind, this.#options.tiers);
    group.set(key, series);
    this.#series += 1;
    this.#committed += SERIES_BYTES + mostOpenBytes(kind, this.#options.tiers);
    this.#openBytes += SERIES_BYTES;
    return series;
  }

  #total(): number {
    return this.#storage.bytes + this.#pendingBytes + this.#openBytes;
  }

  #countOpen(): void {
    let bytes = 0;
    for (const series of this.#all()) bytes += SERIES_BYTES + series.openBytes;
    this.#openBytes = bytes;
  }

  *#all(): Generator<StoredSeries, void, undefined> {
    for (const group of this.#byName.values()) yield* group.values();
  }
}
