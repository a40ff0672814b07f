import { onAbort, type Background, type Clock, type Logger } from '@xiaoke/core';
import type { ResolvedRecovery } from './options.ts';
import type { CheckSnapshot } from './snapshot.ts';

const MAX_BACKOFF = 10 * 60_000;

/** What happened to a recovery. */
export type RecoveryEvent = {
  readonly attempt: number;
  readonly outcome: 'done' | 'failed' | 'exhausted';
  readonly error?: unknown;
};

/** Runs the recovery action of one check: after enough failures, one at a time, with growing pauses, and not for ever. */
export class Recovery {
  readonly #config: ResolvedRecovery;
  readonly #parts: { readonly clock: Clock; readonly logger: Logger; readonly background: Background };
  readonly #onEvent: (event: RecoveryEvent) => void;
  #attempts = 0;
  #notBefore = 0;
  #running: AbortController | undefined;

  constructor(
    config: ResolvedRecovery,
    parts: { readonly clock: Clock; readonly logger: Logger; readonly background: Background },
    onEvent: (event: RecoveryEvent) => void,
  ) {
    this.#config = config;
    this.#parts = parts;
    this.#onEvent = onEvent;
  }

  /** Called after every run. */
  consider(check: CheckSnapshot, closing: AbortSignal): void {
    if (check.consecutiveFailures === 0) {
      this.#attempts = 0;
      this.#notBefore = 0;
      this.#running?.abort(new DOMException('The check is well again', 'AbortError'));
      return;
    }
    const { after, maxAttempts, backoffMs } = this.#config;
    const now = this.#parts.clock.monotonic();
    if (check.consecutiveFailures < after || this.#running !== undefined || now < this.#notBefore) return;
    if (this.#attempts >= maxAttempts) return;
    this.#attempts += 1;
    this.#notBefore = now + Math.min(backoffMs * 2 ** (this.#attempts - 1), MAX_BACKOFF);
    this.#parts.background.run(() => this.#run(check, closing), `recover ${check.name}`);
  }

  async #run(check: CheckSnapshot, closing: AbortSignal): Promise<void> {
    const controller = new AbortController();
    this.#running = controller;
    const takeBack = onAbort(closing, (reason) => controller.abort(reason));
    const attempt = this.#attempts;
    try {
      await this.#config.action(check, controller.signal);
      this.#onEvent({ attempt, outcome: 'done' });
    } catch (error) {
      this.#parts.logger.warn({ err: error, check: check.name, attempt }, 'a recovery action failed');
      this.#onEvent({ attempt, outcome: 'failed', error });
    } finally {
      takeBack();
      this.#running = undefined;
      if (attempt === this.#config.maxAttempts) this.#onEvent({ attempt, outcome: 'exhausted' });
    }
  }
}
