import { deserialize, serialize } from 'node:v8';
import { InvalidOptionError } from '@xiaoke/core';
import { CacheError } from '../errors.ts';
import { parseJson } from './safe-json.ts';

/** Turns values into bytes and back. `deserialize` may throw: the stored value is then a miss. */
export interface CustomSerializer {
  serialize(value: unknown): Uint8Array;
  deserialize(bytes: Uint8Array): unknown;
}

/**
 * `json` reads what every language reads, and loses what JSON loses: `Date` becomes a string, `Map` and `Set` become `{}`,
 * `NaN` becomes `null`. `v8` keeps all of these, and must only be used with a Redis that nobody else writes to.
 */
export type SerializerOption = 'json' | 'v8' | CustomSerializer;

/** A serializer and the number by which a stored value names it. */
export interface Serializer extends CustomSerializer {
  readonly id: number;
}

// Strings and bytes are stored as they are, whatever the serializer.
const TEXT = 1;
const BYTES = 2;
const JSON_ID = 3;
const V8_ID = 4;
const CUSTOM_ID = 5;
// Added to the number of a format whose text has only ASCII letters: that is read back in half the time.
const ASCII = 0x10;

/** Bytes and the number of the format they are in. */
export interface Serialized {
  readonly format: number;
  readonly bytes: Buffer;
}

const json: Serializer = {
  id: JSON_ID,
  serialize: (value) => Buffer.from(jsonOf(value)),
  deserialize: (bytes) => parseJson(asBuffer(bytes).toString()),
};

function jsonOf(value: unknown): string {
  const text: unknown = JSON.stringify(value);
  // A function or a symbol has no JSON form at all, and stringify says so by giving nothing.
  if (typeof text !== 'string') throw new TypeError(`a ${typeof value} has no JSON form`);
  return text;
}

const v8: Serializer = { id: V8_ID, serialize, deserialize };

/** @throws InvalidOptionError when it is neither a known name nor an object with the two methods */
export function resolveSerializer(option: SerializerOption = 'json'): Serializer {
  if (option === 'json') return json;
  if (option === 'v8') return v8;
  if (
    typeof option !== 'object' ||
    option === null ||
    typeof option.serialize !== 'function' ||
    typeof option.deserialize !== 'function'
  ) {
    throw new InvalidOptionError(
      'serializer',
      "must be 'json', 'v8', or an object with serialize() and deserialize()",
    );
  }
  return {
    id: CUSTOM_ID,
    serialize: (value) => option.serialize(value),
    deserialize: (bytes) => option.deserialize(bytes),
  };
}

/** @throws {@link CacheError} `SERIALIZATION` when the serializer refuses the value */
export function toBytes(serializer: Serializer, value: unknown): Serialized {
  if (typeof value === 'string') return ofText(TEXT, value);
  if (value instanceof Uint8Array) return { format: BYTES, bytes: asBuffer(value) };
  try {
    if (serializer.id === JSON_ID) return ofText(JSON_ID, jsonOf(value));
    const bytes: unknown = serializer.serialize(value);
    if (!(bytes instanceof Uint8Array)) throw new TypeError('the serializer gave no bytes');
    return { format: serializer.id, bytes: asBuffer(bytes) };
  } catch (error) {
    throw new CacheError('SERIALIZATION', 'The value cannot be serialised', { cause: error });
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function ofText(id: number, text: string): Serialized {
  const bytes = Buffer.from(text);
  return { format: bytes.length === text.length ? id + ASCII : id, bytes };
}

/** Where the bytes of a value lie, and in which format. */
export interface Span {
  readonly format: number;
  readonly source: Buffer;
  readonly from: number;
  readonly to: number;
}

/** The value of the bytes. Throws whatever is wrong with them. */
export function fromBytes(serializer: Serializer, { format, source, from, to }: Span): unknown {
  const encoding = (format & ASCII) === 0 ? 'utf8' : 'latin1';
  const kind = format & ~ASCII;
  if (kind === TEXT) return source.toString(encoding, from, to);
  // A copy, since the bytes are a window on a larger reply that would be kept alive.
  if (kind === BYTES) return Buffer.from(source.subarray(from, to));
  if (kind !== serializer.id) throw new TypeError(`written by another serializer (${kind})`);
  if (kind === JSON_ID) return parseJson(source.toString(encoding, from, to));
  return serializer.deserialize(source.subarray(from, to));
}
