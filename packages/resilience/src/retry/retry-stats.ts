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
  #calls = 0;
  #retries = 0;
  #delayMs = 0;
  #firstTry = 0;
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
  // What was counted when the minute began.
  #callsBefore = 0;
  #retriesBefore = 0;

  begin(now: number): void {
    if (now >= this.#minuteEnds) this.#turnMinute(now);
    this.#calls += 1;
  }

  retried(delayMs: number): void {
    this.#retries += 1;
    this.#delayMs += delayMs;
  }

  succeeded(attempts: number): void {
    // Nearly all calls; counting them takes one addition.
    if (attempts === 1) {
      this.#firstTry += 1;
      return;
    }
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
    const firstTry = this.#firstTry;
    const recovered = this.#successAfter.reduce((sum, count) => sum + count, 0);
    const failed = Object.values(this.#gaveUp).reduce((sum, count) => sum + count, 0);
    return {
      calls: this.#calls,
      attempts: this.#calls + this.#retries,
      amplification: ratio(this.#calls, this.#retries),
      worstAmplification: Math.max(1, this.#minuteRatio(), ...this.#minutes),
      firstTry,
      recovered,
      exhausted: failed - this.#aborted,
      aborted: this.#aborted,
      attemptHistogram: withFirst(this.#histogram, firstTry),
      successAfter: withFirst(this.#successAfter, firstTry),
      wastedRetries: this.#wasted,
      delayMs: this.#delayMs,
      gaveUp: { ...this.#gaveUp },
    };
  }

  #turnMinute(now: number): void {
    if (this.#calls > this.#callsBefore) this.#minutes.push(this.#minuteRatio());
    if (this.#minutes.length > MINUTES) this.#minutes.shift();
    this.#callsBefore = this.#calls;
    this.#retriesBefore = this.#retries;
    this.#minuteEnds = now + MINUTE;
  }

  #minuteRatio(): number {
    return ratio(this.#calls - this.#callsBefore, this.#retries - this.#retriesBefore);
  }
}

function ratio(calls: number, retries: number): number {
  return calls === 0 ? 1 : (calls + retries) / calls;
}

function bump(histogram: number[], attempts: number): void {
  const index = Math.min(attempts, LONGEST) - 1;
  histogram[index] = (histogram[index] ?? 0) + 1;
}

function withFirst(histogram: readonly number[], firstTry: number): readonly number[] {
  // It may have been written from its far end first, which leaves holes.
  const counts = Array.from(histogram, (count) => count ?? 0);
  if (firstTry > 0) counts[0] = (counts[0] ?? 0) + firstTry;
  return counts;
}
