import { TimeoutError, type Clock, type Timer } from '@xiaoke/core';
import type { Outcome } from '../backend.ts';
import { serialize } from '../envelope.ts';
import type { QueueError } from '../errors.ts';
import type { ActiveTask, StopCause } from './active-task.ts';
import { ended, failed, type RetryRules } from './outcomes.ts';

/** What an execution needs. */
export interface ExecutionOptions {
  readonly clock: Clock;
  readonly graceMs: number;
  readonly payloadLimit: number;
  readonly timeoutMs: number | undefined;
  readonly rules: RetryRules;
  /** Called exactly once; `undefined` when the claim is lost and nothing is left to say. */
  readonly done: (outcome: Outcome | undefined) => void;
}

/**
 * One attempt: watches its time and its signal, and comes to an outcome exactly once. After it was told to stop, the
 * handler has a grace to come to its end; then its slot is freed whether it listens or not.
 */
export class Execution {
  readonly #task: ActiveTask;
  readonly #options: ExecutionOptions;
  #timeout: Timer | undefined;
  #grace: Timer | undefined;
  #over = false;

  constructor(task: ActiveTask, options: ExecutionOptions) {
    this.#task = task;
    this.#options = options;
    task.onStop = (cause) => this.#stopping(cause);
  }

  /** The attempt's time begins. */
  arm(): void {
    const { timeoutMs, clock } = this.#options;
    if (timeoutMs === undefined || this.#over || this.#timeout !== undefined) return;
    const task = this.#task;
    this.#timeout = clock
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
      text = serialize(result, this.#options.payloadLimit, 'RESULT_NOT_SERIALIZABLE');
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
      this.#task.stopped === undefined ? failed(this.#task, error, this.#options.rules) : this.#stopOutcome();
    this.#finish(outcome);
  }

  #stopping(cause: StopCause): void {
    this.#timeout?.cancel();
    if (this.#over || this.#grace !== undefined) return;
    // At close, the pool's own deadline is the grace; a lost claim has nobody waiting for it.
    if (cause === 'closing') return;
    this.#grace = this.#options.clock
      .setTimeout(() => this.#finish(this.#stopOutcome()), this.#options.graceMs)
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
        return failed(this.#task, stopped.reason, this.#options.rules);
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
    this.#options.done(outcome);
  }
}
