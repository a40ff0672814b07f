import type { MetricsSink } from '@xiaoke/core';
import type { QueueInfo } from './inspect.ts';

/** What the gauges need. */
export interface GaugeOptions {
  readonly metrics: MetricsSink;
  /** Fires when the manager closes. */
  readonly signal: AbortSignal;
  readonly inspect: () => Promise<readonly QueueInfo[]>;
}

/**
 * Defines the gauges of queues, filled at scrape time from one question to the backend. They show the whole namespace,
 * so every process that is scraped shows the same: take the maximum over processes, not the sum.
 */
export function defineGauges({ metrics, signal, inspect }: GaugeOptions): void {
  const queue = { queue: String } as const;
  const priority = ['high', 'normal', 'low', 'all'] as const;
  const age = metrics.gauge({
    name: 'xiaoke_queue_oldest_task_age_seconds',
    help: 'How long the oldest task has been ready to run; 0 when none is.',
    labels: { ...queue, state: ['waiting'] },
  });
  const workers = metrics.gauge({
    name: 'xiaoke_queue_workers',
    help: 'Worker pools that serve the queue.',
    labels: queue,
  });
  const slots = metrics.gauge({
    name: 'xiaoke_queue_worker_slots',
    help: 'Slots of these pools; a pool that serves several queues counts in each.',
    labels: { ...queue, state: ['busy', 'idle'] },
  });
  const paused = metrics.gauge({
    name: 'xiaoke_queue_paused',
    help: '1 while the queue hands out nothing.',
    labels: queue,
  });
  metrics.gauge({
    name: 'xiaoke_queue_tasks',
    help: 'Tasks by state; only those ready to run are told apart by priority, the others are "all".',
    labels: { ...queue, state: ['waiting', 'delayed', 'active', 'dead'], priority },
    signal,
    collect: async (tasks) => {
      for (const info of await inspect()) {
        const { states, priorities, held } = info;
        const set = (
          state: 'waiting' | 'delayed' | 'active' | 'dead',
          of: (typeof priority)[number],
          n: number,
        ): void => tasks.set({ queue: info.queue, state, priority: of }, n);
        for (const of of ['high', 'normal', 'low'] as const) set('waiting', of, priorities[of]);
        set('waiting', 'all', held);
        for (const state of ['delayed', 'active', 'dead'] as const) set(state, 'all', states[state]);
        age.set({ queue: info.queue, state: 'waiting' }, info.oldestWaitingAgeSeconds ?? 0);
        workers.set({ queue: info.queue }, info.workers);
        const busy = Math.min(states.active, info.slots);
        slots.set({ queue: info.queue, state: 'busy' }, busy);
        slots.set({ queue: info.queue, state: 'idle' }, info.slots - busy);
        paused.set({ queue: info.queue }, info.paused ? 1 : 0);
      }
    },
  });
}
