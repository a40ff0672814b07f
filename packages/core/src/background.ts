import { silentLogger, type Logger } from './logger.ts';
import { withTimeout } from './wait.ts';

/** What becomes of background work that fails. */
export interface BackgroundOptions {
  readonly logger?: Logger | undefined;
  /** Called for each piece of work that rejected. */
  readonly onError?: ((error: unknown, reason: string) => void) | undefined;
}

/** The only place where a promise may be left alone: it is named, its failure is reported, and it can be waited for. */
export class Background {
  readonly #running = new Set<Promise<void>>();
  readonly #options: BackgroundOptions;

  constructor(options: BackgroundOptions = {}) {
    this.#options = options;
  }

  /** How much is running. */
  get size(): number {
    return this.#running.size;
  }

  /** Starts `work` without waiting for it. `reason` names it in the log. */
  run(work: () => Promise<unknown>, reason: string): void {
    const running = this.#guard(work, reason).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Resolves `true` when everything that was running has settled, or `false` after `timeout` milliseconds. */
  async settled(timeout: number): Promise<boolean> {
    try {
      await withTimeout(Promise.all(this.#running), timeout, 'background work');
      return true;
    } catch {
      return false;
    }
  }

  async #guard(work: () => Promise<unknown>, reason: string): Promise<void> {
    try {
      await work();
    } catch (error) {
      (this.#options.logger ?? silentLogger).error({ err: error, reason }, 'background work failed');
      this.#options.onError?.(error, reason);
    }
  }
}

/** Starts `work` without waiting for it; a failure is logged under `reason`. Use a {@link Background} to wait for it at close. */
export function runInBackground(
  work: () => Promise<unknown>,
  reason: string,
  options: BackgroundOptions = {},
): void {
  new Background(options).run(work, reason);
}
