import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { RuntimeContext } from './runtime.ts';

const RESOLUTION = 10;

/**
 * prom-client's names for the event loop and the heap. The values differ where prom-client's are wrong: the timer's own
 * interval is taken off, and the histogram starts again on a clock of its own, not whenever somebody reads it.
 */
export function compatibilityMetrics({ collector, clock, signal }: RuntimeContext): void {
  const monitor = monitorEventLoopDelay({ resolution: RESOLUTION });
  monitor.enable();
  const renew = clock.setInterval(() => monitor.reset(), 60_000).unref();
  signal.addEventListener('abort', () => (monitor.disable(), renew.cancel()), { once: true });
  const gauge = (name: string, help: string, read: () => number): void => {
    collector.gauge({ name, help, signal, collect: (self) => self.set(read()) });
  };
  const lag = (nanoseconds: number): number =>
    monitor.count === 0 ? 0 : Math.max(0, nanoseconds / 1e9 - RESOLUTION / 1_000);
  const quantile = (q: number) => (): number => lag(monitor.percentile(q));
  gauge('nodejs_eventloop_lag_seconds', 'Mean lag of the event loop.', () => lag(monitor.mean));
  gauge('nodejs_eventloop_lag_mean_seconds', 'Mean lag of the event loop.', () => lag(monitor.mean));
  gauge('nodejs_eventloop_lag_min_seconds', 'Least lag of the event loop.', () => lag(monitor.min));
  gauge('nodejs_eventloop_lag_max_seconds', 'Greatest lag of the event loop.', () => lag(monitor.max));
  gauge('nodejs_eventloop_lag_p50_seconds', 'Median lag of the event loop.', quantile(50));
  gauge('nodejs_eventloop_lag_p90_seconds', '90th percentile of the lag.', quantile(90));
  gauge('nodejs_eventloop_lag_p99_seconds', '99th percentile of the lag.', quantile(99));
  gauge('nodejs_heap_size_total_bytes', 'Heap size.', () => process.memoryUsage().heapTotal);
  gauge('nodejs_heap_size_used_bytes', 'Heap used.', () => process.memoryUsage().heapUsed);
  gauge('nodejs_external_memory_bytes', 'External memory.', () => process.memoryUsage().external);
}
