import { InvalidOptionError } from '@xiaoke/core';

/** The range a number must lie in. */
export interface NumberBounds {
  readonly min?: number;
  readonly max?: number;
  readonly integer?: boolean;
}

/** Checks a number, naming its path in the error. */
export function checkNumber(option: string, value: unknown, bounds: NumberBounds = {}): number {
  const { min = -Infinity, max = Infinity, integer = false } = bounds;
  if (typeof value !== 'number' || Number.isNaN(value))
    throw new InvalidOptionError(option, 'must be a number');
  if (value < min || value > max)
    throw new InvalidOptionError(option, `must lie between ${min} and ${max}, not ${value}`);
  if (integer && !Number.isInteger(value) && value !== Infinity)
    throw new InvalidOptionError(option, `must be a whole number, not ${value}`);
  return value;
}

/** Checks a share between 0 (excluded) and 1. */
export function checkShare(option: string, value: unknown): number {
  const share = checkNumber(option, value, { min: 0, max: 1 });
  if (share === 0) throw new InvalidOptionError(option, 'must be more than 0 and at most 1');
  return share;
}

/** Checks that `value` is one of `choices`. */
export function checkChoice<T extends string>(option: string, value: unknown, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw new InvalidOptionError(option, `must be one of ${choices.join(', ')}`);
  return found;
}

/** Checks that `value` is a function or absent. */
export function checkFunction<F>(option: string, value: F | undefined): F | undefined {
  if (value !== undefined && typeof value !== 'function')
    throw new InvalidOptionError(option, 'must be a function');
  return value;
}

/**
 * Makes something of the options that stand at `path` in those of the caller, so that the error about a bad one names the path
 * that the caller wrote.
 */
export function within<T>(path: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof InvalidOptionError)) throw error;
    const inner = String(error.details['option']);
    const problem = error.message.slice(`Option "${inner}" `.length);
    const whole = inner === 'options' || inner === 'duration';
    throw new InvalidOptionError(whole ? path : `${path}.${inner}`, problem, { cause: error });
  }
}

/** Checks that `options` is an object holding only names in `known`, so that a typing error is not a silent default. */
export function checkObject(option: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new InvalidOptionError(option === '' ? 'options' : option, 'must be an object');
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new InvalidOptionError(
      option === '' ? unknown : `${option}.${unknown}`,
      `is not known; there are ${known.join(', ')}`,
    );
  }
}
