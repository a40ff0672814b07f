import {
  XiaokeError,
  issuePath,
  type Clock,
  type Logger,
  type Random,
  type StandardSchemaV1,
} from '@xiaoke/core';
import type { BackoffFunction } from '../backoff.ts';
import type { Claim, Outcome } from '../backend.ts';
import { decodeEnvelope, type Envelope } from '../envelope.ts';
import { QueueError } from '../errors.ts';
import { BUILT_IN } from '../task-options.ts';
import { ActiveTask, type ActiveTaskHost } from './active-task.ts';
import { Batches } from './batches.ts';
import { Execution } from './execution.ts';
import type { Handlers, RegisteredHandler } from './handlers.ts';
import { dead, ended } from './outcomes.ts';

/** Runs an isolated handler; loaded only when there is one. */
export interface IsolationRunner {
  run(
    handler: RegisteredHandler,
    run: { readonly task: ActiveTask; readonly payload: unknown; started(): void },
  ): Promise<unknown>;
}

/** What a runner needs. */
export interface RunnerOptions extends ActiveTaskHost {
  readonly handlers: Handlers;
  readonly schemas: ReadonlyMap<string, StandardSchemaV1>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly graceMs: number;
  readonly payloadLimit: number;
  readonly maxStalls: number;
  readonly isolation: IsolationRunner;
  /** Resolves once the progress and the lines of a task are written. */
  readonly notesWritten: (task: ActiveTask) => Promise<void> | undefined;
  backoffOf(id: string): BackoffFunction | undefined;
  /** Runs `work` inside the trace that the task carries. */
  traced<T>(task: ActiveTask, work: () => T): T;
  started(task: ActiveTask): void;
}

/** Takes a claimed task to its outcome. */
export class Runner {
  readonly #options: RunnerOptions;
  readonly #batches: Batches;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#batches = new Batches(options.clock, (tasks, handler) => this.#runBatch(tasks, handler));
  }

  /** Makes the task from its claim; a text that cannot be read gives one that is settled at once. */
  open(claim: Claim, queue: string, now: number): ActiveTask {
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(claim.blob);
    } catch (error) {
      const task = new ActiveTask(claim, unreadable(queue, now), { queue, now }, this.#options);
      task.outcome = dead(error, 'PAYLOAD_INVALID', false);
      return task;
    }
    const task = new ActiveTask(claim, envelope, { queue, now }, this.#options);
    task.outcome = this.#verdict(task, now);
    return task;
  }

  /** Starts the task; `done` is called exactly once. */
  start(task: ActiveTask, done: (task: ActiveTask, outcome: Outcome | undefined) => void): void {
    const handler = this.#options.handlers.get(task.name);
    if (task.outcome !== undefined || handler === undefined) {
      const missing = new QueueError('HANDLER_NOT_FOUND', `No handler is registered for "${task.name}"`);
      done(task, task.outcome ?? dead(missing, 'HANDLER_NOT_FOUND', false));
      return;
    }
    const execution = new Execution(task, handler, this.#options, done);
    // What is isolated may have to wait for a thread; it says when it begins.
    if (handler.kind !== 'isolated') execution.arm();
    const schema = this.#options.schemas.get(task.name);
    if (schema === undefined) this.#run(task, handler, execution, task.envelope.payload);
    else void this.#validated(task, handler, execution, schema);
  }

  /** Ends what still runs of `tasks`, without waiting for it. */
  abandon(tasks: Iterable<ActiveTask>): void {
    this.#batches.flush();
    for (const task of tasks) task.execution?.abandon();
  }

  /** Starts batches that still wait for company. */
  flush(): void {
    this.#batches.flush();
  }

  #verdict(task: ActiveTask, now: number): Outcome | undefined {
    const { envelope, claim } = task;
    if (envelope.unreadable !== undefined) return dead(envelope.unreadable, 'PAYLOAD_INVALID', false);
    if (envelope.ttlMs !== undefined && now >= envelope.enqueuedAt + envelope.ttlMs) {
      return ended(
        'expired',
        new QueueError('TASK_EXPIRED', 'The task was not started within its ttl'),
        envelope.keepMs,
      );
    }
    if (claim.stalls > this.#options.maxStalls || claim.attempts >= envelope.attempts) {
      const error = new QueueError('STALLED', `Its worker was lost ${claim.stalls} times`);
      return dead(error, 'STALLED', false);
    }
    return undefined;
  }

  async #validated(
    task: ActiveTask,
    handler: RegisteredHandler,
    execution: Execution,
    schema: StandardSchemaV1,
  ): Promise<void> {
    let payload: unknown;
    try {
      payload = await validatePayload(schema, task.envelope.payload, task.name);
    } catch (error) {
      task.outcome = dead(error, 'PAYLOAD_INVALID', true);
      execution.invalid(task.outcome);
      return;
    }
    this.#run(task, handler, execution, payload);
  }

  #run(task: ActiveTask, handler: RegisteredHandler, execution: Execution, payload: unknown): void {
    this.#options.started(task);
    if (handler.kind === 'batch') {
      this.#batches.add(handler, task, payload);
      return;
    }
    try {
      const result = this.#options.traced(task, () =>
        handler.kind === 'isolated'
          ? this.#options.isolation.run(handler, { task, payload, started: () => execution.arm() })
          : handler.run(payload, task),
      );
      if (isThenable(result)) {
        result.then(
          (value) => this.#afterNotes(task, () => execution.succeeded(value)),
          (error: unknown) => this.#afterNotes(task, () => execution.failed(error)),
        );
      } else this.#afterNotes(task, () => execution.succeeded(result));
    } catch (error) {
      this.#afterNotes(task, () => execution.failed(error));
    }
  }

  // Whoever sees a task at its end also sees its progress and its lines. That they cannot be written keeps no task open.
  #afterNotes(task: ActiveTask, settle: () => void): void {
    const written = this.#options.notesWritten(task);
    if (written === undefined) settle();
    else written.then(settle, settle);
  }

  async #runBatch(
    items: readonly { task: ActiveTask; payload: unknown }[],
    handler: RegisteredHandler,
  ): Promise<void> {
    const tasks = items.map(({ task }) => task);
    try {
      const results = await handler.runBatch?.(
        items.map(({ payload }) => payload),
        tasks,
      );
      if (!Array.isArray(results) || results.length !== tasks.length)
        throw new QueueError(
          'RESULT_NOT_SERIALIZABLE',
          'A batch handler must resolve to one result per payload',
        );
      tasks.forEach((task, index) => {
        const result: unknown = results[index];
        if (result instanceof Error) task.execution?.failed(result);
        else task.execution?.succeeded(result);
      });
    } catch (error) {
      for (const task of tasks) task.execution?.failed(error);
    }
  }
}

/** Runs a payload through its schema. @throws QueueError `PAYLOAD_INVALID`, naming paths and never values */
export async function validatePayload(
  schema: StandardSchemaV1,
  payload: unknown,
  name: string,
): Promise<unknown> {
  let result;
  try {
    result = await schema['~standard'].validate(payload);
  } catch (error) {
    if (error instanceof XiaokeError) throw error;
    throw new QueueError('PAYLOAD_INVALID', `The schema of "${name}" could not be applied`, { cause: error });
  }
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map((issue) => ({ path: issuePath(issue), message: issue.message }));
  const first = issues[0];
  throw new QueueError(
    'PAYLOAD_INVALID',
    `The payload of "${name}" is invalid: ${first?.path ?? ''} ${first?.message ?? ''}`,
    {
      details: { name, issues },
    },
  );
}

function unreadable(queue: string, now: number): Envelope {
  return {
    ...BUILT_IN,
    name: 'unknown',
    queue,
    enqueuedAt: now,
    payload: undefined,
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
