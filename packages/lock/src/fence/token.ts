import { InvalidOptionError } from '@xiaoke/core';

/** A fencing token, or the lock that has one. */
export type TokenSource = number | { readonly fencingToken: number };

/** The number itself; one that no lock can have given is refused. */
export function tokenOf(source: TokenSource): number {
  const token = typeof source === 'number' ? source : source.fencingToken;
  if (Number.isSafeInteger(token) && token > 0) return token;
  throw new InvalidOptionError('token', 'must be a fencing token: a whole number above 0');
}

/** Refuses an empty name of a resource. */
export function checkResource(resource: unknown): void {
  if (typeof resource === 'string' && resource !== '') return;
  throw new InvalidOptionError('resource', 'must be a non-empty string');
}
