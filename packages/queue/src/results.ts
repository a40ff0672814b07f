import { TimeoutError, onAbort, systemClock, type Background, type Clock, type Timer } from '@xiaoke/core';
import type { Backend } from './backend.ts';
import { QueueError } from './errors.ts';
import { resultOf, toRecord } from './records.ts';

interface Waiter {
  settle(outcome: { readonly value: unknown } | { readonly error: unknown }): void;
}

// Hints make a result arrive at once; looking makes it arrive even when every hint was lost.
const LOOK_EVERY = 1_000;
const MAX_LOOK = 500;

/** Everybody who waits for results: hints from the backend, a look at the truth, and a limit for each. */
export class Results {
  readonly #store: Pick<Backend, 'read' | 'onFinished' | 'now'>;
  readonly #clock: Clock;
  readonly #background: Background;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly #hinted = new Set<string>();
  /** Looked up once and not there: the process that ran it may still be about to tell. */
  readonly #missed = new Set<string>();
  #unsubscribe: (() => void) | undefined;
  #timer: Timer | undefined;
  #looking = false;

  constructor(store: Pick<Backend, 'read' | 'onFinished' | 'now'>, clock: Clock, background: Background) {
    this.#store = store;
    this.#clock = clock;
    this.#background = background;
  }

  get size(): number {
    return this.#waiters.size;
  }

  isAwaited(id: string): boolean {
    return this.#waiters.has(id);
  }

  wait(id: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimeout(
        () => settle({ error: new TimeoutError(`Task ${id}`, timeoutMs) }),
        timeoutMs,
      );
      const waiter: Waiter = { settle: (outcome) => settle(outcome) };
      const settle = (outcome: { readonly value: unknown } | { readonly error: unknown }): void => {
        timer.cancel();
        removeAbort();
        this.#remove(id, waiter);
        if ('value' in outcome) resolve(outcome.value);
        else reject(outcome.error);
      };
      this.#add(id, waiter);
      const removeAbort = onAbort(signal, (reason) => settle({ error: reason }));
      this.#hint([id]);
    });
  }

  /** This process saw the end of the task itself. */
  deliver(id: string, outcome: { readonly value: unknown } | { readonly error: unknown }): void {
    for (const waiter of this.#waiters.get(id) ?? []) waiter.settle(outcome);
  }

  close(): void {
    const error = new QueueError('QUEUE_CLOSED', 'The manager was closed while waiting for a result');
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.settle({ error });
    this.#stop();
  }

  #add(id: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(id) ?? new Set();
    waiters.add(waiter);
    this.#waiters.set(id, waiters);
    this.#unsubscribe ??= this.#store.onFinished((ids) => this.#hint(ids));
    this.#timer ??= systemClock.setInterval(() => this.#hint([...this.#waiters.keys()]), LOOK_EVERY).unref();
  }

  #remove(id: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(id);
    waiters?.delete(waiter);
    if (waiters?.size === 0) {
      this.#waiters.delete(id);
      this.#missed.delete(id);
    }
    if (this.#waiters.size === 0) this.#stop();
  }

  #stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #hint(ids: readonly string[]): void {
    // No ids at all: everything may have ended.
    const hinted = ids.length === 0 ? this.#waiters.keys() : ids;
    for (const id of hinted) if (this.#waiters.has(id)) this.#hinted.add(id);
    if (this.#hinted.size === 0 || this.#looking) return;
    this.#looking = true;
    this.#background.run(() => this.#look(), 'look for results');
  }

  async #look(): Promise<void> {
    try {
      // Hints of the same moment are looked up together.
      await Promise.resolve();
      while (this.#hinted.size > 0) {
        const ids = [...this.#hinted].slice(0, MAX_LOOK);
        for (const id of ids) this.#hinted.delete(id);
        const stored = await this.#store.read(ids);
        ids.forEach((id, index) => {
          const task = stored[index];
          if (task === undefined) this.#miss(id);
          else {
            const outcome = resultOf(toRecord(task, this.#store.now()));
            if (outcome !== undefined) this.deliver(id, outcome);
          }
        });
      }
    } finally {
      this.#looking = false;
    }
  }

  #miss(id: string): void {
    if (!this.#missed.delete(id)) {
      this.#missed.add(id);
      return;
    }
    this.deliver(id, {
      error: new QueueError('TASK_NOT_FOUND', `There is no record of task ${id}`, { details: { id } }),
    });
  }
}
