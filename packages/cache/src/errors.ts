import { InvalidOptionError, XiaokeError, type XiaokeErrorOptions } from '@xiaoke/core';

/**
 * Every code this package throws with: `INVALID_KEY` a key that is no usable string, `INVALID_VALUE` a value no cache can
 * hold, `SERIALIZATION` a value the serializer refuses, `LOADER_TIMEOUT` a loader that was too slow, `EVICTION_POLICY` a
 * policy that broke its contract, `CACHE_CLOSED` a call after `close()`.
 */
export type CacheErrorCode =
  | 'INVALID_KEY'
  | 'INVALID_VALUE'
  | 'SERIALIZATION'
  | 'LOADER_TIMEOUT'
  | 'EVICTION_POLICY'
  | 'CACHE_CLOSED';

/** What the cache itself throws. An error of your loader reaches you as it is. */
export class CacheError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.CacheError';
  declare readonly code: CacheErrorCode;

  constructor(code: CacheErrorCode, message: string, options: XiaokeErrorOptions = {}) {
    super(code, message, options);
  }
}

/** The loader did not settle in time; its signal has fired. `details.timeoutMs` is the limit. */
export class LoaderTimeoutError extends CacheError {
  static override readonly brand: string = 'xiaoke.LoaderTimeoutError';

  constructor(timeoutMs: number) {
    super('LOADER_TIMEOUT', `The loader did not finish within ${timeoutMs} ms`, { details: { timeoutMs } });
  }
}

const MAX_KEY_LENGTH = 8_192;

/** @throws {@link CacheError} `INVALID_KEY` when `key` is no string, is empty, too long, or holds what cannot be stored */
export function checkKey(key: unknown): asserts key is string {
  const problem = problemOf(key);
  if (problem !== undefined) throw new CacheError('INVALID_KEY', `A cache key ${problem}`);
}

function problemOf(key: unknown): string | undefined {
  if (typeof key !== 'string') return `must be a string, not ${key === null ? 'null' : typeof key}`;
  if (key === '') return 'must not be empty';
  if (key.length > MAX_KEY_LENGTH) return `must have at most ${MAX_KEY_LENGTH} characters`;
  return isUnusable(key) ? 'must not hold control characters or lone surrogates' : undefined;
}

// Control characters end up in logs and protocols; a lone surrogate has no UTF-8 form, so two such keys would be one. A loop,
// because it runs on every read, and a regular expression takes several times as long.
function isUnusable(key: string): boolean {
  for (let i = 0; i < key.length; i += 1) {
    const code = key.charCodeAt(i);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
    if (code >= 0xd800 && code < 0xe000) return !isWellFormed(key);
  }
  return false;
}

function isWellFormed(key: string): boolean {
  return !/[\p{Cc}\p{Cs}]/u.test(key);
}

/** @throws InvalidOptionError when `value` cannot be gone through; a text can, but is never meant */
export function checkIterable<T>(value: Iterable<T>, option: string): Iterable<T> {
  const given: unknown = value;
  if (typeof given === 'object' && given !== null && Symbol.iterator in given) return value;
  throw new InvalidOptionError(option, 'must be iterable, such as an array, a Map or a Set');
}

/** @throws {@link CacheError} `INVALID_VALUE` for a promise, which is nearly always a forgotten `await` */
export function checkValue(value: unknown): void {
  if (typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function') {
    throw new CacheError('INVALID_VALUE', 'A promise cannot be cached; await it first');
  }
}
