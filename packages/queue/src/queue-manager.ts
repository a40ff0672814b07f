import type { CloseOptions, HealthIndicator } from '@xiaoke/core';
import type { IsolatedEmitter } from '@xiaoke/core';
import type { AsyncTaskReference } from './async-task.ts';
import type { QueueEvents } from './events.ts';
import type { QueueInfo } from './inspect.ts';
import type { QueueStats } from './metrics.ts';
import type { QueueLimitOptions, QueueType } from './options.ts';
import type { FlowNode, FlowTask } from './flows.ts';
import type { Schedules } from './schedules.ts';
import type { TaskOptions } from './task-options.ts';
import type { Task, TaskRecord } from './task.ts';
import type {
  BatchHandler,
  BatchOptions,
  HandlerOptions,
  IsolatedHandler,
  TaskHandler,
} from './worker/handlers.ts';
import type { WorkerPool } from './worker/pool.ts';

/** Payloads and results by task name. */
export type TaskMap = Record<string, { readonly payload: unknown; readonly result?: unknown }>;

/** The names of a task map. */
export type TaskName<Tasks> = keyof Tasks & string;

/** What a task takes. */
export type PayloadOf<Tasks, Name extends keyof Tasks> = Tasks[Name] extends { readonly payload: infer P }
  ? P
  : never;

/** What a task gives. */
export type ResultOf<Tasks, Name extends keyof Tasks> = Tasks[Name] extends { readonly result: infer R }
  ? R
  : unknown;

/** Which workers to start. */
export interface WorkerOptions {
  /** Tasks that run at once. @default 10 */
  readonly count?: number;
  /** @default the manager's queues */
  readonly queues?: readonly string[];
}

/** The tasks that failed for good. */
export interface DeadLetters {
  list(options?: {
    readonly queue?: string;
    readonly limit?: number;
    readonly cursor?: string;
  }): Promise<{ readonly items: readonly TaskRecord[]; readonly cursor?: string }>;
  /** Of one queue, or of all. */
  count(queue?: string): Promise<number>;
  /** Puts them back with fresh attempts. Resolves to how many. */
  retry(which: readonly string[] | string | { readonly queue: string }): Promise<number>;
  /** Forgets them. Resolves to how many. */
  purge(which: readonly string[] | string | { readonly queue: string }): Promise<number>;
}

/** Tasks, their workers, and everything there is to know about them. */
export interface QueueManager<Tasks extends object = TaskMap>
  extends
    Pick<IsolatedEmitter<QueueEvents>, 'on' | 'once' | 'off' | 'listenerCount' | 'removeAllListeners'>,
    AsyncDisposable {
  readonly type: QueueType;
  readonly namespace: string;
  readonly closed: boolean;
  /** @throws QueueError `HANDLER_EXISTS`, InvalidOptionError */
  registerTaskHandler<Name extends TaskName<Tasks>>(
    name: Name,
    handler: TaskHandler<PayloadOf<Tasks, Name>, ResultOf<Tasks, Name>> | IsolatedHandler,
    options?: HandlerOptions,
  ): void;
  /** Runs tasks of this name several at a time. */
  registerBatchHandler<Name extends TaskName<Tasks>>(
    name: Name,
    handler: BatchHandler<PayloadOf<Tasks, Name>, ResultOf<Tasks, Name>>,
    options: BatchOptions,
  ): void;
  /**
   * Resolves once the backend has the task.
   *
   * @throws InvalidOptionError; QueueError `PAYLOAD_NOT_SERIALIZABLE`, `PAYLOAD_TOO_LARGE`, `PAYLOAD_INVALID`,
   * `QUEUE_UNAVAILABLE` (within `enqueueTimeout`), `QUEUE_CLOSED`
   */
  enqueueTask<Name extends TaskName<Tasks>>(
    name: Name,
    payload: PayloadOf<Tasks, Name>,
    options?: TaskOptions,
  ): Promise<Task<ResultOf<Tasks, Name>>>;
  /** Checks a task as `enqueueTask` does and gives the id it would have; nothing is written. */
  checkTask<Name extends TaskName<Tasks>>(
    name: Name,
    payload: PayloadOf<Tasks, Name>,
    options?: TaskOptions,
  ): Promise<{ readonly id: string }>;
  /** Several tasks in one round trip for hundreds; all of them are checked before any is sent. */
  enqueueTasks<Name extends TaskName<Tasks>>(
    items: readonly {
      readonly name: Name;
      readonly payload: PayloadOf<Tasks, Name>;
      readonly options?: TaskOptions;
    }[],
  ): Promise<Task<ResultOf<Tasks, Name>>[]>;
  /** A task and the tasks it waits for, to any depth. */
  enqueueFlow(flow: FlowNode): Promise<FlowTask>;
  /** Tasks that run one after the other; resolves to the last. Each sees the result of the one before in `childResults()`. */
  enqueueChain(steps: readonly Omit<FlowNode, 'children'>[]): Promise<FlowTask>;
  /** Enqueues a function made by `asyncTask`. */
  enqueue<Args extends readonly unknown[], Result>(
    method: (...args: Args) => Promise<Result>,
    ...args: Args
  ): Promise<Task<Result>>;
  /** Registers functions made by `asyncTask`, or all decorated methods of an object. */
  registerTasks(...targets: readonly (object | AsyncTaskReference)[]): void;
  startWorkers(options?: number | WorkerOptions): Promise<WorkerPool>;
  getTask(id: string): Promise<TaskRecord | undefined>;
  /** From any process, waiting or running: the signal of a running task fires. `false` if it had ended already. */
  cancelTask(id: string, reason?: string): Promise<boolean>;
  readonly schedules: Schedules;
  readonly deadLetters: DeadLetters;
  /** Workers everywhere claim nothing more, of one queue or of all. */
  pause(queue?: string): Promise<void>;
  resume(queue?: string): Promise<void>;
  /** Cancels everything that waits, of one queue or of all. Resolves to how many. */
  drain(queue?: string, options?: { readonly delayed?: boolean }): Promise<number>;
  /** Sets what a queue may do over all processes; without limits, takes them away. */
  setLimits(queue: string, limits?: QueueLimitOptions): Promise<void>;
  /** Resolves when nothing waits, is due or runs. @throws TimeoutError */
  whenIdle(queue?: string, options?: { readonly timeout?: number | string }): Promise<void>;
  inspectQueues(queues?: readonly string[]): Promise<QueueInfo[]>;
  stats(): QueueStats;
  healthIndicator(): HealthIndicator;
  /** Stops claiming, finishes what runs up to the timeout (30 s), gives the rest back. */
  close(options?: CloseOptions): Promise<void>;
}
