import { open, type FileHandle } from 'node:fs/promises';
import type { ChunkHandle, NewChunk } from '../chunk-storage.ts';
import { labelKey } from '../promql/values.ts';
import { RecordWriter, type SeriesRecord } from './records.ts';

/** A chunk in a segment. */
export class SegmentHandle implements ChunkHandle {
  readonly segment: Segment;
  readonly offset: number;
  readonly size: number;

  constructor(segment: Segment, offset: number, size: number) {
    this.segment = segment;
    this.offset = offset;
    this.size = size;
  }

  get dropped(): boolean {
    return this.segment.dropped;
  }
}

/** One append-only file with the chunks of one tier and one day. */
export class Segment {
  readonly path: string;
  readonly step: number;
  readonly day: number;
  size: number;
  /** When its last chunk ends, in milliseconds. */
  end = 0;
  dropped = false;
  readonly #ids = new Map<string, number>();
  #file: FileHandle | undefined;

  constructor(path: string, step: number, day: number, size = 0) {
    this.path = path;
    this.step = step;
    this.day = day;
    this.size = size;
  }

  /** Notes the series that the file holds already. */
  know(records: Iterable<SeriesRecord>): void {
    for (const { id, kind, labels } of records) this.#ids.set(kind + labelKey(labels), id);
  }

  /** Appends chunks and resolves once they are on the disk. On failure the file is cut back to what it was. */
  async append(chunks: readonly NewChunk[]): Promise<readonly SegmentHandle[]> {
    const writer = new RecordWriter();
    const fresh: [string, number][] = [];
    const handles = chunks.map((chunk) => {
      const id = this.#idOf(chunk, writer, fresh);
      const offset = this.size + writer.chunk(id, chunk);
      return new SegmentHandle(this, offset, chunk.payload.length);
    });
    this.#file ??= await open(this.path, 'a');
    try {
      await this.#file.appendFile(writer.finish());
      await this.#file.datasync();
    } catch (error) {
      for (const [key] of fresh) this.#ids.delete(key);
      await this.#file.truncate(this.size).catch(() => {});
      throw error;
    }
    this.size += writer.length;
    for (const { start, slots, step } of chunks) this.end = Math.max(this.end, (start + slots) * step);
    return handles;
  }

  async read(handles: readonly SegmentHandle[]): Promise<readonly Uint8Array[]> {
    const file = await open(this.path, 'r');
    try {
      const payloads: Uint8Array[] = [];
      for (const { offset, size } of handles) {
        const { buffer } = await file.read(Buffer.alloc(size), 0, size, offset);
        payloads.push(buffer);
      }
      return payloads;
    } finally {
      await file.close();
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  #idOf({ labels, kind }: NewChunk, writer: RecordWriter, fresh: [string, number][]): number {
    const key = kind + labelKey(labels);
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#ids.size + 1;
    this.#ids.set(key, id);
    fresh.push([key, id]);
    writer.series({ id, kind, labels });
    return id;
  }
}
