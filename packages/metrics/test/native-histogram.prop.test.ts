/** What holds for native histograms whatever is put into them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NativeHistogram } from '@xiaoke/metrics';
import { bucketBound, bucketIndex } from '../src/instruments/native-histogram.ts';

const positive = fc.double({ min: 1e-30, max: 1e30, noNaN: true });
const values = fc.array(fc.double({ min: -1e12, max: 1e12, noNaN: true }), { minLength: 1, maxLength: 300 });
const schema = fc.integer({ min: -4, max: 8 });

function histogram(of: readonly number[], schemaOf = 3, maxBuckets = 160): NativeHistogram {
  const made = new NativeHistogram(schemaOf, maxBuckets);
  for (const value of of) made.observe(value);
  return made;
}

/** Its buckets at a coarser schema: `i` there holds every `j` here with `ceil(j / 2^difference) = i`. */
function buckets(of: NativeHistogram, at: number): Record<string, number> {
  const counts: Record<string, number> = { zero: of.zero };
  for (const negative of [false, true]) {
    for (const { index, counts: own } of of.runs(negative)) {
      for (const [i, count] of own.entries()) {
        const key = `${negative ? '-' : '+'}${Math.ceil((index + i) / 2 ** (of.schema - at))}`;
        counts[key] = (counts[key] ?? 0) + count;
      }
    }
  }
  return counts;
}

describe('a bucket', () => {
  test('holds the values above the bound below it, up to its own', () => {
    fc.assert(
      fc.property(positive, schema, (value, of) => {
        const index = bucketIndex(value, of);
        // Bounds are powers that a double holds only nearly.
        expect(value).toBeLessThanOrEqual(bucketBound(index, of) * (1 + 1e-12));
        expect(value).toBeGreaterThan(bucketBound(index - 1, of) * (1 - 1e-12));
      }),
    );
  });

  test('holds a power of two that is its bound', () => {
    fc.assert(
      fc.property(fc.integer({ min: -90, max: 90 }), schema, (power, of) => {
        const index = bucketIndex(2 ** power, of);
        expect(bucketBound(index, of)).toBeGreaterThanOrEqual(2 ** power);
        expect(bucketBound(index - 1, of)).toBeLessThan(2 ** power);
      }),
    );
  });
});

describe('a histogram', () => {
  test('counts everything, and never has more buckets than it may', () => {
    fc.assert(
      fc.property(values, schema, (all, of) => {
        const made = histogram(all, of, 80);
        expect(made.count).toBe(all.length);
        for (const side of [made.runs(), made.runs(true)]) {
          const last = side.at(-1);
          const width = last === undefined ? 0 : last.index + last.counts.length - (side[0]?.index ?? 0);
          expect(width).toBeLessThanOrEqual(80);
        }
      }),
    );
  });

  test('made of two parts is the one made of all, whatever the schema of the parts', () => {
    fc.assert(
      fc.property(values, values, schema, schema, (a, b, schemaA, schemaB) => {
        const merged = histogram(a, schemaA);
        merged.merge(histogram(b, schemaB));
        const whole = histogram([...a, ...b], Math.min(schemaA, schemaB));
        const at = Math.min(merged.schema, whole.schema);
        expect(buckets(merged, at)).toEqual(buckets(whole, at));
      }),
    );
  });

  test('gives quantiles between the least and the greatest, rising, within the width of a bucket', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 1 }), (all) => {
        const made = histogram(all, 3, 2_000);
        const sorted = [...all].sort((a, b) => a - b);
        const width = 2 ** (2 ** -3) * (1 + 1e-9);
        const asked = [0, 0.1, 0.5, 0.9, 0.99, 1].map((q) => made.quantile(q));
        expect(asked).toEqual([...asked].sort((a, b) => a - b));
        expect(made.quantile(1)).toBeLessThanOrEqual((sorted.at(-1) ?? 0) * width);
        expect(made.quantile(0)).toBeGreaterThanOrEqual((sorted[0] ?? 0) / width);
        const middle = sorted[Math.ceil(sorted.length / 2) - 1] ?? 0;
        expect(made.quantile(0.5)).toBeGreaterThanOrEqual(middle / width);
        expect(made.quantile(0.5)).toBeLessThanOrEqual(middle * width);
      }),
    );
  });

  test('of nothing has no quantile, of negative and zero values has theirs, and is empty after a clear', () => {
    const made = histogram([]);
    expect([made.count, made.quantile(0.5)]).toEqual([0, NaN]);
    for (const value of [-8, -4, -2, 0, 0, 2]) made.observe(value);
    expect(made.quantile(0)).toBeLessThan(-7);
    expect(made.quantile(0.6)).toBe(0);
    expect(made.quantile(1)).toBeCloseTo(2, 5);
    made.clear();
    expect([made.count, made.runs(), made.runs(true)]).toEqual([0, [], []]);
  });
});
