/** What the calls that a circuit judges by came to. */
export interface WindowTotals {
  readonly calls: number;
  readonly failures: number;
  readonly slow: number;
}

/** The recent calls of a circuit, with running totals: recording and judging take the same time however many there were. */
export interface CallWindow {
  /** What was failed and slow when it was last written; see {@link CallWindow.totals}. */
  readonly failures: number;
  readonly slow: number;
  record(now: number, failed: boolean, slow: boolean): void;
  /** The totals as of `now`. */
  totals(now: number): WindowTotals;
  clear(): void;
}

const FIELDS = 3;

/**
 * The calls of the last `duration` milliseconds, in `buckets` steps that are advanced by the calls themselves: no timer.
 * Nothing is allocated before the first call.
 */
export class TimeWindow implements CallWindow {
  readonly #step: number;
  readonly #buckets: number;
  #counts: Float64Array | undefined = undefined;
  #current = 0;
  #stepEnds = 0;
  calls = 0;
  failures = 0;
  slow = 0;

  constructor(duration: number, buckets: number) {
    this.#buckets = buckets;
    this.#step = duration / buckets;
  }

  record(now: number, failed: boolean, slow: boolean): void {
    const counts = now < this.#stepEnds && this.#counts !== undefined ? this.#counts : this.#turn(now);
    const at = this.#current * FIELDS;
    counts[at] = (counts[at] ?? 0) + 1;
    this.calls += 1;
    if (failed || slow) this.#mark(counts, at, failed, slow);
  }

  #turn(now: number): Float64Array {
    const counts = (this.#counts ??= new Float64Array(this.#buckets * FIELDS));
    this.#advance(counts, now);
    return counts;
  }

  #mark(counts: Float64Array, at: number, failed: boolean, slow: boolean): void {
    if (failed) {
      counts[at + 1] = (counts[at + 1] ?? 0) + 1;
      this.failures += 1;
    }
    if (slow) {
      counts[at + 2] = (counts[at + 2] ?? 0) + 1;
      this.slow += 1;
    }
  }

  totals(now: number): WindowTotals {
    if (this.#counts !== undefined && now >= this.#stepEnds) this.#advance(this.#counts, now);
    return this;
  }

  clear(): void {
    this.#counts?.fill(0);
    this.calls = 0;
    this.failures = 0;
    this.slow = 0;
  }

  #advance(counts: Float64Array, now: number): void {
    if (now < this.#stepEnds) return;
    const passed = Math.floor((now - this.#stepEnds) / this.#step) + 1;
    for (let step = Math.min(passed, this.#buckets); step > 0; step -= 1) {
      this.#current = (this.#current + 1) % this.#buckets;
      this.#drop(counts, this.#current * FIELDS);
    }
    this.#stepEnds += passed * this.#step;
  }

  #drop(counts: Float64Array, at: number): void {
    this.calls -= counts[at] ?? 0;
    this.failures -= counts[at + 1] ?? 0;
    this.slow -= counts[at + 2] ?? 0;
    counts.fill(0, at, at + FIELDS);
  }
}

const FAILED = 1;
const SLOW = 2;

/** The last `size` calls. */
export class CountWindow implements CallWindow {
  readonly #size: number;
  #ring: Uint8Array | undefined = undefined;
  #next = 0;
  calls = 0;
  failures = 0;
  slow = 0;

  constructor(size: number) {
    this.#size = size;
  }

  record(_now: number, failed: boolean, slow: boolean): void {
    const ring = (this.#ring ??= new Uint8Array(this.#size));
    if (this.calls === this.#size) this.#drop(ring[this.#next] ?? 0);
    ring[this.#next] = (failed ? FAILED : 0) | (slow ? SLOW : 0);
    this.#next = (this.#next + 1) % this.#size;
    this.calls += 1;
    if (failed) this.failures += 1;
    if (slow) this.slow += 1;
  }

  totals(): WindowTotals {
    return this;
  }

  clear(): void {
    this.#next = 0;
    this.calls = 0;
    this.failures = 0;
    this.slow = 0;
  }

  #drop(entry: number): void {
    this.calls -= 1;
    if ((entry & FAILED) !== 0) this.failures -= 1;
    if ((entry & SLOW) !== 0) this.slow -= 1;
  }
}
