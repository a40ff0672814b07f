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

/** A value as it was stored. Its bytes are those of `source` from `from` on: a slice for each value read is not for free. */
export interface StoredRecord extends Omit<NewRecord, 'bytes'> {
  readonly source: Buffer;
  readonly from: number;
}

// 0 magic, 1 version, 2 format, 3 codec, 4 crc32 of the rest, 8 writtenAt, 14 freshFor, 20 generation, 28 loadMs, 32 rawLength,
// 36 key length, 38 number of tags, 39 idleTtl, 45 key, tags (length, text, version), bytes. Big endian. lease.lua knows 4 to 13.
const MAGIC = 0x58;
const VERSION = 1;
const CHECKED_FROM = 8;
const HEAD = 45;
const FOREVER = 2 ** 48 - 1;
const MAX_U32 = 2 ** 32 - 1;

export function encodeRecord(record: NewRecord): Buffer {
  const key = Buffer.from(record.key);
  const tags = record.tags.map(([tag]) => Buffer.from(tag));
  const tagBytes = tags.reduce((sum, tag) => sum + tag.length + 9, 0);
  const head = Buffer.allocUnsafe(HEAD + key.length + tagBytes);
  head[0] = MAGIC;
  head[1] = VERSION;
  head[2] = record.format;
  head[3] = record.codec;
  head.writeUIntBE(clamp(record.writtenAt, FOREVER), 8, 6);
  head.writeUIntBE(clamp(record.freshFor, FOREVER), 14, 6);
  head.writeDoubleBE(record.generation, 20);
  head.writeUInt32BE(clamp(record.loadMs, MAX_U32), 28);
  head.writeUInt32BE(record.rawLength, 32);
  head.writeUInt16BE(key.length, 36);
  head[38] = tags.length;
  head.writeUIntBE(clamp(record.idleTtl, FOREVER), 39, 6);
  let at = HEAD + key.copy(head, HEAD);
  tags.forEach((tag, i) => {
    head[at] = tag.length;
    tag.copy(head, at + 1);
    head.writeDoubleBE(record.tags[i]?.[1] ?? 0, at + 1 + tag.length);
    at += tag.length + 9;
  });
  head.writeUInt32BE(crc32(record.bytes, crc32(head.subarray(CHECKED_FROM))), 4);
  return Buffer.concat([head, record.bytes]);
}

/** The record, or what is wrong with it. `key` is the key it was asked for by. */
export function decodeRecord(bytes: Buffer, key: string): StoredRecord | string {
  if (bytes.length < HEAD || bytes[0] !== MAGIC) return 'foreign';
  if (bytes[1] !== VERSION) return 'version';
  if (crc32(bytes.subarray(CHECKED_FROM)) !== bytes.readUInt32BE(4)) return 'checksum';
  const keyEnd = HEAD + bytes.readUInt16BE(36);
  if (!holds(bytes, keyEnd, key)) return 'key';
  const tags: TagVersion[] = [];
  const at = readTags(bytes, keyEnd, tags);
  if (at > bytes.length) return 'length';
  const freshFor = bytes.readUIntBE(14, 6);
  return {
    key,
    tags,
    format: bytes[2] ?? 0,
    codec: bytes[3] ?? 0,
    writtenAt: bytes.readUIntBE(8, 6),
    freshFor: freshFor === FOREVER ? Infinity : freshFor,
    generation: bytes.readDoubleBE(20),
    loadMs: bytes.readUInt32BE(28),
    idleTtl: bytes.readUIntBE(39, 6),
    rawLength: bytes.readUInt32BE(32),
    source: bytes,
    from: at,
  };
}

/** Where the tags end; beyond the end of the bytes when they do not fit. */
function readTags(bytes: Buffer, from: number, tags: TagVersion[]): number {
  let at = from;
  for (let left = bytes[38] ?? 0; left > 0; left -= 1) {
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

/** What tells one writing of a key from another: its checksum and time. */
export function stampOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(4, 14)).toString('latin1');
}

function clamp(value: number, max: number): number {
  return Math.min(max, Math.max(0, Math.round(value)));
}
