import type { Logger } from '@xiaoke/core';
import type { Claim, Outcome } from '../backend.ts';
import type { Envelope } from '../envelope.ts';
import type { TaskContext } from './handlers.ts';

/** What a running task needs of its surroundings. */
export interface ActiveTaskHost {
  readonly logger: Logger;
  noteProgress(task: ActiveTask, value: unknown): void;
  noteLine(task: ActiveTask, line: string): void;
  childResults(task: ActiveTask): Promise<ReadonlyMap<string, unknown>>;
}

/** Why a task was told to stop. */
export type StopCause = 'timeout' | 'cancelled' | 'lost' | 'closing';

/** What runs a task. */
export interface TaskExecution {
  /** The task was told to stop. */
  stopping(cause: StopCause): void;
  /** The handler resolved. */
  succeeded(result: unknown): void;
  /** The handler threw or rejected. */
  failed(error: unknown): void;
  /** Nobody waits for it any longer. */
  abandon(): void;
}

/** A claimed task while this process has it; also the context its handler sees. */
export class ActiveTask implements TaskContext {
  readonly claim: Claim;
  readonly envelope: Envelope;
  readonly queue: string;
  readonly startedAt: number;
  /** Why it was told to stop; the first cause stays. */
  stopped: { readonly cause: StopCause; readonly reason: unknown } | undefined;
  /** What will be, or has been, sent to the backend. */
  outcome: Outcome | undefined;
  readonly #host: ActiveTaskHost;
  #controller: AbortController | undefined;
  #execution: TaskExecution | undefined;

  constructor(
    claim: Claim,
    envelope: Envelope,
    at: { readonly queue: string; readonly now: number },
    host: ActiveTaskHost,
  ) {
    this.claim = claim;
    this.envelope = envelope;
    this.queue = at.queue;
    this.startedAt = at.now;
    this.#host = host;
  }

  get id(): string {
    return this.claim.id;
  }

  get name(): string {
    return this.envelope.name;
  }

  get attempt(): number {
    return this.claim.attempts + 1;
  }

  get maxAttempts(): number {
    return this.envelope.attempts;
  }

  get enqueuedAt(): Date {
    return new Date(this.envelope.enqueuedAt);
  }

  get fencingToken(): number {
    return this.claim.token;
  }

  // Most handlers never look at the signal, and making one costs as much as the rest of a small task.
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.stopped !== undefined && !this.#controller.signal.aborted)
      this.#controller.abort(this.stopped.reason);
    return this.#controller.signal;
  }

  get logger(): Logger {
    return this.#host.logger;
  }

  progress(value: unknown): void {
    this.#host.noteProgress(this, value);
  }

  log(line: string): void {
    this.#host.noteLine(this, line);
  }

  childResults(): Promise<ReadonlyMap<string, unknown>> {
    return this.#host.childResults(this);
  }

  /** Fires the signal, once. */
  stop(cause: StopCause, reason: unknown): void {
    if (this.stopped !== undefined && cause !== 'lost') return;
    this.stopped = { cause, reason };
    this.#controller?.abort(reason);
    this.#execution?.stopping(cause);
  }

  /** What runs it, once it was started. */
  get execution(): TaskExecution | undefined {
    return this.#execution;
  }

  set execution(execution: TaskExecution) {
    this.#execution = execution;
    if (this.stopped !== undefined) execution.stopping(this.stopped.cause);
  }
}
