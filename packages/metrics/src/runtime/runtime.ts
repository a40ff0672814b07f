import type { Clock } from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import { compatibilityMetrics } from './compatibility.ts';
import { eventLoopMetrics, gcMetrics } from './event-loop.ts';
import { heapMetrics, processMetrics } from './process.ts';

/** Which runtime metrics to keep. */
export interface RuntimeOptions {
  /** @default true */
  readonly eventLoop?: boolean;
  /** @default true */
  readonly gc?: boolean;
  /** Also prom-client's names for the event loop and heap, for dashboards made for them. @default false */
  readonly compatibility?: boolean;
}

/** Defines a counter whose total is read at scrape time. */
export type SetCounter = (name: string, help: string, read: () => number) => void;

/** What the runtime metrics are made with. */
export interface RuntimeContext {
  readonly collector: MetricsCollector;
  readonly counter: SetCounter;
  readonly clock: Clock;
  /** Ends them. */
  readonly signal: AbortSignal;
}

/** Starts the runtime metrics of this process. */
export function startRuntime(context: RuntimeContext, options: RuntimeOptions): void {
  processMetrics(context);
  heapMetrics(context);
  if (options.eventLoop !== false) eventLoopMetrics(context);
  if (options.gc !== false) gcMetrics(context);
  if (options.compatibility === true) compatibilityMetrics(context);
}
