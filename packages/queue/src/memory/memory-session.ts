import type { Clock, Timer } from '@xiaoke/core';
import type { Session, SessionListener, TurnReply, TurnRequest } from '../backend.ts';
import type { MemoryStore } from './store.ts';

/** What a session in memory is made of. */
export interface MemorySessionOptions {
  readonly store: MemoryStore;
  readonly clock: Clock;
  readonly slots: number;
  readonly queues: readonly string[];
  readonly listener: SessionListener;
  closed(session: MemorySession): void;
}

/** A worker pool's place in memory: a lease cannot be lost here, and waking up is a function call. */
export class MemorySession implements Session {
  readonly partition = 0;
  slots: number;
  readonly queues: readonly string[];
  readonly listener: SessionListener;
  readonly #options: MemorySessionOptions;
  readonly #woken = new Set<string>();
  #waiting: { queues: readonly string[]; done: (queues: readonly string[]) => void } | undefined;

  constructor(options: MemorySessionOptions) {
    this.#options = options;
    this.slots = options.slots;
    this.queues = options.queues;
    this.listener = options.listener;
  }

  turn(queue: string, request: TurnRequest): Promise<TurnReply> {
    // A turn of the event loop for each exchange: endless work must not keep timers and sockets from being served.
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#woken.delete(queue);
        resolve(this.#options.store.turn(queue, this, request, this.#options.clock.now()));
      });
    });
  }

  wait(queues: readonly string[], timeoutMs: number): Promise<readonly string[]> {
    const woken = queues.filter((queue) => this.#woken.delete(queue));
    if (woken.length > 0) return Promise.resolve(woken);
    return new Promise((resolve) => {
      // Without a delayed task in sight there is nothing that time alone could bring.
      const timer: Timer = this.#options.clock.setTimeout(() => this.#finish(queues), timeoutMs).unref();
      this.#waiting = {
        queues,
        done: (result) => {
          timer.cancel();
          resolve(result);
        },
      };
    });
  }

  /** Something may be there for `queue`. */
  wake(queue: string): void {
    if (this.#waiting?.queues.includes(queue) === true) this.#finish([queue]);
    else this.#woken.add(queue);
  }

  passOn(): void {
    // Every session was woken.
  }

  beat(): Promise<void> {
    return Promise.resolve();
  }

  interrupt(): void {
    this.#finish([]);
  }

  resize(slots: number): void {
    this.slots = slots;
  }

  close(): Promise<void> {
    this.interrupt();
    const now = this.#options.clock.now();
    for (const { queue, id, token } of this.listener.held()) {
      const settlement = { id, token, priority: 1, repeated: false, outcome: { kind: 'return' } } as const;
      this.#options.store.turn(queue, this, { settlements: [settlement], want: 0, quotas: [] }, now);
    }
    this.#options.closed(this);
    return Promise.resolve();
  }

  #finish(queues: readonly string[]): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.done(queues);
  }
}
