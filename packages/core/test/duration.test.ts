import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InvalidOptionError, toMilliseconds } from '@xiaoke/core';

test.each([
  [0, 0],
  [250, 250],
  [0.5, 0.5],
  ['250ms', 250],
  ['30s', 30_000],
  ['1.5s', 1_500],
  ['5m', 300_000],
  ['2h', 7_200_000],
  ['7d', 604_800_000],
])('%j is %d ms', (duration, milliseconds) => {
  expect(toMilliseconds(duration)).toBe(milliseconds);
});

test.each([
  '',
  '5',
  '5 s',
  's',
  '-1s',
  '1e3ms',
  '1w',
  ' 5s',
  '5s ',
  'Infinity',
  Number.NaN,
  Infinity,
  -1,
  null,
  {},
  5n,
])('%s is refused', (value) => {
  expect(() => toMilliseconds(value as never, 'queue.delay')).toThrow(InvalidOptionError);
  expect(() => toMilliseconds(value as never, 'queue.delay')).toThrow(/queue\.delay/);
});

test('bounds are inclusive, and Infinity is accepted where the bound allows it', () => {
  expect(toMilliseconds('1s', 'ttl', { min: 1_000, max: 1_000 })).toBe(1_000);
  expect(toMilliseconds(Infinity, 'wait', { max: Infinity })).toBe(Infinity);
  expect(() => toMilliseconds(999, 'ttl', { min: 1_000 })).toThrow(/at least 1000 ms/);
  expect(() => toMilliseconds('2s', 'ttl', { max: 1_000 })).toThrow(/at most 1000 ms/);
});

test('every whole number of a unit is that many times the unit', () => {
  const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
  fc.assert(
    fc.property(fc.nat(100_000), fc.constantFrom('ms', 's', 'm', 'h', 'd'), (count, unit) => {
      expect(toMilliseconds(`${count}${unit}`)).toBe(count * units[unit]);
    }),
  );
});

test('no text, however strange, gives anything but a number or the typed error', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const outcome = attempt(() => toMilliseconds(text));
      expect(typeof outcome === 'number' ? outcome >= 0 : outcome instanceof InvalidOptionError).toBe(true);
    }),
  );
});

function attempt(action: () => number): unknown {
  try {
    return action();
  } catch (error) {
    return error;
  }
}
