/** The sum, with Neumaier's correction for what rounding loses. */
export function sumOf(values: ArrayLike<number>): number {
  let sum = 0;
  let lost = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    const next = sum + value;
    if (Number.isFinite(next))
      lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
    sum = next;
  }
  return Number.isFinite(sum) ? sum + lost : sum;
}

/** The quantile of plain values, interpolated between neighbours. */
export function quantileOf(values: readonly number[], q: number): number {
  if (values.length === 0 || Number.isNaN(q)) return NaN;
  if (q < 0) return -Infinity;
  if (q > 1) return Infinity;
  const sorted = [...values].sort((a, b) => (Number.isNaN(a) ? -1 : Number.isNaN(b) ? 1 : a - b));
  const rank = q * (sorted.length - 1);
  const lower = Math.max(0, Math.floor(rank));
  const upper = Math.min(sorted.length - 1, lower + 1);
  const weight = rank - Math.floor(rank);
  return (sorted[lower] ?? NaN) * (1 - weight) + (sorted[upper] ?? NaN) * weight;
}

/** A bucket of a classic histogram. */
export interface Bucket {
  readonly upper: number;
  readonly count: number;
}

/** Prometheus's `histogram_quantile` over cumulative buckets. */
export function bucketQuantile(q: number, unsorted: readonly Bucket[]): number {
  if (Number.isNaN(q)) return NaN;
  if (q < 0) return -Infinity;
  if (q > 1) return Infinity;
  const buckets = monotonic(coalesce([...unsorted].sort((a, b) => a.upper - b.upper)));
  const last = buckets.at(-1);
  if (last === undefined || last.upper !== Infinity || buckets.length < 2 || last.count === 0) return NaN;
  return interpolate(buckets, q * last.count);
}

function interpolate(buckets: readonly Bucket[], rank: number): number {
  const index = buckets.slice(0, -1).findIndex((bucket) => bucket.count >= rank);
  const bucket = buckets[index];
  // In the last bucket, which has no upper bound, the best guess is where it begins.
  if (bucket === undefined) return buckets.at(-2)?.upper ?? NaN;
  if (index === 0 && bucket.upper <= 0) return bucket.upper;
  const below = buckets[index - 1] ?? { upper: 0, count: 0 };
  return below.upper + (bucket.upper - below.upper) * ((rank - below.count) / (bucket.count - below.count));
}

function coalesce(sorted: readonly Bucket[]): readonly Bucket[] {
  const merged: Bucket[] = [];
  for (const bucket of sorted) {
    const last = merged.at(-1);
    if (last?.upper === bucket.upper)
      merged[merged.length - 1] = { upper: last.upper, count: last.count + bucket.count };
    else merged.push(bucket);
  }
  return merged;
}

// Buckets are scraped one after the other and may disagree by a little.
function monotonic(buckets: readonly Bucket[]): readonly Bucket[] {
  let most = -Infinity;
  return buckets.map(({ upper, count }) => ({ upper, count: (most = Math.max(most, count)) }));
}
