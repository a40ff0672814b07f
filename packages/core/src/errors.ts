/** What an error carries beside its message. */
export interface XiaokeErrorOptions {
  /** The error that led to this one. */
  readonly cause?: unknown;
  /** Structured facts for logs and tests. Never put a secret here. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * The base class of every error the suite throws.
 *
 * `instanceof` also holds for an instance made by a second copy of the package, as happens when two versions of
 * `@xiaoke/core` are installed side by side: a class with an own static `brand` recognises instances by it.
 *
 * @example
 * ```ts
 * import { XiaokeError } from '@xiaoke/core';
 * const error = new XiaokeError('QUEUE_UNAVAILABLE', 'Redis did not answer within 2000 ms');
 * console.log(error.code, error instanceof XiaokeError); // => QUEUE_UNAVAILABLE true
 * ```
 */
export class XiaokeError extends Error {
  /** Names the class across copies of the package; a subclass that wants the same sets its own. */
  static readonly brand: string = 'xiaoke.XiaokeError';

  /** Stable, machine readable, SCREAMING_SNAKE_CASE. */
  readonly code: string;
  /** Structured facts without secrets; frozen. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, options: XiaokeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.details = Object.freeze({ ...options.details });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // The ordinary check would be Function.prototype[Symbol.hasInstance], which a second copy's instance fails.
    if (typeof value !== 'object' || value === null) return false;
    const wanted = Object.hasOwn(this, 'brand') ? this.brand : undefined;
    for (let proto = Object.getPrototypeOf(value); proto !== null; proto = Object.getPrototypeOf(proto)) {
      if (proto === this.prototype) return true;
      if (wanted !== undefined && ownBrand(proto) === wanted) return true;
    }
    return false;
  }
}

/** A bad option: `details.option` is its path. Thrown by the call that took it, before anything is written. */
export class InvalidOptionError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.InvalidOptionError';

  constructor(option: string, problem: string, options: XiaokeErrorOptions = {}) {
    super('INVALID_OPTION', `Option "${option}" ${problem}`, {
      ...options,
      details: { ...options.details, option },
    });
  }
}

/** Something did not finish within its limit. `details.timeoutMs` is the limit. */
export class TimeoutError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.TimeoutError';
  /** The limit that passed, in milliseconds. */
  readonly timeoutMs: number;

  constructor(what: string, timeoutMs: number, options: XiaokeErrorOptions = {}) {
    super('TIMEOUT', `${what} did not finish within ${timeoutMs} ms`, {
      ...options,
      details: { ...options.details, timeoutMs },
    });
    this.timeoutMs = timeoutMs;
  }
}

function ownBrand(proto: object): unknown {
  const owner: unknown = Object.hasOwn(proto, 'constructor') ? proto.constructor : undefined;
  return typeof owner === 'function' && Object.hasOwn(owner, 'brand')
    ? Reflect.get(owner, 'brand')
    : undefined;
}
