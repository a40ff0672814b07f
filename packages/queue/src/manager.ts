import {
  Background,
  InvalidOptionError,
  IsolatedEmitter,
  TimeoutError,
  sleep,
  toMilliseconds,
  type CloseOptions,
  type HealthIndicator,
} from '@xiaoke/core';
import { declaredTasks, metaOf, registerFunction, registerTarget } from './async-task.ts';
import type { Backend, EnqueueReply, NewTask } from './backend.ts';
import { BackendDeadLetters } from './dead-letters.ts';
import { QueueError } from './errors.ts';
import type { QueueEvents } from './events.ts';
import {
  chainToFlow,
  flatten,
  planFlow,
  refuseForeignChildren,
  type FlowNode,
  type FlowTask,
  type PlannedNode,
} from './flows.ts';
import { defineGauges } from './gauges.ts';
import { Inspector, type QueueInfo } from './inspect.ts';
import { QueueMetrics, type QueueStats } from './metrics.ts';
import {
  resolveLimits,
  type QueueLimitOptions,
  type QueueType,
  type ResolvedQueueOptions,
} from './options.ts';
import { BackoffFunctions, Producer, type EnqueueItem } from './producer.ts';
import type { DeadLetters, QueueManager, WorkerOptions } from './queue-manager.ts';
import { toRecord } from './records.ts';
import { Results } from './results.ts';
import { Scheduler } from './scheduler.ts';
import { ScheduleList, type Schedules } from './schedules.ts';
import { checkName, type TaskOptions } from './task-options.ts';
import { TaskHandle, type Task, type TaskHost, type TaskRecord, type TaskState } from './task.ts';
import { loadTracing, noTracing } from './tracing.ts';
import {
  Handlers,
  type BatchHandler,
  type BatchOptions,
  type HandlerOptions,
  type IsolatedHandler,
  type TaskHandler,
} from './worker/handlers.ts';
import { checkSlots, type WorkerPool } from './worker/pool.ts';
import { Upkeep } from './upkeep.ts';
import { WorkerHost } from './worker/worker-host.ts';

/** The queue manager over any backend. */
export class Manager extends IsolatedEmitter<QueueEvents> implements QueueManager, TaskHost {
  readonly type: QueueType;
  readonly namespace: string;
  readonly schedules: Schedules;
  readonly deadLetters: DeadLetters;
  readonly #options: ResolvedQueueOptions;
  readonly #backend: Backend;
  readonly #background: Background;
  readonly #metrics: QueueMetrics;
  readonly #producer: Producer;
  readonly #results: Results;
  readonly #handlers = new Handlers();
  readonly #workers: WorkerHost;
  readonly #inspector = new Inspector();
  readonly #upkeep: Upkeep;
  readonly #processWide: boolean;
  #scheduler: Scheduler | undefined;
  #listenerErrors = 0;
  readonly #closed = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(options: ResolvedQueueOptions, backend: Backend, processWide: boolean) {
    super({ logger: options.logger, onListenerError: () => (this.#listenerErrors += 1) });
    this.#options = options;
    this.#backend = backend;
    this.#processWide = processWide;
    this.type = backend.type;
    this.namespace = options.namespace;
    this.#metrics = new QueueMetrics(options.metrics);
    this.#background = new Background({
      logger: options.logger,
      onError: (error) => this.#failed(error, 'background'),
    });
    const functions = new BackoffFunctions(options.defaults);
    this.#producer = new Producer(options, backend, functions, noTracing);
    this.#results = new Results(backend, options.clock, this.#background);
    this.#workers = new WorkerHost({
      options,
      backend,
      handlers: this.#handlers,
      metrics: this.#metrics,
      results: this.#results,
      functions,
      background: this.#background,
      emitter: this,
      failed: (error, op) => this.#failed(error, op),
    });
    this.deadLetters = new BackendDeadLetters(backend, (ids) => this.#records(ids), options.queues);
    this.schedules = new ScheduleList(
      backend,
      () => backend.now(),
      async (name, payload, task) => {
        this.#assertOpen();
        return await this.#producer.prepare({ name, payload, options: task });
      },
      () => {
        if (this.closed) return;
        // Whoever makes a schedule also sees to it, so that it fires before any worker is there.
        this.#scheduler ??= this.#startScheduler();
        this.#scheduler.kick();
      },
    );
    defineGauges({
      metrics: options.metrics,
      signal: this.#closed.signal,
      // Rates are of the last look of whoever asks; a scrape must not be one.
      inspect: async () => new Inspector().info(await backend.counts(await this.#queues())),
    });
    this.#upkeep = new Upkeep(backend, this.#background, options, ({ id, queue }) => {
      this.#metrics.stalled(queue);
      this.emit('stalled', { id, queue });
    });
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Connects, loads what is optional, sets limits. */
  async open(): Promise<void> {
    if (this.#options.tracing) {
      const tracing = await loadTracing();
      this.#producer.tracing = tracing;
      this.#workers.tracing = tracing;
    }
    await this.#backend.open();
    for (const [queue, limits] of this.#options.limits) await this.#backend.setLimits(queue, limits);
  }

  registerTaskHandler(name: string, handler: TaskHandler | IsolatedHandler, options?: HandlerOptions): void {
    this.#assertOpen();
    this.#handlers.add(name, handler, options);
  }

  registerBatchHandler(name: string, handler: BatchHandler, options: BatchOptions): void {
    this.#assertOpen();
    this.#handlers.addBatch(name, handler, options);
  }

  async enqueueTask(name: string, payload: unknown, options?: TaskOptions): Promise<Task<never>> {
    this.#assertOpen();
    const item = { name, payload, options };
    const task = this.#producer.hasSchema(name)
      ? await this.#producer.prepare(item)
      : this.#producer.prepareNow(item);
    const [reply] = await this.#call('enqueue', () => this.#backend.enqueue([task]));
    return this.#enqueued(task, name, reply);
  }

  async checkTask(name: string, payload: unknown, options?: TaskOptions): Promise<{ readonly id: string }> {
    this.#assertOpen();
    const { id } = await this.#producer.prepare({ name, payload, options });
    return { id };
  }

  async enqueueTasks(items: readonly EnqueueItem[]): Promise<Task<never>[]> {
    this.#assertOpen();
    if (!Array.isArray(items)) throw new InvalidOptionError('items', 'must be an array');
    const tasks: NewTask[] = [];
    for (const item of items as readonly EnqueueItem[]) {
      const needsSchema = this.#producer.hasSchema(item.name);
      tasks.push(needsSchema ? await this.#producer.prepare(item) : this.#producer.prepareNow(item));
    }
    const replies = await this.#call('enqueue', () => this.#backend.enqueue(tasks));
    return tasks.map((task, index) => this.#enqueued(task, items[index]?.name ?? '', replies[index]));
  }

  async enqueueFlow(flow: FlowNode): Promise<FlowTask> {
    this.#assertOpen();
    const plan = await planFlow(
      flow,
      (options) => this.#producer.newId(options),
      (name, payload, options, extras) => this.#producer.prepare({ name, payload, options, extras }),
    );
    await refuseForeignChildren(plan, (ids) => this.#call('read', () => this.#backend.read(ids)));
    const tasks = flatten(plan);
    const replies = await this.#call('enqueue', () => this.#backend.enqueue(tasks));
    const handles = new Map(
      replies.map((reply, index) => [tasks[index]?.id, this.#handle(reply.id, reply.duplicate)]),
    );
    const attach = (node: PlannedNode): FlowTask => {
      const handle = handles.get(node.task.id) ?? this.#handle(node.task.id, false);
      return Object.assign(handle, { children: node.children.map(attach) });
    };
    return attach(plan);
  }

  async enqueueChain(steps: readonly Omit<FlowNode, 'children'>[]): Promise<FlowTask> {
    return await this.enqueueFlow(chainToFlow(steps));
  }

  async enqueue<Args extends readonly unknown[], Result>(
    method: (...args: Args) => Promise<Result>,
    ...args: Args
  ): Promise<Task<Result>> {
    const meta = metaOf(method);
    if (meta === undefined) throw new InvalidOptionError('method', 'must be a function made by asyncTask');
    if (meta.kind === 'function') registerFunction(this, meta);
    return await this.enqueueTask(meta.name, args, meta.options);
  }

  registerTasks(...targets: readonly object[]): void {
    for (const target of targets) registerTarget(this, target);
  }

  async startWorkers(options: number | WorkerOptions = {}): Promise<WorkerPool> {
    this.#assertOpen();
    const { count = 10, queues = this.#options.queues } =
      typeof options === 'number' ? { count: options } : options;
    checkSlots(count);
    if (!Array.isArray(queues)) throw new InvalidOptionError('queues', 'must be an array');
    const names = queues.map((queue, index) => checkName(queue, `queues[${index}]`));
    if (names.length === 0) throw new InvalidOptionError('queues', 'must name at least one queue');
    if (this.#processWide) for (const meta of declaredTasks()) registerFunction(this, meta);
    this.#scheduler ??= this.#startScheduler();
    return this.#workers.start(count, [...new Set(names)]);
  }

  async getTask(id: string): Promise<TaskRecord | undefined> {
    const [record] = await this.#records([checkName(id, 'id')]);
    return record;
  }

  async statusOf(id: string): Promise<TaskState> {
    const record = await this.getTask(id);
    if (record === undefined)
      throw new QueueError('TASK_NOT_FOUND', `There is no record of task ${id}`, { details: { id } });
    return record.state;
  }

  async cancelTask(id: string, reason = 'cancelled'): Promise<boolean> {
    this.#assertOpen();
    checkName(id, 'id');
    if (typeof reason !== 'string') throw new InvalidOptionError('reason', 'must be a string');
    const [stored] = await this.#records([id]);
    const outcome = await this.#backend.cancel(id, reason);
    if (outcome === 'cancelled') {
      this.#metrics.totals.cancelled += 1;
      this.emit('cancelled', { id, name: stored?.name ?? '', queue: stored?.queue ?? '', reason });
    }
    return outcome !== 'none';
  }

  async awaitResult(
    id: string,
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    this.#assertOpen();
    return await this.#results.wait(id, timeoutMs ?? this.#options.resultTimeoutMs, signal);
  }

  async pause(queue?: string): Promise<void> {
    await this.#backend.setPaused(queue === undefined ? undefined : checkName(queue, 'queue'), true);
  }

  async resume(queue?: string): Promise<void> {
    await this.#backend.setPaused(queue === undefined ? undefined : checkName(queue, 'queue'), false);
  }

  async drain(queue?: string, options: { readonly delayed?: boolean } = {}): Promise<number> {
    const queues = queue === undefined ? await this.#queues() : [checkName(queue, 'queue')];
    let drained = 0;
    for (const name of queues) drained += await this.#backend.drain(name, options.delayed ?? false);
    return drained;
  }

  async setLimits(queue: string, limits: QueueLimitOptions = {}): Promise<void> {
    await this.#backend.setLimits(checkName(queue, 'queue'), resolveLimits(limits, 'limits'));
  }

  async whenIdle(queue?: string, options: { readonly timeout?: number | string } = {}): Promise<void> {
    const timeout = toMilliseconds(options.timeout ?? '1m', 'timeout');
    const deadline = this.#options.clock.monotonic() + timeout;
    for (;;) {
      const infos = await this.inspectQueues(queue === undefined ? undefined : [queue]);
      if (infos.every(({ states }) => states.waiting + states.delayed + states.active === 0)) return;
      if (this.#options.clock.monotonic() > deadline)
        throw new TimeoutError('Waiting for idle queues', timeout);
      await sleep(20, { clock: this.#options.clock });
    }
  }

  async inspectQueues(queues?: readonly string[]): Promise<QueueInfo[]> {
    const names = queues?.map((queue) => checkName(queue, 'queue')) ?? (await this.#queues());
    return this.#inspector.info(await this.#backend.counts(names));
  }

  stats(): QueueStats {
    return {
      ...this.#metrics.totals,
      handlerErrors: this.#listenerErrors,
      active: this.#workers.active,
      slots: this.#workers.slots,
      waitingForResults: this.#results.size,
    };
  }

  healthIndicator(): HealthIndicator {
    return {
      name: `queue:${this.namespace}`,
      check: async ({ signal }) =>
        this.closed ? { status: 'unhealthy', code: 'QUEUE_CLOSED' } : await this.#backend.health(signal),
    };
  }

  close(options: CloseOptions = {}): Promise<void> {
    const timeout = toMilliseconds(options.timeout ?? '30s', 'timeout');
    this.#closing ??= this.#close(timeout);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    this.#closed.abort();
    this.#upkeep.close();
    this.#scheduler?.close();
    await this.#workers.close(Math.max(0, timeoutMs - Math.min(500, timeoutMs / 5)));
    this.#results.close();
    await this.#background.settled(Math.max(0, Math.min(200, deadline - clock.monotonic())));
    await this.#backend.close(Math.max(10, Math.min(1_000, deadline - clock.monotonic())));
  }

  #enqueued(task: NewTask, name: string, reply: EnqueueReply | undefined): TaskHandle<never> {
    if (reply === undefined) throw new QueueError('QUEUE_UNAVAILABLE', 'The backend gave no answer');
    const { id, duplicate } = reply;
    this.#metrics.enqueued(task.queue, name, task.priority, duplicate);
    if (!duplicate && this.listenerCount('enqueued') > 0)
      this.emit('enqueued', { id, name, queue: task.queue });
    return this.#handle(id, duplicate);
  }

  #handle(id: string, duplicate: boolean): TaskHandle<never> {
    return new TaskHandle(id, duplicate, this);
  }

  async #records(ids: readonly string[]): Promise<(TaskRecord | undefined)[]> {
    const stored = await this.#call('read', () => this.#backend.read(ids));
    return stored.map((task) => (task === undefined ? undefined : toRecord(task, this.#backend.now())));
  }

  async #queues(): Promise<readonly string[]> {
    return [...new Set([...this.#options.queues, ...(await this.#backend.queues())])];
  }

  async #call<T>(op: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#metrics.backendError(this.type, op);
      throw error;
    }
  }

  #startScheduler(): Scheduler {
    return new Scheduler({
      backend: this.#backend,
      clock: this.#options.clock,
      logger: this.#options.logger,
      background: this.#background,
      prepare: (name, payload, options, extras) =>
        this.#producer.prepareNow({ name, payload, options, extras }),
      queueOf: (options) => options.queue ?? this.#options.defaults.queue,
      fired: (id, lagSeconds) => this.#metrics.scheduleLag(id, lagSeconds),
      failed: (error) => this.#failed(error, 'schedule'),
    });
  }

  #failed(error: unknown, op: string): void {
    if (this.closed) return;
    this.#metrics.backendError(this.type, op);
    this.emit('error', error);
  }

  #assertOpen(): void {
    if (this.closed) throw new QueueError('QUEUE_CLOSED', 'The manager is closed');
  }
}
