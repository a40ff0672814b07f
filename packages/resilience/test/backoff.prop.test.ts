import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileBackoff, type BackoffOptions } from '../src/retry/backoff.ts';
import { parseRetryAfter } from '../src/retry/retry-after.ts';
import { nightly, seeded } from './support.ts';

const runs = { numRuns: nightly ? 20_000 : 500 };
const options = fc.record<BackoffOptions>({
  strategy: fc.constantFrom('exponential', 'linear', 'constant', 'decorrelated', 'fibonacci'),
  baseDelay: fc.integer({ min: 0, max: 100_000 }),
  maxDelay: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  factor: fc.double({ min: 1, max: 1_000, noNaN: true }),
  jitter: fc.oneof(
    fc.constantFrom<'none' | 'full' | 'equal'>('none', 'full', 'equal'),
    fc.record({ proportional: fc.double({ min: 0, max: 1, noNaN: true }) }),
  ),
});

describe('every wait', () => {
  test('is a whole number from 0 to maxDelay, however long it has been retried', () => {
    fc.assert(
      fc.property(options, fc.integer({ min: 1, max: 10_000 }), fc.integer(), (given, retry, seed) => {
        const backoff = compileBackoff(given, seeded(seed));
        const delay = backoff(retry, backoff(Math.max(1, retry - 1), 0, undefined), undefined);
        expect(Number.isInteger(delay)).toBe(true);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBeLessThanOrEqual(Number(given.maxDelay));
      }),
      runs,
    );
  });

  test('is the same for the same seed', () => {
    fc.assert(
      fc.property(options, fc.integer(), (given, seed) => {
        const draw = (): number[] => {
          const backoff = compileBackoff(given, seeded(seed));
          return Array.from({ length: 20 }, (_, index) => backoff(index + 1, 50, undefined));
        };
        expect(draw()).toEqual(draw());
      }),
      runs,
    );
  });

  test('of a function is what it says, capped; what it gets wrong is the longest wait', () => {
    const backoff = (value: unknown): number =>
      compileBackoff({ strategy: () => value as number, maxDelay: 5_000 }, Math.random)(1, 0, undefined);
    expect([
      backoff(10),
      backoff('2s'),
      backoff(1e12),
      backoff(Infinity),
      backoff(-1),
      backoff('soon'),
      backoff(Number.NaN),
    ]).toEqual([10, 2_000, 5_000, 5_000, 5_000, 5_000, 5_000]);
    const throws = compileBackoff(
      {
        strategy: () => {
          throw new Error('no');
        },
        maxDelay: 70,
      },
      Math.random,
    );
    expect(throws(1, 0, undefined)).toBe(70);
  });
});

describe('without jitter', () => {
  const exact = (given: BackoffOptions): number[] => {
    const backoff = compileBackoff({ ...given, jitter: 'none' }, Math.random);
    return Array.from({ length: 8 }, (_, index) => backoff(index + 1, 0, undefined));
  };

  test('the sequences are those of their names', () => {
    expect(exact({ strategy: 'exponential', baseDelay: 10, maxDelay: 500 })).toEqual([
      10, 20, 40, 80, 160, 320, 500, 500,
    ]);
    expect(exact({ strategy: 'exponential', baseDelay: 10, factor: 3 })).toEqual([
      10, 30, 90, 270, 810, 2_430, 7_290, 10_000,
    ]);
    expect(exact({ strategy: 'linear', baseDelay: 10, maxDelay: 65 })).toEqual([
      10, 20, 30, 40, 50, 60, 65, 65,
    ]);
    expect(exact({ strategy: 'constant', baseDelay: 10 })).toEqual([10, 10, 10, 10, 10, 10, 10, 10]);
    expect(exact({ strategy: 'fibonacci', baseDelay: 10, maxDelay: 150 })).toEqual([
      10, 10, 20, 30, 50, 80, 130, 150,
    ]);
  });
});

describe('the spread', () => {
  const draws = (jitter: BackoffOptions['jitter'], retry: number): number[] => {
    const backoff = compileBackoff({ baseDelay: 100, maxDelay: 1_000, jitter }, seeded(9));
    return Array.from({ length: 20_000 }, () => backoff(retry, 0, undefined));
  };
  /** The largest distance to the uniform distribution (Kolmogorov and Smirnov); 0.0136 is its 99.9 % bound for so many. */
  const distance = (values: readonly number[], low: number, high: number): number => {
    const sorted = [...values].sort((a, b) => a - b);
    return Math.max(
      ...sorted.map((value, index) =>
        Math.abs((index + 1) / sorted.length - (value - low + 1) / (high - low + 1)),
      ),
    );
  };

  test.each([
    ['full', 'full', 3, 0, 400],
    ['full at the cap', 'full', 30, 0, 1_000],
    ['equal', 'equal', 3, 200, 400],
    ['equal at the cap', 'equal', 30, 500, 1_000],
  ] as const)('%s is even', (_, jitter, retry, low, high) => {
    const values = draws(jitter, retry);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(low);
    expect(Math.max(...values)).toBeLessThanOrEqual(high);
    expect(distance(values, low, high)).toBeLessThan(0.0136);
  });

  test('a share spreads around the wait, and at the cap below it, never heaped on it', () => {
    const around = draws({ proportional: 0.25 }, 3);
    expect([Math.min(...around), Math.max(...around)]).toEqual([300, 500]);
    const capped = draws({ proportional: 0.25 }, 30);
    expect([Math.min(...capped), Math.max(...capped)]).toEqual([750, 1_000]);
    expect(capped.filter((value) => value === 1_000).length / capped.length).toBeLessThan(0.01);
  });

  test('decorrelated stays between the base and three times the last wait', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 0, max: 100_000 }),
        fc.integer(),
        (base, previous, seed) => {
          const delay = compileBackoff(
            { strategy: 'decorrelated', baseDelay: base, maxDelay: 5_000 },
            seeded(seed),
          )(5, previous, undefined);
          expect(delay).toBeGreaterThanOrEqual(base);
          expect(delay).toBeLessThanOrEqual(Math.min(5_000, Math.max(base, previous) * 3));
        },
      ),
      runs,
    );
  });
});

test('Retry-After is read in all its forms', () => {
  const now = Date.UTC(2030, 0, 1);
  const read = (value: unknown): number | undefined => parseRetryAfter(value, now);
  expect([read('120'), read('0'), read(3), read('1.5')]).toEqual([120_000, 0, 3_000, 1_500]);
  expect(read('Tue, 01 Jan 2030 00:00:30 GMT')).toBe(30_000);
  expect(read('Mon, 31 Dec 2029 23:59:00 GMT')).toBe(0);
  expect([read(''), read('soon'), read('-1'), read(-1), read(undefined), read({})]).toEqual(
    Array.from({ length: 6 }, () => undefined),
  );
});
