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

/** Bytes and the number of the format they are in. */
export interface Serialized {
  readonly format: number;
  readonly bytes: Buffer;
}

const json: Serializer = {
  id: JSON_ID,
  serialize: (value) => {
    const text: unknown = JSON.stringify(value);
    // A function or a symbol has no JSON form at all, and stringify says so by giving nothing.
    if (typeof text !== 'string') throw new TypeError(`a ${typeof value} has no JSON form`);
    return Buffer.from(text);
  },
  deserialize: (bytes) => parseJson(asBuffer(bytes).toString()),
};

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
  if (typeof value === 'string') return { format: TEXT, bytes: Buffer.from(value) };
  if (value instanceof Uint8Array) return { format: BYTES, bytes: asBuffer(value) };
  try {
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

/** The value of the bytes from `from` on. Throws whatever is wrong with them. */
export function fromBytes(serializer: Serializer, format: number, bytes: Buffer, from: number): unknown {
  if (format === TEXT) return bytes.toString('utf8', from);
  // A copy, since the bytes are a window on a larger reply that would be kept alive.
  if (format === BYTES) return Buffer.from(bytes.subarray(from));
  if (format !== serializer.id) throw new TypeError(`written by another serializer (${format})`);
  if (format === JSON_ID) return parseJson(bytes.toString('utf8', from));
  return serializer.deserialize(bytes.subarray(from));
}
