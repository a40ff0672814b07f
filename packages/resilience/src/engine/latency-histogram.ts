// Bucket i ends at FIRST * GROWTH ** i milliseconds: from 10 µs to about 100 minutes, each 10 % wide.
const FIRST = 0.01;
const GROWTH = 1.1;
const BUCKETS = 212;
const SCALE = 1 / Math.log2(GROWTH);
const OFFSET = Math.log2(FIRST);

/**
 * Latencies in logarithmic buckets: a record is one increment, and a quantile is at most 5 % off (it names the middle of
 * its bucket). Nothing is allocated before the first record.
 */
export class LatencyHistogram {
  #buckets: Uint32Array | undefined = undefined;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  record(milliseconds: number): void {
    const buckets = (this.#buckets ??= new Uint32Array(BUCKETS));
    const index = milliseconds <= FIRST ? 0 : Math.ceil((Math.log2(milliseconds) - OFFSET) * SCALE);
    const bucket = index < BUCKETS ? index : BUCKETS - 1;
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    this.#count += 1;
  }

  /** The latency below which the share `q` lies; 0 when nothing was recorded. */
  quantile(q: number): number {
    const wanted = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (const [index, count] of (this.#buckets ?? []).entries()) {
      seen += count;
      if (seen >= wanted) return FIRST * GROWTH ** (index - 0.5);
    }
    return 0;
  }

  summary(): { readonly p50: number; readonly p95: number; readonly p99: number } {
    return { p50: this.quantile(0.5), p95: this.quantile(0.95), p99: this.quantile(0.99) };
  }

  /** Halves every count, so that old latencies fade. */
  fade(): void {
    const buckets = this.#buckets ?? new Uint32Array(0);
    this.#count = 0;
    for (const [index, count] of buckets.entries()) {
      buckets[index] = count >>> 1;
      this.#count += count >>> 1;
    }
  }
}
