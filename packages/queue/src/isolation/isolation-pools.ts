import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { NonRetryableError, RetryLaterError, withTimeout, type Clock } from '@xiaoke/core';
import { Tinypool } from 'tinypool';
import { describeError, QueueError } from '../errors.ts';
import type { ActiveTask } from '../worker/active-task.ts';
import type { IsolatedHandler, RegisteredHandler } from '../worker/handlers.ts';
import { ISOLATE_URL, type IsolateAnswer, type IsolateFailure, type IsolateMessage } from './isolate.ts';

/** What the pools need. */
export interface IsolationOptions {
  readonly clock: Clock;
  /** From the moment a task is told to stop until its thread or process is killed. */
  readonly graceMs: number;
}

/** One task for an isolate. */
export interface IsolatedRun {
  readonly task: ActiveTask;
  readonly payload: unknown;
  /** The handler has begun: its module is loaded, and a thread or process was free. */
  started(): void;
}

// A thread that nobody needs for this long goes.
const IDLE_TIMEOUT = 30_000;

/** The connection to one run in an isolate. */
interface Wire {
  readonly options: object;
  readonly port: object | undefined;
  send(message: object): void;
  /** Reads what has arrived and was not yet delivered. */
  drain(): void;
  close(): void;
}

/** A pool of threads or processes for every isolated handler, made when it first runs. */
export class IsolationPools {
  readonly #options: IsolationOptions;
  readonly #pools = new Map<RegisteredHandler, Tinypool>();
  #closed = false;

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  /** Runs the handler's module; kills the thread or process that does not stop within the grace. */
  async run(handler: RegisteredHandler, isolated: IsolatedHandler, run: IsolatedRun): Promise<unknown> {
    const { task, payload } = run;
    const receive = (message: IsolateMessage): void => this.#receive(message, run, wire);
    const kill = new AbortController();
    const died = (): void => kill.abort();
    const wire = isolated.isolation === 'thread' ? threadWire(receive, died) : processWire(task, receive);
    const { clock, graceMs } = this.#options;
    const stop = (): void => {
      wire.send({ kind: 'stop', reason: describeError(task.signal.reason) });
      timer = clock.setTimeout(() => kill.abort(), graceMs).unref();
    };
    let timer = clock.setTimeout(() => {}, 0);
    task.signal.addEventListener('abort', stop, { once: true });
    try {
      const request = { file: isolated.file.href, payload, facts: factsOf(task), port: wire.port };
      const pool = this.#poolOf(handler, isolated);
      const answer = (await pool.run(request, { ...wire.options, signal: kill.signal })) as IsolateAnswer;
      wire.drain();
      if (answer.error !== undefined) throw revive(answer.error);
      return answer.json === undefined ? undefined : JSON.parse(answer.json);
    } catch (error) {
      throw asQueueError(error, handler, kill.signal.aborted);
    } finally {
      timer.cancel();
      task.signal.removeEventListener('abort', stop);
      wire.close();
    }
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    // A process gets a second to hear of its end; a thread that left by itself is never heard of again.
    const destroyed = Promise.all(pools.map((pool) => pool.destroy()));
    try {
      await withTimeout(destroyed, timeoutMs, 'closing isolated handlers');
    } catch {
      // What does not end is not waited for.
    }
  }

  #poolOf(handler: RegisteredHandler, { isolation }: IsolatedHandler): Tinypool {
    if (this.#closed) throw new QueueError('WORKER_CLOSING', 'The worker pool is closing');
    const existing = this.#pools.get(handler);
    if (existing !== undefined) return existing;
    const { memoryLimitMb, workers } = handler;
    const pool = new Tinypool({
      filename: ISOLATE_URL,
      runtime: isolation === 'thread' ? 'worker_threads' : 'child_process',
      minThreads: 0,
      maxThreads: workers,
      idleTimeout: IDLE_TIMEOUT,
      trackUnmanagedFds: false,
      ...(isolation === 'thread' ? threadLimits(memoryLimitMb) : processLimits(memoryLimitMb)),
    });
    // A thread that dies between two tasks is nobody's failure.
    pool.on('error', () => {});
    this.#pools.set(handler, pool);
    return pool;
  }

  #receive(message: IsolateMessage, run: IsolatedRun, wire: Wire): void {
    const { task } = run;
    switch (message.kind) {
      case 'started':
        run.started();
        return;
      case 'progress':
        task.progress(message.text === undefined ? null : JSON.parse(message.text));
        return;
      case 'line':
        task.log(message.line);
        return;
      case 'logger': {
        const [first, text] = JSON.parse(message.text) as [object | string, string?];
        if (typeof first === 'string') task.logger[message.level](first);
        else task.logger[message.level](first, text);
        return;
      }
      case 'children':
        task.childResults().then(
          (results) => wire.send({ kind: 'children', entries: [...results] }),
          () => wire.send({ kind: 'children', entries: [] }),
        );
    }
  }
}

function threadLimits(memoryLimitMb: number | undefined): object {
  return memoryLimitMb === undefined
    ? {}
    : { resourceLimits: { maxOldGenerationSizeMb: memoryLimitMb, maxYoungGenerationSizeMb: memoryLimitMb } };
}

function processLimits(memoryLimitMb: number | undefined): object {
  const limit = memoryLimitMb === undefined ? [] : [`--max-old-space-size=${memoryLimitMb}`];
  return {
    serialization: 'advanced',
    execArgv: [...process.execArgv, ...limit],
    // oxlint-disable-next-line no-restricted-properties -- a thread has its parent's environment, so a process gets it too
    env: { ...process.env },
  };
}

function factsOf(task: ActiveTask): object {
  const { id, name, queue, attempt, maxAttempts, enqueuedAt, fencingToken } = task;
  return { id, name, queue, attempt, maxAttempts, enqueuedAt, fencingToken };
}

function threadWire(receive: (message: IsolateMessage) => void, died: () => void): Wire {
  const { port1, port2 } = new MessageChannel();
  port1.on('message', receive);
  // tinypool does not hear of a thread that calls process.exit(); its port does.
  port1.once('close', died);
  port1.unref();
  return {
    options: { transferList: [port2] },
    port: port2,
    send: (message) => port1.postMessage(message),
    // The answer comes by another port and may overtake what was said before it.
    drain: () => {
      for (let next = receiveMessageOnPort(port1); next !== undefined; next = receiveMessageOnPort(port1))
        receive(next.message as IsolateMessage);
    },
    close: () => {
      port1.off('close', died);
      port1.close();
    },
  };
}

function processWire(task: ActiveTask, receive: (message: IsolateMessage) => void): Wire {
  const id = `${task.id}:${task.fencingToken}`;
  let forward: ((message: object) => void) | undefined;
  const channel = {
    onMessage: (listener: (message: object) => void): void => void (forward = listener),
    postMessage: (message: IsolateMessage & { readonly id: string }): void => {
      if (message.id === id) receive(message);
    },
  };
  return {
    options: { channel },
    port: undefined,
    send: (message) => forward?.({ id, ...message }),
    drain: () => {},
    close: () => void (forward = undefined),
  };
}

/** The error as the handler threw it, as far as that can be told. */
function revive(failure: IsolateFailure): Error {
  const { name, message, code, stack, delayMs } = failure;
  if (failure.missing === true) return new QueueError('HANDLER_NOT_FOUND', message);
  if (failure.unserializable === true) return new QueueError('RESULT_NOT_SERIALIZABLE', message);
  const known =
    code === 'RETRY_LATER'
      ? new RetryLaterError(delayMs ?? 0, message)
      : code === 'NON_RETRYABLE'
        ? new NonRetryableError(message)
        : new Error(message);
  return Object.assign(known, { name, stack, ...(code === undefined ? {} : { code }) });
}

function asQueueError(error: unknown, { name, memoryLimitMb }: RegisteredHandler, killed: boolean): unknown {
  if (!(error instanceof Error)) return error;
  const code: unknown = Reflect.get(error, 'code');
  const died =
    killed ||
    code === 'ERR_WORKER_OUT_OF_MEMORY' ||
    error.message === 'Worker exited unexpectedly' ||
    error.message === 'Terminating worker thread';
  if (!died) return error;
  const outOfMemory = code === 'ERR_WORKER_OUT_OF_MEMORY';
  return new QueueError(
    'WORKER_CRASHED',
    outOfMemory
      ? `The thread that ran "${name}" needed more memory than ${memoryLimitMb ?? 'there is'} MB`
      : `What ran "${name}" ${killed ? 'was killed' : 'died'}`,
    { cause: error, details: { name, killed, memoryLimitMb } },
  );
}
