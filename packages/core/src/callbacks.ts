import { silentLogger, type Logger } from './logger.ts';

/** How failing callbacks are reported. */
export interface CallbackOptions {
  /** What the callbacks are for, in the log. */
  readonly name: string;
  readonly logger?: Logger | undefined;
  /** Called for each callback that threw or rejected, for counting. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/**
 * The callbacks behind an `addXCallback`: each runs isolated, so that one which throws or rejects is logged and
 * counted and changes nothing for the others.
 */
export class CallbackSet<Args extends readonly unknown[]> {
  readonly #entries = new Set<{ readonly callback: (...args: Args) => unknown }>();
  readonly #options: CallbackOptions;

  constructor(options: CallbackOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Adds a callback; the same function added twice runs twice. Returns the function that takes it back. */
  add(callback: (...args: Args) => unknown): () => void {
    const entry = { callback };
    this.#entries.add(entry);
    return () => {
      this.#entries.delete(entry);
    };
  }

  /** Calls all of them, in the order they were added, and resolves when the asynchronous ones have settled too. */
  async call(...args: Args): Promise<void> {
    await Promise.all([...this.#entries].map(({ callback }) => this.#run(callback, args)));
  }

  clear(): void {
    this.#entries.clear();
  }

  async #run(callback: (...args: Args) => unknown, args: Args): Promise<void> {
    try {
      await callback(...args);
    } catch (error) {
      const { logger = silentLogger, name, onError } = this.#options;
      logger.error({ err: error, callback: name }, 'a callback failed');
      onError?.(error);
    }
  }
}
