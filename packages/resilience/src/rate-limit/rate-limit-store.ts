import type { Rate, RateDecision } from './gcra.ts';

/** Where a rate limit is kept when several processes share it. */
export interface RateLimitStore {
  /**
   * Takes one place of `key`, at most `maxWait` milliseconds ahead. Rejects when the store cannot be asked; it never
   * takes longer than its own bound.
   */
  take(key: string, rate: Rate, maxWait: number): Promise<RateDecision>;
}
