import { TimeoutError, type Clock, type Random, type Timer } from '@xiaoke/core';
import type { BackoffFunction } from '../backoff.ts';
import type { Outcome } from '../backend.ts';
import { serialize } from '../envelope.ts';
import type { QueueError } from '../errors.ts';
import type { ActiveTask, StopCause, TaskExecution } from './active-task.ts';
import type { RegisteredHandler } from './handlers.ts';
import { ended, failed, type RetryRules } from './outcomes.ts';

/** What all executions of a runner share. */
export interface ExecutionHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly graceMs: number;
  readonly payloadLimit: number;
  backoffOf(id: string): BackoffFunction | undefined;
}

/**
 * One attempt: watches its time and its signal, and comes to an outcome exactly once. After it was told to stop, the
 * handler has a grace to come to its end; then its slot is freed whether it listens or not.
 */
export class Execution implements TaskExecution {
  readonly #task: ActiveTask;
  readonly #host: ExecutionHost;
  readonly #handler: RegisteredHandler;
  readonly #done: (task: ActiveTask, outcome: Outcome | undefined) => void;
  #timeout: Timer | undefined;
  #grace: Timer | undefined;
  #over = false;

  /** `done` is called exactly once; with `undefined` when the claim is lost and nothing is left to say. */
  constructor(
    task: ActiveTask,
    handler: RegisteredHandler,
    host: ExecutionHost,
    done: (task: ActiveTask, outcome: Outcome | undefined) => void,
  ) {
    this.#task = task;
    this.#handler = handler;
    this.#host = host;
    this.#done = done;
    task.execution = this;
  }

  /** The attempt's time begins. */
  arm(): void {
    const timeoutMs = this.#task.envelope.timeoutMs ?? this.#handler.timeoutMs;
    if (timeoutMs === undefined || this.#over || this.#timeout !== undefined) return;
    const task = this.#task;
    this.#timeout = this.#host.clock
      .setTimeout(() => task.stop('timeout', new TimeoutError(`Task ${task.name}`, timeoutMs)), timeoutMs)
      .unref();
  }

  /** The handler resolved. */
  succeeded(result: unknown): void {
    if (this.#over) return;
    const cause = this.#task.stopped?.cause;
    if (cause === 'timeout' || cause === 'lost') {
      this.#finish(this.#stopOutcome());
      return;
    }
    let text: string;
    try {
      text = serialize(result, this.#host.payloadLimit, 'RESULT_NOT_SERIALIZABLE');
    } catch (error) {
      this.failed(error);
      return;
    }
    this.#finish({ kind: 'completed', result: text, keepMs: this.#task.envelope.keepMs });
  }

  /** The handler threw or rejected. */
  failed(error: unknown): void {
    if (this.#over) return;
    const outcome =
      this.#task.stopped === undefined ? failed(this.#task, error, this.#rules()) : this.#stopOutcome();
    this.#finish(outcome);
  }

  #rules(): RetryRules {
    const { random } = this.#host;
    return { random, handler: this.#handler, backoffFunction: this.#host.backoffOf(this.#task.id) };
  }

  /** The task was told to stop. */
  stopping(cause: StopCause): void {
    this.#timeout?.cancel();
    if (this.#over || this.#grace !== undefined) return;
    // At close, the pool's own deadline is the grace; a lost claim has nobody waiting for it.
    if (cause === 'closing') return;
    this.#grace = this.#host.clock
      .setTimeout(() => this.#finish(this.#stopOutcome()), this.#host.graceMs)
      .unref();
  }

  /** It never came to running. */
  invalid(outcome: Outcome): void {
    this.#finish(outcome);
  }

  /** The pool's deadline has passed. */
  abandon(): void {
    this.#finish(this.#stopOutcome());
  }

  #stopOutcome(): Outcome | undefined {
    const { stopped, envelope } = this.#task;
    switch (stopped?.cause) {
      case 'lost':
        return undefined;
      case 'timeout':
        return failed(this.#task, stopped.reason, this.#rules());
      case 'cancelled':
        return ended('cancelled', stopped.reason as QueueError, envelope.keepMs);
      default:
        return { kind: 'return' };
    }
  }

  #finish(outcome: Outcome | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#timeout?.cancel();
    this.#grace?.cancel();
    this.#done(this.#task, outcome);
  }
}
