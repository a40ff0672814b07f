import { constants, PerformanceObserver, performance } from 'node:perf_hooks';
import type { RuntimeContext } from './runtime.ts';

// Blocks shorter than this are not seen; every sample costs a wake-up.
const RESOLUTION = 20;

/**
 * How late the event loop is. A timer is due every 20 ms; what it is late by is observed. Unlike
 * `monitorEventLoopDelay`, the interval itself is not part of the value, and nobody's reading resets it.
 */
export function eventLoopMetrics({ collector, counter, clock, signal }: RuntimeContext): void {
  const delay = collector.histogram({
    name: 'nodejs_eventloop_delay_seconds',
    help: 'How late timers run.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  });
  let due = performance.now() + RESOLUTION;
  const timer = clock.setInterval(() => {
    const now = performance.now();
    // Node rounds timers to whole milliseconds and may be up to one early.
    delay.observe(Math.max(0, now - due) / 1_000);
    due = now + RESOLUTION;
  }, RESOLUTION);
  timer.unref();
  signal.addEventListener('abort', () => timer.cancel(), { once: true });
  const utilization = (kind: 'active' | 'idle') => (): number =>
    performance.eventLoopUtilization()[kind] / 1_000;
  counter(
    'nodejs_eventloop_active_seconds_total',
    'Time the event loop was busy; its rate is the utilization.',
    utilization('active'),
  );
  counter('nodejs_eventloop_idle_seconds_total', 'Time the event loop waited.', utilization('idle'));
}

const KINDS: Readonly<Record<number, 'major' | 'minor' | 'incremental' | 'weakcb'>> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

/** Every garbage collection, by kind. */
export function gcMetrics({ collector, signal }: RuntimeContext): void {
  const duration = collector.histogram({
    name: 'nodejs_gc_duration_seconds',
    help: 'Pauses for garbage collection.',
    labels: { kind: ['major', 'minor', 'incremental', 'weakcb'] },
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
  });
  const observer = new PerformanceObserver((list) => {
    // A batch holds many entries; whoever reads only the first counts a burst as one.
    for (const entry of list.getEntries()) {
      const kind = KINDS[(entry as { readonly detail?: { readonly kind?: number } }).detail?.kind ?? -1];
      if (kind !== undefined) duration.observe({ kind }, entry.duration / 1_000);
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  signal.addEventListener('abort', () => observer.disconnect(), { once: true });
}
