import { InvalidOptionError } from './errors.ts';

/**
 * A length of time: a number is milliseconds, a string is a number with its unit, `'250ms'`, `'30s'`, `'5m'`,
 * `'2h'` or `'7d'`. Fractions are allowed (`'1.5s'`).
 */
export type Duration = number | string;

/** The range a duration must lie in, in milliseconds. */
export interface DurationBounds {
  /** Smallest value that is accepted. @default 0 */
  readonly min?: number;
  /** Largest value that is accepted. `Infinity` itself is accepted only when this is `Infinity`. @default Number.MAX_SAFE_INTEGER */
  readonly max?: number;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PATTERN = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/**
 * Turns a {@link Duration} into milliseconds.
 *
 * @param option - the path named by the error
 * @throws {@link InvalidOptionError} when it is no duration or lies outside `bounds`
 *
 * @example
 * ```ts
 * import { toMilliseconds } from '@xiaoke/core';
 * console.log(toMilliseconds('1.5s'), toMilliseconds(20)); // => 1500 20
 * ```
 */
export function toMilliseconds(value: Duration, option = 'duration', bounds: DurationBounds = {}): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  const milliseconds = parse(value);
  if (milliseconds === undefined) {
    throw new InvalidOptionError(
      option,
      `must be milliseconds or a string like '250ms', '30s', '5m', '2h', '7d', not ${describe(value)}`,
    );
  }
  if (milliseconds < min)
    throw new InvalidOptionError(option, `must be at least ${min} ms, not ${describe(value)}`);
  if (milliseconds > max)
    throw new InvalidOptionError(option, `must be at most ${max} ms, not ${describe(value)}`);
  return milliseconds;
}

function parse(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isNaN(value) ? undefined : value;
  if (typeof value !== 'string') return undefined;
  const match = PATTERN.exec(value);
  const unit = UNITS[match?.[2] ?? ''];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  return typeof value === 'number' ? String(value) : typeof value;
}
