import type { Labels } from './promql/values.ts';

/** Whether values only grow (between resets). */
export type SeriesKind = 'counter' | 'gauge';

/** Names a chunk: whose it is and where on the grid. */
export interface ChunkAddress {
  readonly labels: Labels;
  readonly kind: SeriesKind;
  /** The tier's step in milliseconds. */
  readonly step: number;
  /** The first slot: its time divided by the step. */
  readonly start: number;
  readonly slots: number;
}

/** A chunk to be kept. */
export interface NewChunk extends ChunkAddress {
  readonly payload: Uint8Array;
}

/** Where a kept chunk is; each storage adds what it needs. */
export interface ChunkHandle {
  /** Bytes that it takes. */
  readonly size: number;
  /** Set when the storage let go of it. */
  readonly dropped: boolean;
}

/** A chunk that a storage holds. */
export interface StoredChunk extends ChunkAddress {
  readonly handle: ChunkHandle;
}

/**
 * Keeps sealed chunks. Chunks are immutable; a chunk acknowledged by {@link ChunkStorage.write} survives what the storage
 * promises to survive, and is dropped oldest first.
 */
export interface ChunkStorage {
  /** Everything that is kept, damaged ends left out. Called once, before all else. */
  open(): Promise<readonly StoredChunk[]>;
  /** Resolves, to the handles in order, once the chunks are kept. */
  write(chunks: readonly NewChunk[]): Promise<readonly ChunkHandle[]>;
  /** The payloads in order; `undefined` for one that was dropped meanwhile. */
  read(handles: readonly ChunkHandle[]): Promise<readonly (Uint8Array | undefined)[]>;
  /** Replaces the saved copy of what is not sealed yet, so that a crash loses little. */
  saveHeads(chunks: readonly NewChunk[]): Promise<void>;
  /** Lets go of chunks of a tier that end before `time`, as far as its units allow. */
  dropBefore(step: number, time: number): Promise<void>;
  /** Lets go of its oldest unit; `false` when there is none. */
  dropOldest(): Promise<boolean>;
  /** Bytes that are taken now. */
  readonly bytes: number;
  close(): Promise<void>;
}

/** When a chunk ends, in milliseconds. */
export function endOf({ step, start, slots }: ChunkAddress): number {
  return (start + slots) * step;
}
