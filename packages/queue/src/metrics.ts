import { noopMetrics, type MetricsSink } from '@xiaoke/core';
import type { Outcome } from './backend.ts';
import { PRIORITIES } from './task-options.ts';
import type { ActiveTask } from './worker/active-task.ts';
import type { Envelope } from './envelope.ts';

/** What this process did, in numbers; read with `manager.stats()`. */
export interface QueueStats {
  readonly enqueued: number;
  readonly duplicates: number;
  readonly started: number;
  readonly completed: number;
  readonly retried: number;
  readonly dead: number;
  readonly cancelled: number;
  readonly expired: number;
  readonly stalled: number;
  readonly backendErrors: number;
  readonly active: number;
  readonly slots: number;
  readonly handlerErrors: number;
  readonly waitingForResults: number;
}

const MAX_ANNOUNCED = 1_000;

/** Counts and observes into a metrics sink, and keeps the totals for `stats()`. */
export class QueueMetrics {
  readonly totals: {
    -readonly [K in Exclude<keyof QueueStats, 'active' | 'slots' | 'waitingForResults'>]: number;
  } = {
    enqueued: 0,
    duplicates: 0,
    started: 0,
    completed: 0,
    retried: 0,
    dead: 0,
    cancelled: 0,
    expired: 0,
    stalled: 0,
    backendErrors: 0,
    handlerErrors: 0,
  };
  readonly #sink;
  readonly #announced = new Set<string>();
  /** Nobody looks: labels are not made for nothing. */
  readonly #silent: boolean;

  constructor(metrics: MetricsSink) {
    this.#silent = metrics === noopMetrics;
    const task = { queue: String, task: String } as const;
    this.#sink = {
      enqueued: metrics.counter({
        name: 'xiaoke_queue_tasks_enqueued_total',
        help: 'Tasks the backend took.',
        labels: { ...task, priority: ['high', 'normal', 'low'] },
      }),
      attempts: metrics.counter({
        name: 'xiaoke_queue_task_attempts_total',
        help: 'Attempts started.',
        labels: task,
      }),
      finished: metrics.counter({
        name: 'xiaoke_queue_tasks_finished_total',
        help: 'Tasks that came to their end, by how.',
        labels: { ...task, outcome: ['completed', 'failed', 'timeout', 'cancelled', 'expired'] },
      }),
      retries: metrics.counter({
        name: 'xiaoke_queue_task_retries_total',
        help: 'Attempts that failed and will be repeated.',
        labels: { ...task, reason: ['error', 'later'] },
      }),
      dead: metrics.counter({
        name: 'xiaoke_queue_dead_letters_total',
        help: 'Tasks that went to the dead letters, by why.',
        labels: { ...task, reason: String },
      }),
      stalled: metrics.counter({
        name: 'xiaoke_queue_stalled_total',
        help: 'Tasks put back because their worker was lost.',
        labels: { queue: String },
      }),
      wait: metrics.histogram({
        name: 'xiaoke_queue_task_wait_seconds',
        help: 'From enqueued to started, for first attempts.',
        labels: { queue: String, priority: ['high', 'normal', 'low'] },
      }),
      duration: metrics.histogram({
        name: 'xiaoke_queue_task_duration_seconds',
        help: 'How long attempts ran.',
        labels: { ...task, outcome: ['completed', 'failed', 'timeout', 'cancelled', 'expired'] },
      }),
      lag: metrics.histogram({
        name: 'xiaoke_queue_schedule_lag_seconds',
        help: 'From when a schedule was due to when it fired.',
        labels: { schedule: String },
      }),
      errors: metrics.counter({
        name: 'xiaoke_queue_backend_errors_total',
        help: 'Calls to the backend that failed.',
        labels: { backend: ['memory', 'redis', 'rabbitmq'], op: String },
      }),
    };
  }

  enqueued(queue: string, task: string, priority: 0 | 1 | 2, duplicate: boolean): void {
    if (duplicate) {
      this.totals.duplicates += 1;
      return;
    }
    this.totals.enqueued += 1;
    if (this.#silent) return;
    this.#sink.enqueued.inc({ queue, task, priority: priorityName(priority) });
  }

  started(task: ActiveTask): void {
    this.totals.started += 1;
    if (this.#silent) return;
    const { queue, name, envelope } = task;
    this.#announce(queue, name);
    this.#sink.attempts.inc({ queue, task: name });
    if (task.attempt === 1) {
      const wait = Math.max(0, task.startedAt - envelope.enqueuedAt) / 1_000;
      this.#sink.wait.observe({ queue, priority: priorityName(envelope.priority) }, wait);
    }
  }

  settled(task: ActiveTask, outcome: Outcome, durationMs: number, reason: string): void {
    if (outcome.kind === 'return') return;
    this.totals[outcome.kind === 'retry' ? 'retried' : outcome.kind] += 1;
    if (this.#silent) return;
    const { queue, name } = task;
    if (outcome.kind === 'retry') {
      this.#sink.retries.inc({ queue, task: name, reason: outcome.counted ? 'error' : 'later' });
      const failure = task.stopped?.cause === 'timeout' ? 'timeout' : 'failed';
      this.#sink.duration.observe({ queue, task: name, outcome: failure }, durationMs / 1_000);
      return;
    }
    if (outcome.kind === 'dead') this.#sink.dead.inc({ queue, task: name, reason });
    const how = outcome.kind === 'dead' ? (reason === 'TIMEOUT' ? 'timeout' : 'failed') : outcome.kind;
    this.#sink.finished.inc({ queue, task: name, outcome: how });
    this.#sink.duration.observe({ queue, task: name, outcome: how }, durationMs / 1_000);
  }

  // A rate sees the first failure only of a series that stood at zero before.
  #announce(queue: string, task: string): void {
    const key = `${queue}\n${task}`;
    if (this.#announced.has(key) || this.#announced.size >= MAX_ANNOUNCED) return;
    this.#announced.add(key);
    for (const reason of ['error', 'later'] as const) this.#sink.retries.inc({ queue, task, reason }, 0);
    for (const reason of ['ATTEMPTS_EXHAUSTED', 'NON_RETRYABLE', 'TIMEOUT'])
      this.#sink.dead.inc({ queue, task, reason }, 0);
    this.#sink.stalled.inc({ queue }, 0);
  }

  stalled(queue: string): void {
    this.totals.stalled += 1;
    this.#sink.stalled.inc({ queue });
  }

  scheduleLag(schedule: string, seconds: number): void {
    this.#sink.lag.observe({ schedule }, Math.max(0, seconds));
  }

  backendError(backend: 'memory' | 'redis' | 'rabbitmq', op: string): void {
    this.totals.backendErrors += 1;
    this.#sink.errors.inc({ backend, op });
  }
}

function priorityName(priority: Envelope['priority']): 'high' | 'normal' | 'low' {
  return PRIORITIES[priority] ?? 'normal';
}
