import type { Place } from '../capture.ts';

// One after the other, so that the answer to the last of many does not look late.
const PORTION = 500;

/** A few hundred at a time. */
export function* portions<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < items.length; from += PORTION) yield items.slice(from, from + PORTION);
}

/** The keys of each namespace. */
export function byPath(places: readonly Place[]): (readonly [path: string, keys: readonly string[]])[] {
  const paths = new Map<string, string[]>();
  for (const { scope, key } of places) {
    const keys = paths.get(scope.path);
    if (keys === undefined) paths.set(scope.path, [key]);
    else keys.push(key);
  }
  return [...paths];
}
