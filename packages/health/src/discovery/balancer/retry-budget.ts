import type { Clock } from '@xiaoke/core';

/** What may be saved up, in retries. */
const MOST = 100;
/** What is there to begin with, and is refilled by one a second, so that a quiet caller may retry at all. */
const RESERVE = 10;

/** Retries as a share of the calls: when everything fails, retries must not multiply the load. */
export class RetryBudget {
  readonly #share: number;
  readonly #clock: Clock;
  #tokens = RESERVE;
  #refilledAt: number;

  constructor(share: number, clock: Clock) {
    this.#share = share;
    this.#clock = clock;
    this.#refilledAt = clock.monotonic();
  }

  /** A call was made. */
  deposit(): void {
    this.#tokens = Math.min(MOST, this.#tokens + this.#share);
  }

  /** Takes one retry, if there is one. */
  withdraw(): boolean {
    const now = this.#clock.monotonic();
    if (this.#share > 0 && this.#tokens < RESERVE)
      this.#tokens = Math.min(RESERVE, this.#tokens + (now - this.#refilledAt) / 1_000);
    this.#refilledAt = now;
    if (this.#share === 0 || this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
