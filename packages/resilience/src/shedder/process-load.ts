import {
  monitorEventLoopDelay,
  performance,
  type EventLoopUtilization,
  type IntervalHistogram,
} from 'node:perf_hooks';
import { systemClock, type Timer } from '@xiaoke/core';

/** How busy this process is. */
export interface ProcessLoad {
  /** How late the event loop ran timers in the last interval, 99th percentile. */
  readonly delayMs: number;
  /** Share of the last interval in which the event loop worked. */
  readonly utilization: number;
}

/** Where a shedder reads the load; a test gives its own. */
export interface LoadSource {
  read(): ProcessLoad;
  close(): void;
}

const RESOLUTION = 10;
const INTERVAL = 250;

/** Measures this process. Keeps nothing alive, and measures nothing before the first `read`. */
export class ProcessLoadSource implements LoadSource {
  #histogram: IntervalHistogram | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #before: EventLoopUtilization | undefined = undefined;
  #load: ProcessLoad = { delayMs: 0, utilization: 0 };
  #closed = false;

  read(): ProcessLoad {
    if (this.#histogram === undefined && !this.#closed) this.#start();
    return this.#load;
  }

  close(): void {
    this.#closed = true;
    this.#histogram?.disable();
    this.#timer?.cancel();
  }

  #start(): void {
    this.#histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
    this.#histogram.enable();
    this.#before = performance.eventLoopUtilization();
    this.#timer = systemClock.setInterval(() => this.#sample(), INTERVAL).unref();
  }

  #sample(): void {
    const histogram = this.#histogram;
    if (histogram === undefined) return;
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.#before);
    this.#before = now;
    // The histogram holds the time between two ticks, so an idle loop shows the resolution itself.
    const delayMs = histogram.count === 0 ? 0 : Math.max(0, histogram.percentile(99) / 1e6 - RESOLUTION);
    histogram.reset();
    this.#load = { delayMs, utilization };
  }
}
