import { randomUUID } from 'node:crypto';
import { BroadcastChannel, isMainThread, threadId } from 'node:worker_threads';
import {
  Background,
  InvalidOptionError,
  silentLogger,
  systemClock,
  toMilliseconds,
  type Clock,
  type Closeable,
  type CloseOptions,
  type Duration,
  type Logger,
  type Timer,
} from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import { collectFrom, contextOf, defaultLabels } from '../exposition/scrape.ts';
import type { Family, FamilyContext } from '../instruments/family.ts';
import { familyOf } from '../instruments/registry-metric.ts';
import type { Series } from '../instruments/series.ts';
import { MESSAGE, type Report } from './report.ts';
import { ReportBuilder } from './report-builder.ts';

/** How a worker reports. */
export interface ReporterOptions {
  /** @default '1s' */
  readonly interval?: Duration;
  /** Of a thread: tells several aggregations of one process apart. @default 'xiaoke.metrics' */
  readonly channel?: string;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/** Reports the metrics of this worker until it is closed. */
export interface MetricsReporter extends Closeable {
  /** Reports now; resolves when the message is on its way. */
  report(): Promise<void>;
}

/** How messages leave this worker. */
interface Channel {
  send(message: object): Promise<void>;
  close(): void;
}

class Reporter implements MetricsReporter {
  readonly #collector: MetricsCollector;
  readonly #builder: ReportBuilder;
  readonly #channel: Channel;
  readonly #background: Background;
  readonly #timer: Timer;
  #reporting: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(collector: MetricsCollector, options: ReporterOptions) {
    const { clock = systemClock, logger = silentLogger } = options;
    const interval = toMilliseconds(options.interval ?? '1s', 'interval', { min: 10 });
    this.#collector = collector;
    this.#builder = new ReportBuilder(randomUUID(), threadId);
    this.#background = new Background({ logger });
    this.#channel = isMainThread
      ? processChannel()
      : threadChannel(options.channel ?? MESSAGE, () => this.#builder.repeatAll());
    if (!isMainThread) this.#shareMemory();
    const turn = (): void => this.#background.run(() => this.report(), 'report metrics');
    this.#timer = clock.setInterval(turn, interval).unref();
    turn();
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  // One at a time: a parent that does not read must not make messages pile up here.
  report(): Promise<void> {
    this.#reporting ??= this.#report(false).finally(() => (this.#reporting = undefined));
    return this.#reporting;
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closed ??= this.#close(toMilliseconds(options.timeout ?? 5_000, 'timeout'));
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(timeout: number): Promise<void> {
    this.#timer.cancel();
    const last = async (): Promise<void> => {
      await this.#reporting;
      await this.#report(true);
    };
    this.#background.run(last, 'report metrics a last time');
    await this.#background.settled(timeout);
    this.#channel.close();
  }

  async #report(bye: boolean): Promise<void> {
    const collected = await collectFrom(this.#collector);
    await this.#send(await this.#builder.build(collected, defaultLabels(this.#collector.registry), bye));
  }

  async #send(report: Report): Promise<void> {
    await this.#channel.send({ [MESSAGE]: report });
  }

  /**
   * Moves the numbers of this thread into shared memory: the main thread reads them without asking, also while this one is
   * busy, and still has them when it was killed. New series are announced at once, since a busy thread has no timers.
   */
  #shareMemory(): void {
    const contexts = new Set<FamilyContext>();
    const own = contextOf(this.#collector);
    if (own !== undefined) contexts.add(own);
    const metrics: readonly unknown[] = this.#collector.registry.getMetricsAsArray();
    const families = metrics.map((metric) => familyOf(metric)).filter((family) => family !== undefined);
    for (const { context } of families) contexts.add(context);
    for (const context of contexts) {
      context.pages.share();
      context.onSeries = (family, series) => this.#announce(family, series);
    }
    for (const { context, series: all, slots } of families)
      for (const series of all) series.move(context.pages.allocate(slots), slots);
  }

  #announce(family: Family, series: Series): void {
    if (this.closed) return;
    const send = (): Promise<void> => this.#send(this.#builder.announce(family, series));
    this.#background.run(send, 'announce a series');
  }
}

function processChannel(): Channel {
  if (process.send === undefined) {
    throw new InvalidOptionError(
      'collector',
      'can be reported from a worker thread or a forked process only',
    );
  }
  return {
    send: (message) =>
      new Promise((resolve, reject) => {
        if (!process.connected) resolve();
        else process.send?.(message, undefined, {}, (error) => (error === null ? resolve() : reject(error)));
      }),
    close: () => {},
  };
}

function threadChannel(name: string, onAsked: () => void): Channel {
  const channel = new BroadcastChannel(name);
  channel.onmessage = (event) => {
    if ((event as { readonly data?: unknown }).data === ASK) onAsked();
  };
  channel.unref();
  return {
    send: (message) => {
      channel.postMessage(message);
      return Promise.resolve();
    },
    close: () => channel.close(),
  };
}

/** Sent by whoever begins to listen, so that the next reports have everything. */
export const ASK: string = `${MESSAGE}.ask`;

/**
 * Reports the metrics of this worker to the {@link createMetricsAggregator} of its parent: from a worker thread through
 * shared memory, from a process that was forked (by `cluster` or `child_process`) through its channel.
 *
 * @throws `INVALID_OPTION` in a process without a parent to report to
 */
export function reportMetrics(collector: MetricsCollector, options: ReporterOptions = {}): MetricsReporter {
  return new Reporter(collector, options);
}
