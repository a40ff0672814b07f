import type { PolicyStats } from '../engine/policy.ts';
import type { GiveUpReason } from './attempt-info.ts';

/** What a retry saw. */
export interface RetryStats extends PolicyStats {
  readonly kind: 'retry';
  readonly calls: number;
  /** Attempts of all calls. */
  readonly attempts: number;
  /** Attempts per call: what retrying does to the load of the dependency. */
  readonly amplification: number;
  /** The same, in the worst of the last 60 minutes. */
  readonly worstAmplification: number;
  readonly firstTry: number;
  /** Calls that succeeded after a retry. */
  readonly recovered: number;
  /** Calls that failed, also after their retries. */
  readonly exhausted: number;
  readonly aborted: number;
  /** `attemptHistogram[n - 1]` calls took `n` attempts; the last entry holds longer ones too. */
  readonly attemptHistogram: readonly number[];
  /** `successAfter[n - 1]` calls succeeded at attempt `n`. */
  readonly successAfter: readonly number[];
  /** Retries of calls that failed all the same. */
  readonly wastedRetries: number;
  /** Milliseconds spent in waits between attempts. */
  readonly delayMs: number;
  readonly gaveUp: Readonly<Record<GiveUpReason, number>>;
  /** What the budget would still grant; `undefined` without one. */
  readonly budgetBalance: number | undefined;
  readonly maxAttempts: number;
}

const LONGEST = 16;
const MINUTES = 60;
const MINUTE = 60_000;

/** Counts what a retry does. */
export class RetryCounter {
  calls = 0;
  attempts = 0;
  delayMs = 0;
  #aborted = 0;
  #wasted = 0;
  readonly #histogram: number[] = [];
  readonly #successAfter: number[] = [];
  readonly #gaveUp = {
    attempts: 0,
    elapsed: 0,
    deadline: 0,
    budget: 0,
    'not-retryable': 0,
    'retry-after': 0,
    nested: 0,
    aborted: 0,
  };
  readonly #minutes: number[] = [];
  #minuteEnds = 0;
  #minuteCalls = 0;
  #minuteAttempts = 0;

  begin(now: number): void {
    this.calls += 1;
    this.attempts += 1;
    if (now >= this.#minuteEnds) this.#turnMinute(now);
    this.#minuteCalls += 1;
    this.#minuteAttempts += 1;
  }

  retried(delayMs: number): void {
    this.attempts += 1;
    this.#minuteAttempts += 1;
    this.delayMs += delayMs;
  }

  succeeded(attempts: number): void {
    bump(this.#histogram, attempts);
    bump(this.#successAfter, attempts);
  }

  failed(attempts: number, reason: GiveUpReason): void {
    bump(this.#histogram, attempts);
    this.#gaveUp[reason] += 1;
    if (reason === 'aborted') this.#aborted += 1;
    else this.#wasted += attempts - 1;
  }

  stats(): Omit<RetryStats, 'kind' | 'name' | 'budgetBalance' | 'maxAttempts'> {
    const firstTry = this.#successAfter[0] ?? 0;
    const succeeded = this.#successAfter.reduce((sum, count) => sum + count, 0);
    const failed = Object.values(this.#gaveUp).reduce((sum, count) => sum + count, 0);
    return {
      calls: this.calls,
      attempts: this.attempts,
      amplification: this.calls === 0 ? 1 : this.attempts / this.calls,
      worstAmplification: Math.max(1, this.#minuteRatio(), ...this.#minutes),
      firstTry,
      recovered: succeeded - firstTry,
      exhausted: failed - this.#aborted,
      aborted: this.#aborted,
      attemptHistogram: filled(this.#histogram),
      successAfter: filled(this.#successAfter),
      wastedRetries: this.#wasted,
      delayMs: this.delayMs,
      gaveUp: { ...this.#gaveUp },
    };
  }

  #turnMinute(now: number): void {
    if (this.#minuteCalls > 0) this.#minutes.push(this.#minuteRatio());
    if (this.#minutes.length > MINUTES) this.#minutes.shift();
    this.#minuteCalls = 0;
    this.#minuteAttempts = 0;
    this.#minuteEnds = now + MINUTE;
  }

  #minuteRatio(): number {
    return this.#minuteCalls === 0 ? 1 : this.#minuteAttempts / this.#minuteCalls;
  }
}

function bump(histogram: number[], attempts: number): void {
  const index = Math.min(attempts, LONGEST) - 1;
  histogram[index] = (histogram[index] ?? 0) + 1;
}

// A histogram may be written from its far end first, which leaves holes.
function filled(histogram: readonly number[]): readonly number[] {
  return Array.from(histogram, (count) => count ?? 0);
}
