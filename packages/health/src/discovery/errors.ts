import { XiaokeError, type XiaokeErrorOptions } from '@xiaoke/core';

/** The codes of discovery's errors. */
export const DISCOVERY_ERRORS = {
  /** The registry cannot be reached, and nothing was learnt from it before. */
  REGISTRY_UNAVAILABLE: 'REGISTRY_UNAVAILABLE',
  /** The registry or the balancer is closed. */
  REGISTRY_CLOSED: 'REGISTRY_CLOSED',
  /** There is nothing to choose from. */
  NO_INSTANCE: 'NO_INSTANCE',
} as const;

/** A code of {@link DISCOVERY_ERRORS}. */
export type DiscoveryErrorCode = (typeof DISCOVERY_ERRORS)[keyof typeof DISCOVERY_ERRORS];

/** What discovery and balancing refuse. */
export class DiscoveryError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.DiscoveryError';
  declare readonly code: DiscoveryErrorCode;

  constructor(code: DiscoveryErrorCode, message: string, options: XiaokeErrorOptions = {}) {
    super(code, message, options);
  }
}
