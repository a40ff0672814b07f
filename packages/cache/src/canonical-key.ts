import { createHash } from 'node:crypto';
import { CacheError } from './errors.ts';

const MAX_PLAIN_LENGTH = 200;

/**
 * One text for one list of arguments: different arguments give different texts, whatever their types, and the order of an
 * object's properties does not matter. A long text is replaced by its SHA-256.
 *
 * @throws CacheError `INVALID_KEY` for what has no value of its own: functions, symbols, class instances, cycles
 *
 * @example
 * ```ts
 * import { canonicalKey } from '@xiaoke/cache';
 * console.log(canonicalKey([1, '1', { b: true, a: null }])); // => [1,"1",{"a":null,"b":true}]
 * ```
 */
export function canonicalKey(args: readonly unknown[]): string {
  const text = write(args, []);
  if (text.length <= MAX_PLAIN_LENGTH) return text;
  return `sha256:${createHash('sha256').update(text).digest('base64url')}`;
}

// Every form begins with something no other form begins with, so no two values are written alike.
function write(value: unknown, above: readonly object[]): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value).replaceAll('\u007F', '\\u007f');
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'bigint':
      return `${value}n`;
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'object':
      return value === null ? 'null' : writeObject(value, above);
    default:
      throw new CacheError('INVALID_KEY', `A ${typeof value} cannot be part of a key; give a key template`);
  }
}

function writeObject(value: object, above: readonly object[]): string {
  if (above.includes(value)) throw new CacheError('INVALID_KEY', 'A cyclic argument cannot be part of a key');
  const inside = [...above, value];
  if (Array.isArray(value)) return `[${value.map((item) => write(item, inside)).join(',')}]`;
  if (value instanceof Date) return `Date(${value.getTime()})`;
  if (value instanceof Map) return `Map(${writeSorted([...value], inside)})`;
  if (value instanceof Set) return `Set(${writeSorted([...value], inside)})`;
  if (value instanceof Uint8Array) return `Bytes(${Buffer.from(value).toString('base64url')})`;
  if (value instanceof URL) return `URL(${JSON.stringify(value.href)})`;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null)
    throw new CacheError(
      'INVALID_KEY',
      'An instance of a class cannot be part of a key; give a key template',
    );
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${write(key, inside)}:${write(item, inside)}`).join(',')}}`;
}

function writeSorted(items: readonly unknown[], above: readonly object[]): string {
  return items
    .map((item) => write(item, above))
    .sort()
    .join(',');
}
