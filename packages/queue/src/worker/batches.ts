import type { Clock, Timer } from '@xiaoke/core';
import type { ActiveTask } from './active-task.ts';
import type { RegisteredHandler } from './handlers.ts';

interface Gathering {
  readonly items: { task: ActiveTask; payload: unknown }[];
  readonly timer: Timer;
}

/** Gathers tasks for batch handlers until there are enough of them or the first one has waited long enough. */
export class Batches {
  readonly #gathering = new Map<RegisteredHandler, Gathering>();
  readonly #clock: Clock;
  readonly #run: (items: Gathering['items'], handler: RegisteredHandler) => Promise<void>;

  constructor(clock: Clock, run: (items: Gathering['items'], handler: RegisteredHandler) => Promise<void>) {
    this.#clock = clock;
    this.#run = run;
  }

  add(handler: RegisteredHandler, task: ActiveTask, payload: unknown): void {
    const { size, waitMs } = handler.batch ?? { size: 1, waitMs: 0 };
    const gathering = this.#gathering.get(handler) ?? this.#begin(handler, waitMs);
    gathering.items.push({ task, payload });
    if (gathering.items.length >= size) this.#release(handler);
  }

  flush(): void {
    for (const handler of this.#gathering.keys()) this.#release(handler);
  }

  #begin(handler: RegisteredHandler, waitMs: number): Gathering {
    const gathering: Gathering = {
      items: [],
      timer: this.#clock.setTimeout(() => this.#release(handler), waitMs),
    };
    this.#gathering.set(handler, gathering);
    return gathering;
  }

  #release(handler: RegisteredHandler): void {
    const gathering = this.#gathering.get(handler);
    if (gathering === undefined) return;
    this.#gathering.delete(handler);
    gathering.timer.cancel();
    // A task that was stopped while it waited is not run at all.
    const items = gathering.items.filter(({ task }) => task.stopped === undefined);
    if (items.length > 0) void this.#run(items, handler);
  }
}
