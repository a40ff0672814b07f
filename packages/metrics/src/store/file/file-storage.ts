import { mkdir, open, readdir, readFile, rename, truncate, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidOptionError } from '@xiaoke/core';
import {
  endOf,
  type ChunkHandle,
  type ChunkStorage,
  type NewChunk,
  type StoredChunk,
} from '../chunk-storage.ts';
import { labelKey } from '../promql/values.ts';
import { lockDirectory } from './directory-lock.ts';
import { readRecords, RecordWriter } from './records.ts';
import { Segment, SegmentHandle } from './segment.ts';

/** How files are laid out. */
export interface FileStorageOptions {
  /** A segment grows no larger than about this; it is the unit of dropping. @default 4 MiB */
  readonly segmentBytes?: number;
}

const DAY = 86_400_000;
const NAME = /^(\d+)-(\d+)-(\d+)\.segment$/;
const HEADS = 'heads';

/**
 * Keeps chunks in append-only segments, one or more per tier and day, each record with a CRC-32. A chunk is acknowledged
 * after `fdatasync`; a torn end is cut off when the directory is opened again.
 */
class FileStorage implements ChunkStorage {
  readonly #directory: string;
  readonly #segmentBytes: number;
  #segments: Segment[] = [];
  #unlock: (() => Promise<void>) | undefined;
  // One write at a time.
  #tail: Promise<unknown> = Promise.resolve();

  constructor(directory: string, options: FileStorageOptions) {
    this.#directory = directory;
    this.#segmentBytes = options.segmentBytes ?? 4 * 2 ** 20;
  }

  get bytes(): number {
    return this.#segments.reduce((total, { size }) => total + size, 0);
  }

  async open(): Promise<readonly StoredChunk[]> {
    await mkdir(this.#directory, { recursive: true });
    this.#unlock = await lockDirectory(this.#directory);
    const names = (await readdir(this.#directory)).filter((name) => NAME.test(name)).sort(byNumbers);
    const stored: StoredChunk[] = [];
    for (const name of names) stored.push(...(await this.#recover(name)));
    return [...stored, ...(await this.#adoptHeads(stored))];
  }

  write(chunks: readonly NewChunk[]): Promise<readonly ChunkHandle[]> {
    return this.#inTurn(() => this.#write(chunks));
  }

  async read(handles: readonly ChunkHandle[]): Promise<readonly (Uint8Array | undefined)[]> {
    const payloads = new Map<ChunkHandle, Uint8Array>();
    for (const [segment, own] of groupBy(handles as readonly SegmentHandle[], (handle) => handle.segment)) {
      if (segment.dropped) continue;
      const found = await segment.read(own);
      for (const [i, handle] of own.entries()) if (found[i] !== undefined) payloads.set(handle, found[i]);
    }
    return handles.map((handle) => payloads.get(handle));
  }

  async saveHeads(chunks: readonly NewChunk[]): Promise<void> {
    const writer = new RecordWriter();
    for (const [i, chunk] of chunks.entries()) {
      const labels = { ...chunk.labels, [STEP]: String(chunk.step) };
      writer.series({ id: i, kind: chunk.kind, labels });
      writer.chunk(i, chunk);
    }
    const path = join(this.#directory, HEADS);
    const file = await open(`${path}.new`, 'w');
    try {
      await file.writeFile(writer.finish());
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
  }

  async dropBefore(step: number, time: number): Promise<void> {
    await this.#drop((segment) => segment.step === step && segment.end <= time);
  }

  async dropOldest(): Promise<boolean> {
    const oldest = this.#segments.reduce<Segment | undefined>(
      (least, segment) => (least === undefined || segment.end < least.end ? segment : least),
      undefined,
    );
    if (oldest === undefined) return false;
    await this.#drop((segment) => segment === oldest);
    return true;
  }

  async close(): Promise<void> {
    await this.#tail.catch(() => {});
    for (const segment of this.#segments) await segment.close();
    await this.#unlock?.();
    this.#unlock = undefined;
  }

  async #write(chunks: readonly NewChunk[]): Promise<readonly ChunkHandle[]> {
    const handles = new Map<NewChunk, ChunkHandle>();
    const place = (chunk: NewChunk): string =>
      `${chunk.step}-${Math.floor((chunk.start * chunk.step) / DAY)}`;
    for (const [of, own] of groupBy(chunks, place)) {
      const [step = 0, day = 0] = of.split('-').map(Number);
      const kept = await this.#segmentFor(step, day).append(own);
      for (const [i, chunk] of own.entries()) if (kept[i] !== undefined) handles.set(chunk, kept[i]);
    }
    return chunks.map((chunk) => handles.get(chunk)).filter((handle) => handle !== undefined);
  }

  #segmentFor(step: number, day: number): Segment {
    const own = this.#segments.filter((segment) => segment.step === step && segment.day === day);
    const last = own.at(-1);
    if (last !== undefined && last.size < this.#segmentBytes) return last;
    const sequence =
      last === undefined ? 0 : Number(NAME.exec(last.path.split(/[/\\]/).at(-1) ?? '')?.[3]) + 1;
    const segment = new Segment(join(this.#directory, `${step}-${day}-${sequence}.segment`), step, day);
    this.#segments.push(segment);
    return segment;
  }

  async #recover(name: string): Promise<readonly StoredChunk[]> {
    const path = join(this.#directory, name);
    const bytes = await readFile(path);
    const { chunks, series, length } = readRecords(bytes);
    if (length < bytes.length) await truncate(path, length);
    const [, step = 0, day = 0] = (NAME.exec(name) ?? []).map(Number);
    const segment = new Segment(path, step, day, length);
    segment.know(series.values());
    this.#segments.push(segment);
    return chunks.map(({ series: { labels, kind }, start, slots, offset, length: size }) => {
      const chunk = { labels, kind, step, start, slots, handle: new SegmentHandle(segment, offset, size) };
      segment.end = Math.max(segment.end, endOf(chunk));
      return chunk;
    });
  }

  /** Makes ordinary chunks of what was saved before a crash and never sealed. */
  async #adoptHeads(stored: readonly StoredChunk[]): Promise<readonly StoredChunk[]> {
    const path = join(this.#directory, HEADS);
    const bytes = await readFile(path).catch(() => Buffer.alloc(0));
    const id = (chunk: Pick<NewChunk, 'labels' | 'step' | 'start'>): string =>
      `${chunk.step} ${chunk.start} ${labelKey(chunk.labels)}`;
    const known = new Map(stored.map((chunk) => [id(chunk), chunk.slots]));
    const heads = readRecords(bytes).chunks.map(({ series, start, slots, offset, length }): NewChunk => {
      const { [STEP]: step, ...labels } = series.labels;
      const payload = bytes.subarray(offset, offset + length);
      return { labels, kind: series.kind, step: Number(step), start, slots, payload };
    });
    const lost = heads.filter((chunk) => (known.get(id(chunk)) ?? 0) < chunk.slots);
    const handles = await this.#write(lost);
    await unlink(path).catch(() => {});
    return lost.flatMap(({ payload: _payload, ...address }, i) => {
      const handle = handles[i];
      return handle === undefined ? [] : [{ ...address, handle }];
    });
  }

  async #drop(which: (segment: Segment) => boolean): Promise<void> {
    await this.#inTurn(async () => {
      const dropped = this.#segments.filter(which);
      this.#segments = this.#segments.filter((segment) => !which(segment));
      for (const segment of dropped) {
        segment.dropped = true;
        await segment.close();
        await unlink(segment.path).catch(() => {});
      }
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work, work);
    this.#tail = turn.catch(() => {});
    return turn;
  }
}

// No label can be called like this.
const STEP = '\u0000step';

function byNumbers(a: string, b: string): number {
  const [x, y] = [a, b].map((name) => (NAME.exec(name) ?? []).slice(1).map(Number));
  for (let i = 0; i < 3; i++) if (x?.[i] !== y?.[i]) return (x?.[i] ?? 0) - (y?.[i] ?? 0);
  return 0;
}

function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): ReadonlyMap<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

/**
 * Keeps the store's chunks in files of `directory`, which belongs to one process at a time.
 *
 * Guarantee: a chunk that was acknowledged survives the death of the process and of the machine (after `fdatasync`); what
 * is not sealed yet is saved every `checkpoint`.
 */
export function fileStorage(directory: string, options: FileStorageOptions = {}): ChunkStorage {
  if (typeof directory !== 'string' || directory === '') {
    throw new InvalidOptionError('directory', 'must be the path of a directory');
  }
  return new FileStorage(directory, options);
}
