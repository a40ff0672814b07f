import type { Clock } from '@xiaoke/core';
import { failureOf, toOutcome, type CheckOutcome } from './check-result.ts';
import type { HealthChecker } from './checker.ts';

/** How one run ended. */
export interface RunResult {
  readonly outcome: CheckOutcome;
  readonly durationMs: number;
  /** Whether this process, not the thing looked at, was too slow: its event loop was blocked past the deadline. */
  readonly selfStall: boolean;
}

// A deadline that is noticed this much too late, and as a share of the timeout, says that our own loop was blocked.
const STALL_MS = 250;
const STALL_SHARE = 0.5;

/**
 * Runs a checker under an enforced deadline. A checker that ignores its signal is left behind: `pending` then tells that it
 * is still there, so that it is never started a second time beside itself.
 */
export class CheckRunner {
  readonly #checker: HealthChecker;
  readonly #clock: Clock;
  readonly #onLate: () => void;
  #orphan = false;

  constructor(checker: HealthChecker, clock: Clock, onLate: () => void) {
    this.#checker = checker;
    this.#clock = clock;
    this.#onLate = onLate;
  }

  /** Whether a run that was given up has still not ended. */
  get pending(): boolean {
    return this.#orphan;
  }

  run(timeoutMs: number, closing: AbortSignal): Promise<RunResult> {
    const start = this.#clock.monotonic();
    const controller = new AbortController();
    let phase: string | undefined;
    return new Promise((resolve) => {
      let settled = false;
      const settle = (outcome: CheckOutcome, selfStall = false): void => {
        if (settled) return;
        settled = true;
        timer.cancel();
        closing.removeEventListener('abort', onClose);
        resolve({ outcome, durationMs: this.#clock.monotonic() - start, selfStall });
      };
      const giveUp = (code: string, selfStall: boolean): void => {
        this.#orphan = true;
        settle(
          { status: 'unhealthy', code, observed: phase === undefined ? undefined : { phase } },
          selfStall,
        );
        controller.abort(new DOMException(`The check was stopped: ${code}`, 'AbortError'));
      };
      const timer = this.#clock.setTimeout(() => {
        const late = this.#clock.monotonic() - start - timeoutMs;
        giveUp('TIMEOUT', late > STALL_MS && late > timeoutMs * STALL_SHARE);
      }, timeoutMs);
      const onClose = (): void => giveUp('CLOSED', false);
      closing.addEventListener('abort', onClose, { once: true });
      const context = { signal: controller.signal, timeoutMs, phase: (name: string) => void (phase = name) };
      this.#invoke(context).then((outcome) => {
        if (settled) this.#ended(outcome);
        else settle(outcome);
      }, ignore);
    });
  }

  // Never rejects, so that a checker which fails after its deadline is no unhandled rejection.
  async #invoke(context: Parameters<HealthChecker['check']>[0]): Promise<CheckOutcome> {
    try {
      return toOutcome(await this.#checker.check(context));
    } catch (error) {
      return failureOf(error);
    }
  }

  #ended(outcome: CheckOutcome): void {
    this.#orphan = false;
    if (outcome.status === 'healthy' || outcome.status === 'degraded') this.#onLate();
  }
}

function ignore(): void {}
