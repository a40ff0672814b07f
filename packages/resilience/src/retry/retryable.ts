import { NonRetryableError } from '@xiaoke/core';
import { RejectedError } from '../errors.ts';

/**
 * The default of `retryIf`: whether trying again could help.
 *
 * Not retried: refusals of our own policies (retrying into an open circuit only makes load), `NonRetryableError`, an
 * error that says `retryable: false`, p-retry's `AbortError`, aborts, and mistakes of the program (`TypeError`,
 * `ReferenceError`, `RangeError`) unless a network failure hides behind, as in `fetch failed`. Causes are searched too.
 */
export function isRetryable(error: unknown): boolean {
  let current = error;
  // A bound, since a chain of causes may be a circle.
  for (let depth = 0; depth < 8 && typeof current === 'object' && current !== null; depth += 1) {
    if (current instanceof RejectedError || current instanceof NonRetryableError) return false;
    if (Reflect.get(current, 'retryable') === false) return false;
    if (current instanceof Error && current.name === 'AbortError') return false;
    current = Reflect.get(current, 'cause');
  }
  return !isProgramMistake(error);
}

function isProgramMistake(error: unknown): boolean {
  if (error instanceof TypeError) return !isNetworkFailure(error);
  return error instanceof ReferenceError || error instanceof RangeError;
}

// Messages of fetch in Node, Chrome, Firefox and Safari; Node also says what happened in the cause.
const NETWORK_MESSAGES =
  /^(fetch failed|terminated|Failed to fetch|NetworkError|Load failed|network error|The Internet connection)/i;

/** Whether a `TypeError` is really a failed connection. */
function isNetworkFailure(error: TypeError): boolean {
  const { cause } = error;
  const code = typeof cause === 'object' && cause !== null ? Reflect.get(cause, 'code') : undefined;
  return typeof code === 'string' || NETWORK_MESSAGES.test(error.message);
}
