import { BroadcastChannel } from 'node:worker_threads';
import {
  InvalidOptionError,
  silentLogger,
  systemClock,
  toMilliseconds,
  type Clock,
  type Closeable,
  type Duration,
  type Logger,
} from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import { createMetricsCollector } from '../default-collector.ts';
import { collectFrom, defaultLabels } from '../exposition/scrape.ts';
import type { Aggregation } from '../instruments/family.ts';
import type { Series } from '../instruments/series.ts';
import { Families } from './families.ts';
import { MESSAGE, reportIn, type Report, type ReportedFamily } from './report.ts';
import { ReportBuilder } from './report-builder.ts';
import { ASK } from './reporter.ts';
import { Source } from './source.ts';
import { TimeSlices } from '../time-slices.ts';
import { Target } from './target.ts';

/** How metrics of several processes and threads become one. */
export interface MetricsAggregatorOptions {
  /** This process's own, which is then part of the sums. */
  readonly local?: MetricsCollector;
  /** Label sets of one metric; beyond it, one overflow series keeps the sum. @default 10000 */
  readonly seriesPerMetric?: number;
  /** How gauges of these names become one, where their own definition does not say. */
  readonly gauges?: Readonly<Record<string, Aggregation>>;
  /** When the gauges of a source that says nothing are left out. @default '30s' */
  readonly silentAfter?: Duration;
  /** Of the threads to listen to. @default 'xiaoke.metrics' */
  readonly channel?: string;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/** A process that was forked: `ChildProcess`, or a worker of `cluster`. */
export interface ForkedProcess {
  on(event: 'message', listener: (message: unknown) => void): unknown;
  on(event: 'disconnect', listener: () => void): unknown;
  off(event: 'message', listener: (message: unknown) => void): unknown;
  off(event: 'disconnect', listener: () => void): unknown;
}

/** Node's `cluster`, in its primary. */
export interface ClusterLike {
  readonly workers?: Readonly<Record<string, ForkedProcess | undefined>> | undefined;
  on(event: 'fork', listener: (worker: ForkedProcess) => void): unknown;
  off(event: 'fork', listener: (worker: ForkedProcess) => void): unknown;
}

/** A worker thread. */
export interface ThreadLike {
  readonly threadId: number;
  once(event: 'exit', listener: () => void): unknown;
}

/** Where sums come from. */
export interface AggregatedSource {
  readonly id: string;
  /** 0 for a process. */
  readonly threadId: number;
  readonly series: number;
  readonly silent: boolean;
}

/**
 * One collector with the sums of many: counters, histograms and summaries add up, gauges do as they say.
 *
 * Guarantees: a counter never falls because a worker ended, however it ended; a worker that is busy, stopped or gone never
 * delays a scrape; what a thread counted is in the sums at once, what a process counted within its interval. Not part of
 * the sums: quantiles of summaries, exemplars.
 */
export interface MetricsAggregator extends Closeable {
  /** The sums: serve its `handler()`, attach it to a store, push it. */
  readonly collector: MetricsCollector;
  /** Listens to the workers of `cluster`, those to come too. */
  cluster(cluster: ClusterLike): this;
  /** Listens to a process that was forked, or notes when a thread ends. */
  watch(worker: ForkedProcess | ThreadLike): this;
  sources(): readonly AggregatedSource[];
}

// A source that was silent for so long has ended; it may have done so without a word.
const GIVEN_UP_AFTER = 20;
// How long adding up may hold the event loop, in milliseconds.
const SLICE = 3;

class DefaultAggregator implements MetricsAggregator {
  readonly collector: MetricsCollector;
  readonly #options: MetricsAggregatorOptions;
  readonly #clock: Clock;
  readonly #silentAfter: number;
  readonly #families: Families;
  readonly #targets = new Map<Series, Target>();
  readonly #sources = new Map<string, Source>();
  readonly #ended = new Set<string>();
  readonly #local: ReportBuilder;
  readonly #channel: BroadcastChannel;
  readonly #stops: (() => void)[] = [];
  #closed = false;

  constructor(options: MetricsAggregatorOptions) {
    const { clock = systemClock, logger = silentLogger, seriesPerMetric = 10_000 } = options;
    this.#options = options;
    this.#clock = clock;
    this.#silentAfter = toMilliseconds(options.silentAfter ?? '30s', 'silentAfter', { min: 1 });
    this.collector = createMetricsCollector({
      limits: { seriesPerMetric },
      // Those of the sources are summed under the same names.
      selfMetrics: false,
      exemplars: false,
      // Adding up is bounded by itself.
      collectTimeout: '10s',
      logger,
      clock,
    });
    this.#families = new Families(this.collector, options.gauges ?? {}, logger);
    this.#local = new ReportBuilder('local', 0);
    this.#channel = this.#listen(options.channel ?? MESSAGE);
    this.#defineGauge();
  }

  get closed(): boolean {
    return this.#closed;
  }

  cluster(cluster: ClusterLike): this {
    if (typeof cluster?.on !== 'function') throw new InvalidOptionError('cluster', "must be node's cluster");
    for (const worker of Object.values(cluster.workers ?? {})) if (worker !== undefined) this.watch(worker);
    const fork = (worker: ForkedProcess): void => void this.watch(worker);
    cluster.on('fork', fork);
    this.#stops.push(() => void cluster.off('fork', fork));
    return this;
  }

  watch(worker: ForkedProcess | ThreadLike): this {
    if ('threadId' in worker) {
      // The number is gone once the thread has ended.
      const { threadId } = worker;
      worker.once('exit', () => this.#retireThread(threadId));
      return this;
    }
    if (typeof worker?.on !== 'function')
      throw new InvalidOptionError('worker', 'must be a process or a thread');
    const own = new Set<string>();
    const message = (received: unknown): void => {
      const report = reportIn(received);
      if (report === undefined) return;
      own.add(report.source);
      this.#apply(report);
    };
    // Comes after the last message, also of a process that was killed.
    const disconnect = (): void => {
      for (const id of own) this.#retire(id);
    };
    worker.on('message', message);
    worker.on('disconnect', disconnect);
    this.#stops.push(() => {
      worker.off('message', message);
      worker.off('disconnect', disconnect);
    });
    return this;
  }

  sources(): readonly AggregatedSource[] {
    return [...this.#sources.values()].map(({ id, threadId, series, silent }) => ({
      id,
      threadId,
      series,
      silent,
    }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#channel.close();
    for (const stop of this.#stops.splice(0)) stop();
    await this.collector.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #listen(name: string): BroadcastChannel {
    const channel = new BroadcastChannel(name);
    channel.onmessage = (event) => {
      const report = reportIn((event as { readonly data?: unknown }).data);
      if (report !== undefined) this.#apply(report);
    };
    channel.unref();
    channel.postMessage(ASK);
    return channel;
  }

  // Its collection, before each scrape, is what brings the sums up to date.
  #defineGauge(): void {
    const gauge = this.collector.gauge({
      name: 'xiaoke_metrics_sources',
      help: 'Processes and threads whose metrics are added up.',
      labels: { state: ['heard', 'silent'] },
      collect: async () => {
        await this.#refresh();
        const silent = [...this.#sources.values()].filter((source) => source.silent).length;
        gauge.set({ state: 'heard' }, this.#sources.size - silent);
        gauge.set({ state: 'silent' }, silent);
      },
    });
  }

  async #refresh(): Promise<void> {
    const { local } = this.#options;
    if (local !== undefined) {
      const collected = await collectFrom(local);
      this.#apply(await this.#local.build(collected, defaultLabels(local.registry)));
    }
    this.#notice();
    const slices = new TimeSlices(SLICE);
    let done = 0;
    for (const target of this.#targets.values()) {
      target.refresh();
      if (++done % 200 === 0) await slices.turn();
    }
  }

  #notice(): void {
    const now = this.#clock.monotonic();
    for (const source of this.#sources.values()) {
      const quiet = now - source.heardAt;
      source.silent = quiet > this.#silentAfter;
      source.look();
      if (quiet > this.#silentAfter * GIVEN_UP_AFTER) this.#retire(source.id);
    }
  }

  #apply(report: Report): void {
    if (this.#closed || this.#ended.has(report.source)) return;
    const now = this.#clock.monotonic();
    const source = this.#sources.get(report.source) ?? new Source(report.source, report.threadId, now);
    this.#sources.set(report.source, source);
    source.apply(report, (family, values) => this.#find(family, values), now);
    if (report.removed.length > 0) this.#dropEmpty();
    if (report.bye) this.#retire(report.source);
  }

  #find(reported: ReportedFamily, values: readonly string[]): Target | undefined {
    const family = this.#families.of(reported);
    if (family === undefined) return undefined;
    // Label values in the order of the first definition.
    const own = family.schema.names.map((name) => values[reported.labels.indexOf(name)] ?? '');
    const series = family.byValues(own);
    const target = this.#targets.get(series) ?? new Target(family, series, family.aggregate);
    this.#targets.set(series, target);
    return target;
  }

  #retireThread(threadId: number): void {
    for (const source of this.#sources.values()) if (source.threadId === threadId) this.#retire(source.id);
  }

  #retire(id: string): void {
    const source = this.#sources.get(id);
    if (source === undefined) return;
    this.#sources.delete(id);
    // Whatever of it is still on its way would be counted twice.
    this.#ended.add(id);
    const [oldest] = this.#ended;
    if (this.#ended.size > 1_000 && oldest !== undefined) this.#ended.delete(oldest);
    source.retire();
    this.#dropEmpty();
  }

  #dropEmpty(): void {
    for (const [series, target] of this.#targets) {
      if (!target.empty) continue;
      this.#targets.delete(series);
      target.family.detach(series);
    }
  }
}

/**
 * Makes an aggregator. It hears all threads of this process that call {@link reportMetrics}, and the processes that it is
 * told to watch.
 *
 * @throws `INVALID_OPTION`
 * @example
 * ```ts
 * import cluster from 'node:cluster';
 * import { createServer } from 'node:http';
 * import { createMetricsCollector } from '@xiaoke/metrics';
 * import { createMetricsAggregator, reportMetrics } from '@xiaoke/metrics/aggregation';
 *
 * const metrics = createMetricsCollector();
 * if (cluster.isPrimary) {
 *   const all = createMetricsAggregator({ local: metrics }).cluster(cluster);
 *   createServer(all.collector.handler()).listen(9_100);
 *   cluster.fork();
 * } else {
 *   reportMetrics(metrics);
 * }
 * ```
 */
export function createMetricsAggregator(options: MetricsAggregatorOptions = {}): MetricsAggregator {
  return new DefaultAggregator(options);
}
