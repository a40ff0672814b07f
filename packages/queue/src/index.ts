/**
 * A task queue that loses nothing it acknowledged: in memory, on Redis or on RabbitMQ, behind one interface.
 *
 * Terms: a *task* has a *name*, a *payload* and a *queue*; a *handler* runs it; an *attempt* is one run. A worker *claims*
 * a task under a *lease* and *settles* it in a *turn*; a task whose worker was lost is *stalled* and claimed again. Every
 * claim has a *fencing token* that grows. What failed for good is a *dead letter*. A *group* runs in order, a *flow* is a
 * tree of tasks, a *schedule* enqueues by time. A *partition* is one hash tag of a namespace.
 *
 * @module
 */
export { createQueueManager, getQueueManager } from './create.ts';
export {
  QueueType,
  type PriorityWeights,
  type QueueLimitOptions,
  type QueueManagerOptions,
} from './options.ts';
export type { RabbitMqOptions } from './rabbitmq-options.ts';
export { TaskPriority, type TaskOptions } from './task-options.ts';
export type { BackoffFunction, BackoffOptions } from './backoff.ts';
export type {
  DeadLetters,
  PayloadOf,
  QueueManager,
  ResultOf,
  TaskMap,
  TaskName,
  WorkerOptions,
} from './queue-manager.ts';
export type { ResultOptions, Task, TaskRecord, TaskState } from './task.ts';
export type {
  BatchHandler,
  BatchOptions,
  HandlerOptions,
  IsolatedHandler,
  TaskContext,
  TaskHandler,
} from './worker/handlers.ts';
export type { WorkerPool } from './worker/pool.ts';
export type { ScheduleInfo, ScheduleRule, Schedules } from './schedules.ts';
export type { FlowNode, FlowTask } from './flows.ts';
export type { QueueInfo } from './inspect.ts';
export type { QueueStats } from './metrics.ts';
export type { DeadReason, QueueEvents, TaskEvent } from './events.ts';
export {
  asyncTask,
  type AsyncTaskDecorator,
  type AsyncTaskOptions,
  type AsyncTaskReference,
} from './async-task.ts';
export { QUEUE_ERRORS, QueueError, type QueueErrorCode, type TaskErrorInfo } from './errors.ts';
