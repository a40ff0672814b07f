import { toMilliseconds, type Duration } from '@xiaoke/core';
import type { TaskErrorInfo } from './errors.ts';
import type { DeadReason } from './events.ts';
import type { TaskPriority } from './task-options.ts';

/** Where a task is in its life. */
export type TaskState = 'waiting' | 'delayed' | 'active' | 'completed' | 'dead' | 'cancelled' | 'expired';

/** Everything known about a task. */
export interface TaskRecord {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly priority: TaskPriority;
  readonly state: TaskState;
  readonly payload: unknown;
  /** Attempts made, the running one included. */
  readonly attempts: number;
  readonly maxAttempts: number;
  /** How often its worker was lost. */
  readonly stalls: number;
  readonly progress: unknown;
  readonly result: unknown;
  /** Of the last attempt that failed, or why it ended. */
  readonly error: TaskErrorInfo | undefined;
  /** Why it is in the dead letters. */
  readonly reason: DeadReason | undefined;
  readonly logs: readonly string[];
  readonly enqueuedAt: Date;
  readonly runAt: Date | undefined;
  readonly startedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
  readonly worker: string | undefined;
  readonly fencingToken: number | undefined;
  /** Children that it still waits for. */
  readonly pendingChildren: number;
}

/** How long to wait for a result. */
export interface ResultOptions {
  /** @default the manager's `resultTimeout` */
  readonly timeout?: Duration;
  readonly signal?: AbortSignal;
}

/** A task that the backend has. */
export interface Task<Result = unknown> {
  readonly id: string;
  /** Whether it was there before. */
  readonly duplicate: boolean;
  /**
   * The handler's result. It always settles: rejects with `TASK_FAILED`, `TASK_CANCELLED`, `TASK_EXPIRED`,
   * `TASK_NOT_FOUND` (its record is gone), `TIMEOUT`, `QUEUE_CLOSED`, or the signal's reason.
   */
  result(options?: ResultOptions): Promise<Result>;
  status(): Promise<TaskState>;
  cancel(reason?: string): Promise<boolean>;
}

/** What a handle asks of its manager. */
export interface TaskHost {
  awaitResult(id: string, timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<unknown>;
  statusOf(id: string): Promise<TaskState>;
  cancelTask(id: string, reason?: string): Promise<boolean>;
}

/** The handle of a task. */
export class TaskHandle<Result> implements Task<Result> {
  readonly id: string;
  readonly duplicate: boolean;
  readonly #host: TaskHost;

  constructor(id: string, duplicate: boolean, host: TaskHost) {
    this.id = id;
    this.duplicate = duplicate;
    this.#host = host;
  }

  async result(options: ResultOptions = {}): Promise<Result> {
    const timeout = options.timeout === undefined ? undefined : toMilliseconds(options.timeout, 'timeout');
    return (await this.#host.awaitResult(this.id, timeout, options.signal)) as Result;
  }

  status(): Promise<TaskState> {
    return this.#host.statusOf(this.id);
  }

  cancel(reason?: string): Promise<boolean> {
    return this.#host.cancelTask(this.id, reason);
  }
}
