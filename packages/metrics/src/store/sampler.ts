import type { Background, Clock, Timer } from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import type { MetricSnapshot } from '../snapshot.ts';
import type { SeriesKind } from './chunk-storage.ts';
import { TimeSlices } from '../time-slices.ts';
import type { Labels } from './promql/values.ts';

// How long taking samples may hold the event loop, in milliseconds.
const SLICE = 3;

/** One number to be stored. */
export interface IncomingSample {
  /** With `__name__`. */
  readonly labels: Labels;
  readonly value: number;
  readonly kind: SeriesKind;
}

/** Samples a collector at every slot of the finest tier, never two at a time. */
export class Sampler {
  readonly #collector: MetricsCollector;
  readonly #labels: Labels;
  readonly #step: number;
  readonly #clock: Clock;
  readonly #background: Background;
  readonly #take: (slot: number, samples: readonly IncomingSample[]) => Promise<void>;
  #timer: Timer | undefined;
  #stopped = false;
  /** What was read last, for `/metadata` and exemplars; of the samples only those that have one. */
  snapshot: readonly MetricSnapshot[] = [];

  constructor(options: {
    readonly collector: MetricsCollector;
    readonly labels: Labels;
    readonly step: number;
    readonly clock: Clock;
    readonly background: Background;
    readonly take: (slot: number, samples: readonly IncomingSample[]) => Promise<void>;
  }) {
    this.#collector = options.collector;
    this.#labels = options.labels;
    this.#step = options.step;
    this.#clock = options.clock;
    this.#background = options.background;
    this.#take = options.take;
    this.#arm();
  }

  get labels(): Labels {
    return this.#labels;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Samples now, for the slot that now lies in. */
  async sample(): Promise<void> {
    const slot = Math.floor(this.#clock.now() / this.#step);
    const snapshot = await this.#collector.snapshot();
    const samples: IncomingSample[] = [];
    const slices = new TimeSlices(SLICE);
    for (const metric of snapshot) {
      for (const [i, one] of metric.samples.entries()) {
        samples.push(this.#incoming(metric, one));
        if (i % 200 === 199) await slices.turn();
      }
    }
    this.snapshot = snapshot.map((metric) => ({
      ...metric,
      samples: metric.samples.filter(({ exemplar }) => exemplar !== undefined),
      natives: [],
    }));
    await this.#take(slot, samples);
  }

  #incoming(
    { type }: MetricSnapshot,
    { name, labels, value }: MetricSnapshot['samples'][number],
  ): IncomingSample {
    const cumulative = type === 'counter' || (type === 'histogram' && name.endsWith('_bucket'));
    const counted = type === 'histogram' || type === 'summary' ? /_(count|sum)$/.test(name) : false;
    return {
      labels: { ...this.#labels, ...labels, __name__: name },
      value,
      kind: cumulative || counted ? 'counter' : 'gauge',
    };
  }

  #arm(): void {
    if (this.#stopped) return;
    // A little after the slot has begun, so that a timer that fires early does not fall into the slot before.
    const delay = this.#step - (this.#clock.now() % this.#step) + 1;
    this.#timer = this.#clock
      .setTimeout(() => this.#background.run(() => this.#turn(), 'sample metrics for the store'), delay)
      .unref();
  }

  async #turn(): Promise<void> {
    try {
      if (!this.#stopped) await this.sample();
    } finally {
      this.#arm();
    }
  }
}
