import { withTimeout, XiaokeError, type Clock } from '@xiaoke/core';
import { GuardVetoError } from './errors.ts';
import { formatPath } from './path.ts';
import type { Snapshot } from './snapshot.ts';

/** What a guard is told beside the two values. */
export interface GuardContext {
  readonly path: string;
  /** Fires when the guard has run out of time; its veto then counts as given. */
  readonly signal: AbortSignal;
}

/**
 * Looks at a change before it is in force. Throwing, rejecting or giving `false` refuses the whole update. It must not
 * change the configuration itself.
 */
export type Guard = (next: unknown, previous: unknown, context: GuardContext) => unknown;

/** The guards of a manager. */
export class Guards {
  readonly #entries = new Set<{ readonly parts: readonly string[]; readonly guard: Guard }>();
  readonly #timeout: number;
  readonly #clock: Clock;
  readonly #clean: (text: string) => string;

  /** @param clean - takes secrets out of what a guard says */
  constructor(timeout: number, clock: Clock, clean: (text: string) => string) {
    this.#timeout = timeout;
    this.#clock = clock;
    this.#clean = clean;
  }

  add(parts: readonly string[], guard: Guard): () => void {
    const entry = { parts, guard };
    this.#entries.add(entry);
    return () => void this.#entries.delete(entry);
  }

  /**
   * Asks every guard whose value would change, all at once.
   *
   * @throws {@link GuardVetoError} when one refuses or does not answer in time
   */
  async check(next: Snapshot, previous: Snapshot): Promise<void> {
    const concerned = [...this.#entries].filter(
      ({ parts }) => !Object.is(next.at(parts), previous.at(parts)),
    );
    await Promise.all(
      concerned.map(({ parts, guard }) => this.#ask(guard, parts, next.at(parts), previous.at(parts))),
    );
  }

  async #ask(guard: Guard, parts: readonly string[], next: unknown, previous: unknown): Promise<void> {
    const path = formatPath(parts);
    const controller = new AbortController();
    try {
      const answer = Promise.resolve().then(() => guard(next, previous, { path, signal: controller.signal }));
      const word = await withTimeout(answer, this.#timeout, 'the guard', { clock: this.#clock, ref: false });
      if (word === false) throw new Error('it said no');
    } catch (error) {
      controller.abort(error);
      throw new GuardVetoError(path, this.#clean(reasonOf(error)));
    }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof XiaokeError) return error.message;
  return error instanceof Error ? error.message : 'it threw';
}
