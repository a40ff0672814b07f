import type { CheckOutcome } from '../check-result.ts';

/** A driver that is not installed. */
export const DRIVER_MISSING: CheckOutcome = Object.freeze({ status: 'unhealthy', code: 'DRIVER_MISSING' });

/** Whether an import failed since the package is not there. */
export function isMissingModule(error: unknown): boolean {
  const code: unknown =
    typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
}

const NETWORK: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'EPIPE',
  'ENOENT',
]);

/** What a driver's error comes to: a stable code, never its message. */
export function driverFailure(error: unknown, auth: ReadonlySet<unknown>): CheckOutcome {
  const code: unknown =
    typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (auth.has(code)) return { status: 'unhealthy', code: 'AUTH' };
  return { status: 'unhealthy', code: NETWORK.has(code) || code === undefined ? 'CONNECT' : 'FAILED' };
}
