import { TimeoutError } from '@xiaoke/core';

const CODES: ReadonlySet<unknown> = new Set([
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/** Whether an error says that time ran out: ours, that of `AbortSignal.timeout()`, or one of the network, also as the cause. */
export function isTimeout(error: unknown): boolean {
  return says(error) || (error instanceof Error && says(error.cause));
}

function says(error: unknown): boolean {
  if (error instanceof TimeoutError) return true;
  if (typeof error !== 'object' || error === null) return false;
  return Reflect.get(error, 'name') === 'TimeoutError' || CODES.has(Reflect.get(error, 'code'));
}
