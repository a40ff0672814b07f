import type { Clock, Timer } from '@xiaoke/core';
import type { Stored } from '../stored.ts';
import type { EntryStore } from './entry-store.ts';

/** How the sweeper works. */
export interface SweeperOptions {
  readonly clock: Clock;
  readonly interval: number;
  /** Milliseconds one look may take. */
  readonly budget: number;
  /** Whether an entry is of no use any more. */
  readonly isDead: (stored: Stored) => boolean;
  readonly onRemove: (key: string, stored: Stored) => void;
}

// Reading the clock for each entry would cost more than looking at it.
const CHECK_EVERY = 64;
// After a look that ran out of budget the next one comes soon, so that a flood of expired entries does not pile up.
const HURRY = 20;

/** Removes dead entries nobody asks for, a little at a time: no look takes much longer than its budget. */
export class Sweeper {
  readonly #store: EntryStore;
  readonly #options: SweeperOptions;
  #position: Iterator<readonly [string, Stored]> | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(store: EntryStore, options: SweeperOptions) {
    this.#store = store;
    this.#options = options;
    this.#schedule(options.interval);
  }

  /** One look. Returns whether it came to the end of the entries. */
  sweep(): boolean {
    const { clock, budget, isDead, onRemove } = this.#options;
    const deadline = clock.monotonic() + budget;
    const position = (this.#position ??= this.#store.entries());
    for (let looked = 1; ; looked += 1) {
      const next = position.next();
      if (next.done === true) {
        this.#position = undefined;
        return true;
      }
      const [key, stored] = next.value;
      if (isDead(stored) && this.#store.delete(key)) onRemove(key, stored);
      if (looked % CHECK_EVERY === 0 && clock.monotonic() >= deadline) return false;
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(delay: number): void {
    if (this.#closed) return;
    this.#timer = this.#options.clock
      .setTimeout(() => {
        const finished = this.sweep();
        this.#schedule(finished ? this.#options.interval : Math.min(HURRY, this.#options.interval));
      }, delay)
      .unref();
  }
}
