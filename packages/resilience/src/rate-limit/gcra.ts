/** What a rate limit allows: `limit` per `perMs`, in bursts of at most `burst`. */
export interface Rate {
  readonly limit: number;
  readonly perMs: number;
  readonly burst: number;
}

/** What a limiter answered. */
export interface RateDecision {
  /** Whether the place is taken for the caller. */
  readonly granted: boolean;
  /** Granted: how long to wait before using it. Refused: when the next try could be granted. */
  readonly waitMs: number;
}

/**
 * The generic cell rate algorithm (ITU-T I.371): one number, the time at which the next call would be exactly on schedule,
 * does what a bucket with a timer does. A place can be reserved ahead; whoever reserves waits for its turn.
 */
export class Gcra {
  #theoretical = 0;

  take(rate: Rate, now: number, maxWait: number): RateDecision {
    const interval = rate.perMs / rate.limit;
    const due = Math.max(this.#theoretical, now);
    const wait = Math.max(0, due - interval * (rate.burst - 1) - now);
    if (wait > maxWait) return { granted: false, waitMs: wait };
    this.#theoretical = due + interval;
    return { granted: true, waitMs: wait };
  }
}
