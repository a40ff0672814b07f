import { toMilliseconds, type Duration } from './duration.ts';
import { XiaokeError, type XiaokeErrorOptions } from './errors.ts';

/** Thrown by a task or an operation to say that trying again cannot help. */
export class NonRetryableError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.NonRetryableError';

  constructor(message: string, options: XiaokeErrorOptions = {}) {
    super('NON_RETRYABLE', message, options);
  }
}

/** Thrown by a task or an operation to ask for another run after `delay`, which does not count as an attempt. */
export class RetryLaterError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.RetryLaterError';
  /** Milliseconds to wait. */
  readonly delayMs: number;

  constructor(delay: Duration, message?: string, options: XiaokeErrorOptions = {}) {
    const delayMs = toMilliseconds(delay, 'delay');
    super('RETRY_LATER', message ?? `Try again in ${delayMs} ms`, {
      ...options,
      details: { ...options.details, delayMs },
    });
    this.delayMs = delayMs;
  }
}
