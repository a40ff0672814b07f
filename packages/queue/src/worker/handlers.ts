import { InvalidOptionError, toMilliseconds, type Duration, type Logger } from '@xiaoke/core';
import { resolveBackoff, type Backoff, type BackoffFunction, type BackoffOptions } from '../backoff.ts';
import { QueueError } from '../errors.ts';
import { checkInteger, checkName } from '../task-options.ts';

/** What a handler knows of the task it runs, and how it answers while it runs. */
export interface TaskContext {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  /** Counted from 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly enqueuedAt: Date;
  /** Grows with every claim: give it to your own stores, so that they refuse a worker that lost its task. */
  readonly fencingToken: number;
  /** Fires on timeout, cancellation, a lost lease and at the end of `close()`; `signal.reason` tells which. */
  readonly signal: AbortSignal;
  /** Shown by `getTask`; the last value wins. */
  progress(value: unknown): void;
  /** Adds a line to the task's log. */
  log(line: string): void;
  readonly logger: Logger;
  /** The results of the task's children, by their ids. */
  childResults(): Promise<ReadonlyMap<string, unknown>>;
}

/**
 * Runs tasks of one name. What it resolves to is the result. (Declared as a method so that a handler may name a narrower
 * payload than the manager knows of.)
 */
export type TaskHandler<Payload = unknown, Result = unknown> = {
  handle(payload: Payload, context: TaskContext): Promise<Result> | Result;
}['handle'];

/** Runs several tasks at once: one result per payload, in order; an `Error` in the list fails that task alone. */
export type BatchHandler<Payload = unknown, Result = unknown> = {
  handle(
    payloads: readonly Payload[],
    contexts: readonly TaskContext[],
  ): Promise<readonly (Result | Error)[]> | readonly (Result | Error)[];
}['handle'];

/**
 * A module whose default export is the handler, run outside the main thread: it may block, and it is killed when it does
 * not stop within the grace after its timeout or cancellation, or needs more memory than it may have.
 */
export interface IsolatedHandler {
  readonly file: URL;
  readonly isolation: 'thread' | 'process';
}

/** How a handler is run. */
export interface HandlerOptions {
  /** Used when the task itself says nothing else. */
  readonly backoff?: BackoffOptions;
  /** Per attempt, when the task has none. */
  readonly timeout?: Duration;
  /**
   * Isolated handlers: how many threads or processes at most. A task that has to wait for one does so without using up its
   * timeout. @default as many as there are slots
   */
  readonly workers?: number;
  /** Isolated handlers: a thread or process whose heap needs more is killed. @default no limit of its own */
  readonly memoryLimitMb?: number;
}

/** How a batch handler is run. */
export interface BatchOptions extends Pick<HandlerOptions, 'backoff' | 'timeout'> {
  readonly size: number;
  /** How long the first task of a batch waits for others. @default 50 ms */
  readonly wait?: Duration;
}

/** A handler as it was registered. */
export interface RegisteredHandler {
  readonly name: string;
  readonly kind: 'function' | 'batch' | 'isolated';
  readonly run: TaskHandler;
  readonly runBatch: BatchHandler | undefined;
  readonly batch: { readonly size: number; readonly waitMs: number } | undefined;
  readonly isolated: IsolatedHandler | undefined;
  readonly backoff: Backoff | undefined;
  readonly backoffFunction: BackoffFunction | undefined;
  readonly timeoutMs: number | undefined;
  readonly workers: number;
  readonly memoryLimitMb: number | undefined;
}

const noRun: TaskHandler = () => {
  throw new QueueError('HANDLER_NOT_FOUND', 'This handler does not run in the main thread');
};

/** The handlers of one manager, by task name. */
export class Handlers {
  readonly #handlers = new Map<string, RegisteredHandler>();

  get(name: string): RegisteredHandler | undefined {
    return this.#handlers.get(name);
  }

  has(name: string): boolean {
    return this.#handlers.has(name);
  }

  add(name: string, handler: TaskHandler | IsolatedHandler, options: HandlerOptions = {}): RegisteredHandler {
    if (typeof handler === 'function') return this.#put(name, options, { kind: 'function', run: handler });
    if (!(handler?.file instanceof URL))
      throw new InvalidOptionError('handler', 'must be a function or { file: URL, isolation }');
    if (handler.isolation !== 'thread' && handler.isolation !== 'process')
      throw new InvalidOptionError('handler.isolation', "must be 'thread' or 'process'");
    if (handler.file.protocol !== 'file:')
      throw new InvalidOptionError('handler.file', 'must be a file: URL');
    return this.#put(name, options, { kind: 'isolated', isolated: handler });
  }

  addBatch(name: string, handler: BatchHandler, options: BatchOptions): RegisteredHandler {
    if (typeof handler !== 'function') throw new InvalidOptionError('handler', 'must be a function');
    const batch = {
      size: checkInteger(options.size, 'size', 1, 10_000),
      waitMs: toMilliseconds(options.wait ?? 50, 'wait', { max: 3_600_000 }),
    };
    return this.#put(name, options, { kind: 'batch', runBatch: handler, batch });
  }

  #put(
    name: string,
    options: HandlerOptions,
    what: Partial<RegisteredHandler> & Pick<RegisteredHandler, 'kind'>,
  ): RegisteredHandler {
    checkName(name, 'name');
    if (this.#handlers.has(name))
      throw new QueueError('HANDLER_EXISTS', `A handler for "${name}" is already registered`, {
        details: { name },
      });
    const backoff = options.backoff === undefined ? undefined : resolveBackoff(options.backoff, 'backoff');
    const handler: RegisteredHandler = {
      name,
      run: noRun,
      runBatch: undefined,
      batch: undefined,
      isolated: undefined,
      backoff: typeof backoff === 'function' ? undefined : backoff,
      backoffFunction: typeof backoff === 'function' ? backoff : undefined,
      timeoutMs:
        options.timeout === undefined ? undefined : toMilliseconds(options.timeout, 'timeout', { min: 1 }),
      workers: checkInteger(options.workers ?? 1_024, 'workers', 1, 1_024),
      memoryLimitMb:
        options.memoryLimitMb === undefined
          ? undefined
          : checkInteger(options.memoryLimitMb, 'memoryLimitMb', 1, 1_048_576),
      ...what,
    };
    this.#handlers.set(name, handler);
    return handler;
  }
}
