import { crc32 } from 'node:zlib';
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { NewChunk, SeriesKind } from '../chunk-storage.ts';
import type { Labels } from '../promql/values.ts';

const SERIES = 1;
const CHUNK = 2;
// Length and checksum.
const HEADER = 8;

/** What a segment says about one series; chunks refer to it by its id. */
export interface SeriesRecord {
  readonly id: number;
  readonly kind: SeriesKind;
  readonly labels: Labels;
}

/** A chunk found in a segment, and where its payload is. */
export interface ChunkRecord {
  readonly series: SeriesRecord;
  readonly start: number;
  readonly slots: number;
  readonly offset: number;
  readonly length: number;
}

/** Writes records for one segment: length, CRC-32, body. */
export class RecordWriter {
  readonly #writer = new ByteWriter();

  get length(): number {
    return this.#writer.length;
  }

  series({ id, kind, labels }: SeriesRecord): void {
    const body = new ByteWriter();
    body.byte(SERIES);
    body.varint(id);
    body.byte(kind === 'counter' ? 1 : 0);
    body.text(JSON.stringify(labels));
    this.#append(body.finish());
  }

  /** Returns where the payload begins, from the start of what this writer writes. */
  chunk(id: number, { start, slots, payload }: NewChunk): number {
    const body = new ByteWriter();
    body.byte(CHUNK);
    body.varint(id);
    body.varint(start);
    body.varint(slots);
    body.bytes(payload);
    this.#append(body.finish());
    return this.#writer.length - payload.length;
  }

  finish(): Buffer {
    return this.#writer.finish();
  }

  #append(body: Buffer): void {
    const header = Buffer.alloc(HEADER);
    header.writeUInt32LE(body.length, 0);
    header.writeUInt32LE(crc32(body), 4);
    this.#writer.bytes(header);
    this.#writer.bytes(body);
  }
}

/** What a segment holds, up to the first record that is torn or damaged. */
export interface Recovered {
  readonly chunks: readonly ChunkRecord[];
  readonly series: ReadonlyMap<number, SeriesRecord>;
  /** How many bytes are good. */
  readonly length: number;
}

/** Reads a segment. */
export function readRecords(bytes: Buffer): Recovered {
  const series = new Map<number, SeriesRecord>();
  const chunks: ChunkRecord[] = [];
  let position = 0;
  for (;;) {
    const end = bodyEnd(bytes, position);
    if (end === undefined) return { chunks, series, length: position };
    const body = bytes.subarray(position + HEADER, end);
    const chunk = readBody(body, series);
    if (chunk !== undefined) chunks.push({ ...chunk, offset: end - chunk.length });
    position = end;
  }
}

function bodyEnd(bytes: Buffer, position: number): number | undefined {
  if (position + HEADER > bytes.length) return undefined;
  const end = position + HEADER + bytes.readUInt32LE(position);
  // Zeros, as a crash may leave, have a matching checksum of nothing.
  if (end > bytes.length || end === position + HEADER) return undefined;
  return crc32(bytes.subarray(position + HEADER, end)) === bytes.readUInt32LE(position + 4) ? end : undefined;
}

function readBody(body: Buffer, series: Map<number, SeriesRecord>): Omit<ChunkRecord, 'offset'> | undefined {
  const reader = new ByteReader(body);
  const type = reader.byte();
  const id = reader.varint();
  if (type === SERIES) {
    const kind = reader.byte() === 1 ? 'counter' : 'gauge';
    series.set(id, { id, kind, labels: JSON.parse(reader.text()) as Labels });
    return undefined;
  }
  const owner = series.get(id);
  if (type !== CHUNK || owner === undefined) return undefined;
  const start = reader.varint();
  const slots = reader.varint();
  return { series: owner, start, slots, length: body.length - reader.position };
}
