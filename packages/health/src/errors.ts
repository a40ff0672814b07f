import { XiaokeError, type XiaokeErrorOptions } from '@xiaoke/core';

/** The codes of this package's errors. */
export const HEALTH_ERRORS = {
  CHECK_EXISTS: 'CHECK_EXISTS',
  CHECK_UNKNOWN: 'CHECK_UNKNOWN',
  HEALTH_CLOSED: 'HEALTH_CLOSED',
} as const;

/** A code of {@link HEALTH_ERRORS}. */
export type HealthErrorCode = (typeof HEALTH_ERRORS)[keyof typeof HEALTH_ERRORS];

/** What the manager refuses. A check that fails is a result, never an error. */
export class HealthError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.HealthError';
  declare readonly code: HealthErrorCode;

  constructor(code: HealthErrorCode, message: string, options: XiaokeErrorOptions = {}) {
    super(code, message, options);
  }
}
