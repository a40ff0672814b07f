import {
  Background,
  InvalidOptionError,
  toMilliseconds,
  type CloseOptions,
  type HealthIndicator,
  type Timer,
} from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import { MetricsError } from '../errors.ts';
import type { MetricSnapshot } from '../snapshot.ts';
import { createHttpApi, type ApiOptions, type AsyncHandler } from './http-api.ts';
import { resolveStoreOptions, type ResolvedStoreOptions, type TimeSeriesStoreOptions } from './options.ts';
import type { Matcher } from './promql/ast.ts';
import { Query, type QueryResult } from './promql/query.ts';
import { labelTest, type Labels, type SeriesData } from './promql/values.ts';
import { Sampler, type IncomingSample } from './sampler.ts';
import { readSeries } from './series-reader.ts';
import { SeriesTable } from './series-table.ts';
import type {
  ExemplarSeries,
  PrometheusRange,
  QueryInstant,
  QueryRange,
  StoreStats,
  TimeSeriesStore,
} from './store.ts';

const MAX_CACHED_QUERIES = 200;

class DefaultStore implements TimeSeriesStore {
  readonly #options: ResolvedStoreOptions;
  readonly #table: SeriesTable;
  readonly #background: Background;
  readonly #samplers = new Set<Sampler>();
  readonly #queries = new Map<string, Query>();
  readonly #timer: Timer;
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #failed = false;

  constructor(options: TimeSeriesStoreOptions) {
    this.#options = resolveStoreOptions(options);
    const { clock, logger, checkpoint } = this.#options;
    this.#background = new Background({ logger, onError: () => void (this.#failed = true) });
    this.#table = new SeriesTable(this.#options, this.#background);
    this.#timer = clock
      .setInterval(
        () => this.#background.run(() => this.#checkpoint(), 'save what is not sealed'),
        checkpoint,
      )
      .unref();
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  open(): Promise<void> {
    if (this.#closing !== undefined)
      return Promise.reject(new MetricsError('STORE_CLOSED', 'the store is closed'));
    this.#opening ??= this.#table.open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  attach(collector: MetricsCollector, options: { readonly labels?: Labels } = {}): () => void {
    const { clock, tiers } = this.#options;
    const source = `collector-${this.#samplers.size}`;
    const sampler = new Sampler({
      collector,
      labels: options.labels ?? {},
      step: tiers[0]?.step ?? 10_000,
      clock,
      background: this.#background,
      take: (slot, samples) => this.#take(slot, samples, source),
    });
    this.#samplers.add(sampler);
    const stop = this.#report(collector);
    return () => {
      sampler.stop();
      stop();
      this.#samplers.delete(sampler);
    };
  }

  async sample(): Promise<void> {
    for (const sampler of this.#samplers) await sampler.sample();
  }

  append(time: number, samples: readonly IncomingSample[], source = 'append'): Promise<void> {
    return this.#take(Math.floor(time / (this.#options.tiers[0]?.step ?? 1)), samples, source);
  }

  async query(promql: string, range: QueryRange | PrometheusRange | QueryInstant = {}): Promise<QueryResult> {
    const query = this.#parse(promql);
    await this.open();
    const { clock, lookback, maxQuerySamples, tiers } = this.#options;
    const limits = { lookback, maxSamples: maxQuerySamples };
    if (!('from' in range || 'start' in range))
      return await query.instant(this, instantOf(range.time ?? clock.now(), 'time'), limits);
    const [from, to] = 'from' in range ? [range.from, range.to] : [range.start, range.end];
    const start = instantOf(from, 'from');
    const end = instantOf(to ?? clock.now(), 'to');
    const finest = tiers[0]?.step ?? 1_000;
    const step =
      range.step === undefined
        ? Math.max(finest, Math.ceil((end - start) / 250 / finest) * finest)
        : toMilliseconds(range.step, 'step', { min: 1 });
    return await query.range(this, { start, end, step }, limits);
  }

  async select(matchers: readonly Matcher[], from: number, to: number): Promise<readonly SeriesData[]> {
    await this.open();
    const matching = this.#table.find(labelTest(matchers), matchers);
    const read = await Promise.all(
      matching.map((series) => readSeries(series, this.#options.storage, from, to)),
    );
    return read.filter(({ timestamps }) => timestamps.length > 0);
  }

  httpApi(options: ApiOptions = {}): AsyncHandler {
    return createHttpApi(this, { clock: this.#options.clock, ...options });
  }

  series(from: number, to: number): readonly Labels[] {
    return this.#table.labelsBetween(from, to);
  }

  metadata(): readonly MetricSnapshot[] {
    return [...this.#samplers].flatMap(({ snapshot }) => snapshot);
  }

  exemplars(): readonly ExemplarSeries[] {
    return [...this.#samplers].flatMap(({ snapshot, labels: extra }) =>
      snapshot.flatMap(({ samples }) =>
        samples.flatMap(({ name, labels, exemplar }) =>
          exemplar === undefined
            ? []
            : [{ labels: { ...extra, ...labels, __name__: name }, exemplars: [exemplar] }],
        ),
      ),
    );
  }

  async flush(): Promise<void> {
    await this.open();
    await this.#table.flush();
  }

  stats(): StoreStats {
    return this.#table.stats();
  }

  healthIndicator(): HealthIndicator {
    const check = (): Promise<{ status: 'healthy' } | { status: 'degraded'; code: string }> =>
      Promise.resolve(
        this.#failed ? { status: 'degraded', code: 'STORE_WRITE_FAILED' } : { status: 'healthy' },
      );
    return { name: 'metrics-store', check };
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(toMilliseconds(options.timeout ?? 5_000, 'timeout'));
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(timeout: number): Promise<void> {
    this.#timer.cancel();
    for (const sampler of this.#samplers) sampler.stop();
    const work = new Background({ logger: this.#options.logger });
    await this.#background.settled(timeout / 2);
    // A store that was never opened has nothing to keep, and must not write over what is there.
    if (this.#opening !== undefined) work.run(() => this.#table.close(timeout / 2), 'close the storage');
    await work.settled(timeout);
  }

  async #take(slot: number, samples: readonly IncomingSample[], source: string): Promise<void> {
    await this.open();
    await this.#table.append(slot, samples, source);
  }

  async #checkpoint(): Promise<void> {
    await this.open();
    await this.#table.checkpoint();
    this.#failed = false;
  }

  #parse(promql: string): Query {
    const known = this.#queries.get(promql);
    if (known !== undefined) return known;
    const query = new Query(promql);
    if (this.#queries.size >= MAX_CACHED_QUERIES) this.#queries.clear();
    this.#queries.set(promql, query);
    return query;
  }

  /** The store's own figures, in the collector that it samples. */
  #report(collector: MetricsCollector): () => void {
    const ended = new AbortController();
    const gauge = (name: string, help: string, read: (stats: StoreStats) => number): void => {
      collector.gauge({ name, help, signal: ended.signal, collect: (self) => self.set(read(this.stats())) });
    };
    gauge('xiaoke_tsdb_series', 'Series in the embedded store.', ({ series }) => series);
    gauge('xiaoke_tsdb_bytes', 'Bytes of chunks in the embedded store.', ({ bytes }) => bytes);
    gauge('xiaoke_tsdb_pending_chunks', 'Chunks that are not kept yet.', ({ pending }) => pending);
    const samples = collector.counter({ name: 'xiaoke_tsdb_samples_total', help: 'Samples the store took.' });
    const dropped = collector.counter({
      name: 'xiaoke_tsdb_dropped_total',
      help: 'Samples the store refused.',
    });
    this.#table.onSamples = (taken, refused) => {
      samples.inc(taken);
      dropped.inc(refused);
    };
    return () => ended.abort();
  }
}

function instantOf(value: number | Date, option: string): number {
  const time = Number(value);
  if (!Number.isFinite(time)) throw new InvalidOptionError(option, 'must be milliseconds or a date');
  return time;
}

/**
 * Makes a store. It begins to work with the first {@link TimeSeriesStore.attach}, append or query.
 *
 * @throws `INVALID_OPTION`
 * @example
 * ```ts
 * import { createTimeSeriesStore } from '@xiaoke/metrics/store';
 * const store = createTimeSeriesStore();
 * await store.append(Date.now(), [{ labels: { __name__: 'up' }, value: 1, kind: 'gauge' }]);
 * const result = await store.query('up + 1');
 * console.log(result.type === 'vector' && result.series[0]?.points[0]?.[1]); // => 2
 * await store.close();
 * ```
 */
export function createTimeSeriesStore(options: TimeSeriesStoreOptions = {}): TimeSeriesStore {
  return new DefaultStore(options);
}
