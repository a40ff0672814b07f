import type { Background, Clock, Timer } from '@xiaoke/core';
import type { Backend, StalledTask } from './backend.ts';

const TIDY_EVERY = 60_000;
const RECOVER_AT_MOST_EVERY = 15_000;

/** What every manager does for all now and then: puts back what lost workers held, and drops old records. */
export class Upkeep {
  readonly #background: Background;
  readonly #busy = new Set<string>();
  readonly #timers: readonly Timer[];

  constructor(
    backend: Backend,
    background: Background,
    options: { readonly clock: Clock; readonly leaseMs: number },
    stalled: (task: StalledTask) => void,
  ) {
    this.#background = background;
    const recoverEvery = Math.max(200, Math.min(RECOVER_AT_MOST_EVERY, options.leaseMs / 2));
    const recover = async (): Promise<void> => {
      for (const task of await backend.recover()) stalled(task);
    };
    this.#timers = [
      options.clock.setInterval(() => this.#once('recover stalled tasks', recover), recoverEvery).unref(),
      options.clock.setInterval(() => this.#once('tidy', () => backend.maintain()), TIDY_EVERY).unref(),
    ];
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
  }

  /** During an outage these must not pile up. */
  #once(what: string, work: () => Promise<void>): void {
    if (this.#busy.has(what)) return;
    this.#busy.add(what);
    this.#background.run(async () => {
      try {
        await work();
      } finally {
        this.#busy.delete(what);
      }
    }, what);
  }
}
