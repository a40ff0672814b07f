import { crc32 } from 'node:zlib';
import type { Serialized } from './serializer.ts';

/** A tag of a stored value and the version it had when the load began. */
export type TagVersion = readonly [tag: string, version: number];

/** A value to be stored, with everything needed to trust it. */
export interface NewRecord extends Serialized {
  /** The algorithm the bytes are compressed with, 0 for none. */
  readonly codec: number;
  /** How many bytes there were before compression. */
  readonly rawLength: number;
  /** When it was written, in the server's time, and how long it is fresh from then on. Milliseconds. */
  readonly writtenAt: number;
  readonly freshFor: number;
  readonly loadMs: number;
  /** Sliding ttl, 0 for none. */
  readonly idleTtl: number;
  /** Sum of the versions of the namespaces the key is in. */
  readonly generation: number;
  readonly tags: readonly TagVersion[];
  readonly key: string;
}

// 0 magic, 1 version, 2 format, 3 codec, 4 writtenAt, 10 freshFor, 16 generation, 24 loadMs, 28 rawLength, 32 key length,
// 34 number of tags, 35 idleTtl, 41 key, tags (length, text, version), bytes, CRC-32 of all of it. Big endian, apart from the
// checksum. lease.lua knows where the stamp is.
const MAGIC = 0x58;
const VERSION = 2;
const HEAD = 41;
const CHECK = 4;
const FOREVER = 2 ** 48 - 1;
const MAX_U32 = 2 ** 32 - 1;
// The CRC-32 of anything that ends with its own CRC-32, so that checking needs no window on the bytes before it.
const WHOLE = 0x2144df1c;

const NO_TAGS: readonly TagVersion[] = Object.freeze([]);

/** A value as it was stored: a view of the bytes, since most of what they say is of no interest to most reads. */
export class StoredRecord {
  readonly source: Buffer;
  /** Where in `source` the value's own bytes lie. A slice for each value read is not for free. */
  readonly from: number;
  readonly tags: readonly TagVersion[];

  constructor(source: Buffer, from: number, tags: readonly TagVersion[]) {
    this.source = source;
    this.from = from;
    this.tags = tags;
  }

  get to(): number {
    return this.source.length - CHECK;
  }

  get format(): number {
    return this.source[2] ?? 0;
  }

  get codec(): number {
    return this.source[3] ?? 0;
  }

  get writtenAt(): number {
    return this.source.readUIntBE(4, 6);
  }

  get freshFor(): number {
    const freshFor = this.source.readUIntBE(10, 6);
    return freshFor === FOREVER ? Infinity : freshFor;
  }

  get generation(): number {
    return this.source.readDoubleBE(16);
  }

  get loadMs(): number {
    return this.source.readUInt32BE(24);
  }

  get rawLength(): number {
    return this.source.readUInt32BE(28);
  }

  get idleTtl(): number {
    return this.source.readUIntBE(35, 6);
  }
}

export function encodeRecord(record: NewRecord): Buffer {
  const key = Buffer.from(record.key);
  const tags = record.tags.map(([tag]) => Buffer.from(tag));
  const tagBytes = tags.reduce((sum, tag) => sum + tag.length + 9, 0);
  const end = HEAD + key.length + tagBytes + record.bytes.length;
  const made = Buffer.allocUnsafe(end + CHECK);
  made[0] = MAGIC;
  made[1] = VERSION;
  made[2] = record.format;
  made[3] = record.codec;
  made.writeUIntBE(clamp(record.writtenAt, FOREVER), 4, 6);
  made.writeUIntBE(clamp(record.freshFor, FOREVER), 10, 6);
  made.writeDoubleBE(record.generation, 16);
  made.writeUInt32BE(clamp(record.loadMs, MAX_U32), 24);
  made.writeUInt32BE(record.rawLength, 28);
  made.writeUInt16BE(key.length, 32);
  made[34] = tags.length;
  made.writeUIntBE(clamp(record.idleTtl, FOREVER), 35, 6);
  let at = HEAD + key.copy(made, HEAD);
  tags.forEach((tag, i) => {
    made[at] = tag.length;
    tag.copy(made, at + 1);
    made.writeDoubleBE(record.tags[i]?.[1] ?? 0, at + 1 + tag.length);
    at += tag.length + 9;
  });
  record.bytes.copy(made, at);
  made.writeUInt32LE(crc32(made.subarray(0, end)), end);
  return made;
}

/** The record, or what is wrong with it. `key` is the key it was asked for by. */
export function decodeRecord(bytes: Buffer, key: string): StoredRecord | string {
  if (bytes.length < HEAD + CHECK || bytes[0] !== MAGIC) return 'foreign';
  if (bytes[1] !== VERSION) return 'version';
  if (crc32(bytes) !== WHOLE) return 'checksum';
  const keyEnd = HEAD + bytes.readUInt16BE(32);
  if (!holds(bytes, keyEnd, key)) return 'key';
  if (bytes[34] === 0) return new StoredRecord(bytes, keyEnd, NO_TAGS);
  const tags: TagVersion[] = [];
  const at = readTags(bytes, keyEnd, tags);
  return at > bytes.length - CHECK ? 'length' : new StoredRecord(bytes, at, tags);
}

/** Where the tags end; beyond the end of the bytes when they do not fit. */
function readTags(bytes: Buffer, from: number, tags: TagVersion[]): number {
  let at = from;
  for (let left = bytes[34] ?? 0; left > 0; left -= 1) {
    const end = at + 1 + (bytes[at] ?? 0);
    if (end + 8 > bytes.length) return Infinity;
    tags.push([bytes.toString('utf8', at + 1, end), bytes.readDoubleBE(end)]);
    at = end + 8;
  }
  return at;
}

// Comparing the letters of a plain key costs less than making a string of them.
function holds(bytes: Buffer, end: number, key: string): boolean {
  if (end - HEAD !== key.length) return bytes.toString('utf8', HEAD, end) === key;
  for (let i = 0; i < key.length; i += 1) {
    const code = key.charCodeAt(i);
    if (code > 127) return bytes.toString('utf8', HEAD, end) === key;
    if (bytes[HEAD + i] !== code) return false;
  }
  return true;
}

/** What tells one writing of a key from another: its time and checksum. */
export function stampOf(bytes: Uint8Array): string {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return all.toString('latin1', 4, 10) + all.toString('latin1', all.length - CHECK);
}

function clamp(value: number, max: number): number {
  return Math.min(max, Math.max(0, Math.round(value)));
}
