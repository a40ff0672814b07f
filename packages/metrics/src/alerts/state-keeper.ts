import { withTimeout, type Background, type Logger } from '@xiaoke/core';
import type { AlertStateStorage, SavedState } from './alert-state.ts';

// How long the storage may take, in milliseconds; an evaluation waits for it once.
const TIMEOUT = 2_000;

/**
 * Loads and saves the state of alerts without ever stopping the evaluation: a storage that is away is what an alert may be
 * about. Until it could be read it is not written, so that what it holds is not lost.
 */
export class StateKeeper {
  readonly #storage: AlertStateStorage;
  readonly #background: Background;
  readonly #logger: Logger;
  readonly #restore: (saved: SavedState) => void;
  readonly #current: () => SavedState;
  #loading: Promise<void> | undefined;
  #loaded = false;
  #saving = false;

  constructor(options: {
    readonly storage: AlertStateStorage;
    readonly background: Background;
    readonly logger: Logger;
    readonly restore: (saved: SavedState) => void;
    readonly current: () => SavedState;
  }) {
    this.#storage = options.storage;
    this.#background = options.background;
    this.#logger = options.logger;
    this.#restore = options.restore;
    this.#current = options.current;
  }

  /** Reads the state, once; never rejects, and tries again with the next call when it failed. */
  async load(): Promise<void> {
    if (this.#loaded) return;
    this.#loading ??= this.#load().finally(() => (this.#loading = undefined));
    await this.#loading;
  }

  /** Saves in the background, one at a time; the next call brings what this one missed. */
  saveSoon(): void {
    if (!this.#loaded || this.#saving) return;
    this.#saving = true;
    this.#background.run(async () => {
      try {
        await this.#storage.save(this.#current());
      } finally {
        this.#saving = false;
      }
    }, 'save the alerts');
  }

  /** Saves once more and closes the storage. */
  async close(): Promise<void> {
    if (this.#loaded) await this.#storage.save(this.#current());
    await this.#storage.close();
  }

  async #load(): Promise<void> {
    try {
      const saved = await withTimeout(this.#storage.load(), TIMEOUT, 'loading the alerts', { ref: false });
      if (saved !== undefined) this.#restore(saved);
      this.#loaded = true;
    } catch (error) {
      this.#logger.warn({ err: error }, 'the state of alerts is away; evaluating without it');
    }
  }
}
