import { isDeepStrictEqual } from 'node:util';
import { parsePath, valueAt } from './path.ts';
import { isPlainObject } from './plain-value.ts';

/** How many paths of one snapshot are remembered; more than a program asks for, and asking for nonsense costs no more. */
const MAX_INDEXED = 10_000;

/** One consistent, frozen state of the configuration. */
export class Snapshot {
  readonly value: Readonly<Record<string, unknown>>;
  /** The run-time version that is part of it. */
  readonly version: number;
  /** What was asked for, by the path as it was asked for; `undefined` for what is not there. */
  readonly index: Map<string, unknown> = new Map();

  constructor(value: Readonly<Record<string, unknown>>, version: number) {
    this.value = value;
    this.version = version;
  }

  /** The value at a path given by its parts. */
  at(parts: readonly string[]): unknown {
    return valueAt(this.value, parts);
  }

  /**
   * The value at a path given as text, found once and then remembered.
   *
   * @throws InvalidOptionError for what is no path
   */
  find(path: string): unknown {
    if (this.index.has(path)) return undefined;
    const value = valueAt(this.value, parsePath(path));
    if (typeof path === 'string' && this.index.size < MAX_INDEXED) this.index.set(path, value);
    return value;
  }
}

/**
 * `next`, frozen, with every part that equals `previous` replaced by it: what did not change keeps its identity, so a
 * comparison costs only as much as changed.
 */
export function share(previous: unknown, next: unknown): unknown {
  if (Object.is(previous, next)) return previous;
  if (Array.isArray(next)) return shareArray(Array.isArray(previous) ? previous : undefined, next);
  if (isPlainObject(next)) return shareObject(isPlainObject(previous) ? previous : undefined, next);
  // A schema may give dates, URLs, maps: those are left as they are, and compared by what they hold.
  return isDeepStrictEqual(previous, next) ? previous : next;
}

function shareArray(previous: readonly unknown[] | undefined, next: readonly unknown[]): unknown {
  const items = next.map((item, index) => share(previous?.[index], item));
  const same =
    previous?.length === items.length && items.every((item, index) => Object.is(item, previous[index]));
  return same ? previous : Object.freeze(items);
}

function shareObject(previous: Record<string, unknown> | undefined, next: Record<string, unknown>): unknown {
  const copy: Record<string, unknown> = {};
  let same = previous !== undefined && Object.keys(previous).length === Object.keys(next).length;
  for (const [key, item] of Object.entries(next)) {
    const had = previous !== undefined && Object.hasOwn(previous, key);
    const shared = share(had ? previous[key] : undefined, item);
    same &&= had && Object.is(shared, previous?.[key]);
    // A schema may output such a key, and an assignment would reach the prototype.
    if (key !== '__proto__') copy[key] = shared;
    else Object.defineProperty(copy, key, { value: shared, enumerable: true });
  }
  return same ? previous : Object.freeze(copy);
}
