import type { Background } from '@xiaoke/core';
import type { Backend, Outcome } from '../backend.ts';
import type { QueueEvents } from '../events.ts';
import { LazyIsolation } from '../isolation/lazy-isolation.ts';
import type { QueueMetrics } from '../metrics.ts';
import type { ResolvedQueueOptions } from '../options.ts';
import type { BackoffFunctions } from '../producer.ts';
import { parse, parseFailure } from '../records.ts';
import type { Results } from '../results.ts';
import { QueueError } from '../errors.ts';
import { noTracing, type Tracing } from '../tracing.ts';
import type { ActiveTask } from './active-task.ts';
import type { Handlers } from './handlers.ts';
import { Notes } from './notes.ts';
import { Pool, type WorkerPool } from './pool.ts';
import { Runner } from './runner.ts';

/** Emits the events of a manager. */
export interface QueueEmitter {
  emit<K extends keyof QueueEvents>(event: K, ...args: QueueEvents[K]): boolean;
  listenerCount(event: keyof QueueEvents): number;
}

/** What running tasks needs of its manager. */
export interface WorkerHostOptions {
  readonly options: ResolvedQueueOptions;
  readonly backend: Backend;
  readonly handlers: Handlers;
  readonly metrics: QueueMetrics;
  readonly results: Results;
  readonly functions: BackoffFunctions;
  readonly background: Background;
  readonly emitter: QueueEmitter;
  failed(error: unknown, op: string): void;
}

/** The worker pools of one manager, and what follows from each outcome. */
export class WorkerHost {
  tracing: Tracing = noTracing;
  readonly #host: WorkerHostOptions;
  readonly #pools = new Set<Pool>();
  readonly #notes: Notes;
  readonly #isolation: LazyIsolation;
  readonly #runner: Runner;

  constructor(host: WorkerHostOptions) {
    this.#host = host;
    const { options, backend, emitter, metrics } = host;
    this.#notes = new Notes(backend, options.clock, host.background);
    this.#isolation = new LazyIsolation({ clock: options.clock, graceMs: options.graceMs });
    this.#runner = new Runner({
      handlers: host.handlers,
      schemas: options.schemas,
      clock: options.clock,
      random: options.random,
      logger: options.logger,
      graceMs: options.graceMs,
      payloadLimit: options.payloadLimit,
      maxStalls: options.maxStalls,
      isolation: this.#isolation,
      notesWritten: (task) => this.#notes.written(task),
      backoffOf: (id) => host.functions.of(id),
      traced: (task, work) => this.tracing.run(task.envelope.traceparent, task.name, work),
      started: (task) => {
        metrics.started(task);
        if (emitter.listenerCount('started') === 0) return;
        const { id, name, queue, attempt } = task;
        emitter.emit('started', { id, name, queue, attempt });
      },
      noteProgress: (task, progress) => {
        this.#notes.progress(task, progress);
        emitter.emit('progress', { id: task.id, name: task.name, queue: task.queue, progress });
      },
      noteLine: (task, line) => this.#notes.line(task, line),
      childResults: async (task) => {
        const results = await backend.childResults(task.id, task.envelope.children ?? []);
        return new Map([...results].map(([id, text]) => [id, parse(text)]));
      },
    });
  }

  get active(): number {
    return [...this.#pools].reduce((sum, pool) => sum + pool.active, 0);
  }

  get slots(): number {
    return [...this.#pools].reduce((sum, pool) => sum + pool.count, 0);
  }

  start(count: number, queues: readonly string[]): WorkerPool {
    const { options, backend } = this.#host;
    const pool = new Pool({
      backend,
      queues,
      count,
      weights: options.weights,
      leaseMs: options.leaseMs,
      runner: this.#runner,
      clock: options.clock,
      random: options.random,
      logger: options.logger,
      settled: (task, outcome) => this.#settled(task, outcome),
      failed: (error) => this.#host.failed(error, 'turn'),
      closed: (closed) => this.#pools.delete(closed),
    });
    this.#pools.add(pool);
    return pool;
  }

  async close(timeoutMs: number): Promise<void> {
    await Promise.all([...this.#pools].map((pool) => pool.close({ timeoutMs })));
    await this.#notes.flush();
    await this.#isolation.close(Math.max(100, Math.min(2_000, timeoutMs)));
  }

  #settled(task: ActiveTask, outcome: Outcome): void {
    const { emitter, metrics, results, functions } = this.#host;
    const { id, name, queue } = task;
    const durationMs = Math.max(0, this.#host.backend.now() - task.startedAt);
    if (outcome.kind === 'completed') {
      metrics.settled(task, outcome, durationMs, '');
      functions.drop(id);
      const awaited = results.isAwaited(id);
      if (!awaited && emitter.listenerCount('completed') === 0) return;
      const result = parse(outcome.result);
      emitter.emit('completed', { id, name, queue, result, durationMs });
      results.deliver(id, { value: result });
      return;
    }
    if (outcome.kind === 'return') return;
    const { error, reason } = parseFailure(outcome.error);
    metrics.settled(task, outcome, durationMs, reason);
    if (outcome.kind === 'retry') {
      emitter.emit('retrying', { id, name, queue, attempt: task.attempt, delayMs: outcome.delayMs, error });
      return;
    }
    functions.drop(id);
    if (outcome.kind === 'dead')
      emitter.emit('dead', { id, name, queue, reason: reason as QueueEvents['dead'][0]['reason'], error });
    else if (outcome.kind === 'cancelled') emitter.emit('cancelled', { id, name, queue, reason });
    else emitter.emit('expired', { id, name, queue });
    if (!results.isAwaited(id)) return;
    const details = { id, name, reason, attempts: task.attempt, error };
    const code = ({ dead: 'TASK_FAILED', cancelled: 'TASK_CANCELLED', expired: 'TASK_EXPIRED' } as const)[
      outcome.kind
    ];
    results.deliver(id, {
      error: new QueueError(code, `Task "${name}" ended ${outcome.kind}: ${error.message}`, { details }),
    });
  }
}
