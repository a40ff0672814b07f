/** Observations this close to zero share one bucket; Prometheus's own default. */
export const ZERO_THRESHOLD: number = 2 ** -128;

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);
// The platforms Node runs on are little-endian.
const HIGH = 1;

/** Bucket boundaries of one octave: `0.5 · 2^(i / 2^schema)`, in [0.5, 1). */
function octave(schema: number): Float64Array {
  const count = 2 ** schema;
  return Float64Array.from({ length: count }, (_, i) => 2 ** (i / count - 1));
}

const OCTAVES: readonly Float64Array[] = Array.from({ length: 9 }, (_, schema) => octave(schema));

/** The bucket of a positive, normal `value`: bucket `i` holds `(2^((i-1)/2^schema), 2^(i/2^schema)]`. */
export function bucketIndex(value: number, schema: number): number {
  float[0] = value;
  const high = words[HIGH] as number;
  const exponent = ((high >>> 20) & 0x7ff) - 1_022;
  words[HIGH] = (high & 0x800fffff) | 0x3fe00000;
  const fraction = float[0];
  if (schema <= 0) {
    const index = fraction === 0.5 ? exponent - 1 : exponent;
    return (index + (1 << -schema) - 1) >> -schema;
  }
  const bounds = OCTAVES[schema] as Float64Array;
  let low = 0;
  let end = bounds.length;
  while (low < end) {
    const middle = (low + end) >> 1;
    if ((bounds[middle] as number) < fraction) low = middle + 1;
    else end = middle;
  }
  return low + (exponent - 1) * bounds.length;
}

/** The upper bound of bucket `index`. */
export function bucketBound(index: number, schema: number): number {
  return 2 ** (index / 2 ** schema);
}

/** Counts in a window of consecutive buckets that grows where values come, up to a limit. */
class Buckets {
  counts = new Float64Array(16);
  /** The bucket index of `counts[0]`; meaningless while empty. */
  start = 0;
  first = 0;
  last = -1;

  /** Adds to a bucket, or says `false` when the window would be wider than `limit`. */
  add(index: number, amount: number, limit: number): boolean {
    if (this.last < this.first) {
      this.start = index - (this.counts.length >> 1);
      this.first = this.last = index;
    }
    const first = Math.min(this.first, index);
    const last = Math.max(this.last, index);
    if (last - first + 1 > limit) return false;
    if (first < this.start || last >= this.start + this.counts.length) this.#grow(first, last, limit);
    this.first = first;
    this.last = last;
    (this.counts[index - this.start] as number) += amount;
    return true;
  }

  /** Merges pairs of buckets: one schema coarser, exactly. */
  halve(): void {
    const old = this.counts;
    const { start, first, last } = this;
    this.counts = new Float64Array(old.length);
    this.first = 0;
    this.last = -1;
    for (let index = first; index <= last; index++) {
      const count = old[index - start] ?? 0;
      if (count > 0) this.add((index + 1) >> 1, count, Infinity);
    }
  }

  clear(): void {
    this.counts.fill(0);
    this.first = 0;
    this.last = -1;
  }

  #grow(first: number, last: number, limit: number): void {
    const length = Math.max(Math.min(this.counts.length * 2, limit), last - first + 1);
    const start = first - ((length - (last - first + 1)) >> 1);
    const counts = new Float64Array(length);
    for (let index = this.first; index <= this.last; index++) {
      counts[index - start] = this.counts[index - this.start] ?? 0;
    }
    this.counts = counts;
    this.start = start;
  }
}

/** A run of non-empty buckets, and the first one's index. */
export interface BucketRun {
  readonly index: number;
  readonly counts: readonly number[];
}

/**
 * An exponential histogram (Prometheus's native histogram, OpenTelemetry's exponential one): boundaries grow by
 * `2^(2^-schema)`, so any value is known within that factor. When it would need more than `maxBuckets`, pairs of buckets
 * are merged and the schema falls by one; merging is exact, so histograms of any schema add up.
 */
export class NativeHistogram {
  schema: number;
  zero = 0;
  readonly maxBuckets: number;
  readonly #positive = new Buckets();
  #negative: Buckets | undefined;

  constructor(schema: number, maxBuckets: number) {
    this.schema = schema;
    this.maxBuckets = maxBuckets;
  }

  /** Counts a finite value. */
  observe(value: number): void {
    if (value > ZERO_THRESHOLD) this.#add(this.#positive, value);
    else if (value < -ZERO_THRESHOLD) this.#add((this.#negative ??= new Buckets()), -value);
    else this.zero += 1;
  }

  /** Everything counted. */
  get count(): number {
    let total = this.zero;
    for (const run of [...this.runs(), ...this.runs(true)]) for (const count of run.counts) total += count;
    return total;
  }

  /** The runs of non-empty buckets, ascending by absolute value. */
  runs(negative = false): readonly BucketRun[] {
    const buckets = negative ? this.#negative : this.#positive;
    const runs: { index: number; counts: number[] }[] = [];
    let open: { index: number; counts: number[] } | undefined;
    for (let index = buckets?.first ?? 0; buckets !== undefined && index <= buckets.last; index++) {
      const count = buckets.counts[index - buckets.start] ?? 0;
      if (count === 0) open = undefined;
      else if (open === undefined) runs.push((open = { index, counts: [count] }));
      else open.counts.push(count);
    }
    return runs;
  }

  /** Adds runs of a histogram of any schema. */
  addRuns(schema: number, runs: readonly BucketRun[], negative = false): void {
    if (runs.length === 0) return;
    while (this.schema > schema) this.#coarsen();
    const buckets = negative ? (this.#negative ??= new Buckets()) : this.#positive;
    for (const run of runs) {
      for (const [i, count] of run.counts.entries()) this.#addAt(buckets, schema, run.index + i, count);
    }
  }

  /** Adds all of `other`. */
  merge(other: NativeHistogram): void {
    this.zero += other.zero;
    this.addRuns(other.schema, other.runs());
    this.addRuns(other.schema, other.runs(true), true);
  }

  /** The value below which a share `q` of the observations lies, interpolated within its bucket; `NaN` when empty. */
  quantile(q: number): number {
    const total = this.count;
    if (total === 0) return NaN;
    let rank = q * total;
    const negative = [...this.runs(true)].reverse();
    for (const run of negative) {
      for (let i = run.counts.length - 1; i >= 0; i--) {
        const count = run.counts[i] ?? 0;
        if (rank <= count) return -this.#within(run.index + i, 1 - rank / count);
        rank -= count;
      }
    }
    if (rank <= this.zero && this.zero > 0) return 0;
    rank -= this.zero;
    for (const run of this.runs()) {
      for (const [i, count] of run.counts.entries()) {
        if (rank <= count) return this.#within(run.index + i, rank / count);
        rank -= count;
      }
    }
    return NaN;
  }

  clear(): void {
    this.zero = 0;
    this.#positive.clear();
    this.#negative = undefined;
  }

  #addAt(buckets: Buckets, schema: number, index: number, count: number): void {
    // A bucket lies in bucket ceil(index / 2) of the next coarser schema.
    const at = (): number => Math.ceil(index / 2 ** (schema - this.schema));
    while (!buckets.add(at(), count, this.maxBuckets)) this.#coarsen();
  }

  #within(index: number, share: number): number {
    const upper = bucketBound(index, this.schema);
    return upper * 2 ** ((share - 1) * 2 ** -this.schema);
  }

  #add(buckets: Buckets, value: number): void {
    while (!buckets.add(bucketIndex(value, this.schema), 1, this.maxBuckets)) this.#coarsen();
  }

  #coarsen(): void {
    this.schema -= 1;
    this.#positive.halve();
    this.#negative?.halve();
  }
}
