import { TimeoutError, type Clock } from '@xiaoke/core';
import type { Timeline } from './timeline.ts';

/** Waits that end by themselves, without a system timer each. */
export class Bounded {
  readonly #timeline: Timeline;
  readonly #clock: Clock;
  readonly #timeout: number;

  constructor(timeline: Timeline, clock: Clock, timeout: number) {
    this.#timeline = timeline;
    this.#clock = clock;
    this.#timeout = timeout;
  }

  /** Settles as `work` does, or rejects when it takes too long; `work` itself goes on. */
  run<T>(work: () => Promise<T>, what: string, timeout: number = this.#timeout): Promise<T> {
    return new Promise((resolve, reject) => {
      const entry = {
        dueAt: 0,
        heapIndex: -1,
        onDue: () => reject(new TimeoutError(`The ${what}`, timeout)),
      };
      this.#timeline.schedule(entry, this.#clock.monotonic() + timeout);
      work().then(
        (value) => {
          this.#timeline.cancel(entry);
          resolve(value);
        },
        (error: unknown) => {
          this.#timeline.cancel(entry);
          reject(error);
        },
      );
    });
  }

  /** Waits without keeping the process alive. */
  pause(delay: number): Promise<void> {
    return new Promise((resolve) => {
      this.#timeline.after(delay, resolve);
    });
  }
}
