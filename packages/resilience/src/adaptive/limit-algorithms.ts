/** What one window of calls showed. */
export interface LimitSample {
  /** Mean latency of the calls that succeeded. */
  readonly latencyMs: number;
  /** The most calls that ran at once. */
  readonly inFlight: number;
  /** Whether a call was refused for overload or timed out. */
  readonly dropped: boolean;
  /** How many calls the window holds. */
  readonly calls: number;
}

/** Finds how many calls a dependency can work on at once, from their latencies. */
export interface LimitAlgorithm {
  next(limit: number, sample: LimitSample): number;
}

/** The names of the algorithms. */
export type LimitAlgorithmName = 'gradient2' | 'vegas' | 'aimd';

/** Makes an algorithm with its published constants. */
export function makeLimitAlgorithm(name: LimitAlgorithmName): LimitAlgorithm {
  switch (name) {
    case 'gradient2':
      return new Gradient2();
    case 'vegas':
      return new Vegas();
    case 'aimd':
      return new Aimd();
  }
}

const TOLERANCE = 1.3;
const GROWTH = 0.2;
const DECLINE = 0.4;
const QUEUE = 4;
const UNLOADED = 1.1;
const LONG_SAMPLES = 100;
const WARM_UP = 10;
const DROP = 0.9;

/**
 * Netflix concurrency-limits, Gradient2: the limit follows the ratio of the long-term latency to the current one, with
 * room for a small queue. A dropped call also shrinks it, since a dependency that refuses answers fast. The long-term
 * average takes 100 windows here (600 samples there), as each of ours is a second or more.
 */
class Gradient2 implements LimitAlgorithm {
  #long = 0;
  #seen = 0;

  next(limit: number, { latencyMs, inFlight, dropped }: LimitSample): number {
    if (latencyMs === 0) return dropped ? limit * DROP : limit;
    this.#learn(latencyMs);
    if (dropped) return limit * DROP;
    // A client that does not use its limit learns nothing about it.
    if (inFlight < limit / 2) return limit;
    const gradient = Math.max(0.5, Math.min(1, (TOLERANCE * this.#long) / latencyMs));
    // As long as nothing queues, looking for more is free: grow by a fifth, or a capacity that came back takes minutes to find.
    const room = latencyMs <= this.#long * UNLOADED ? Math.max(QUEUE, limit) : QUEUE;
    const wanted = limit * gradient + room;
    return limit + (wanted - limit) * (wanted > limit ? GROWTH : DECLINE);
  }

  #learn(latencyMs: number): void {
    this.#seen += 1;
    // The first windows are averaged plainly: a baseline seeded by one lucky window would shrink the limit for long.
    const weight = this.#seen <= WARM_UP ? 1 / this.#seen : 2 / (LONG_SAMPLES + 1);
    // What a queue of our own making adds is learnt slowly, or the limit would talk itself up.
    const queueing = this.#seen > WARM_UP && latencyMs > this.#long * UNLOADED;
    this.#long += (latencyMs - this.#long) * (queueing ? weight / 4 : weight);
    // After an outage the average is too high and would hide the next one.
    if (this.#long / latencyMs > 2) this.#long *= 0.95;
  }
}

const PROBE_EVERY_CALLS = 30;

/** Netflix concurrency-limits, Vegas: estimates the queue from the latency without load, and keeps it short. */
class Vegas implements LimitAlgorithm {
  #fastest = Infinity;
  #sinceProbe = 0;

  next(limit: number, { latencyMs, inFlight, dropped, calls }: LimitSample): number {
    const step = Math.max(1, Math.log10(limit));
    if (dropped) return limit - step;
    if (latencyMs === 0) return limit;
    this.#sinceProbe += calls;
    if (latencyMs < this.#fastest || this.#sinceProbe > PROBE_EVERY_CALLS * limit) {
      this.#sinceProbe = 0;
      this.#fastest = latencyMs;
      return limit;
    }
    if (inFlight < limit / 2) return limit;
    const queue = Math.ceil(limit * (1 - this.#fastest / latencyMs));
    if (queue <= step) return limit + 6 * step;
    if (queue < 3 * step) return limit + step;
    return queue > 6 * step ? limit - step : limit;
  }
}

/** Additive increase, multiplicative decrease, as in TCP. Reacts to refusals and timeouts only. */
class Aimd implements LimitAlgorithm {
  next(limit: number, { inFlight, dropped }: LimitSample): number {
    if (dropped) return limit * DROP;
    return inFlight >= limit / 2 ? limit + 1 : limit;
  }
}
