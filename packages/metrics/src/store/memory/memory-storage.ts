import {
  endOf,
  type ChunkHandle,
  type ChunkStorage,
  type NewChunk,
  type StoredChunk,
} from '../chunk-storage.ts';

interface Held extends ChunkHandle {
  dropped: boolean;
  readonly payload: Uint8Array;
  readonly end: number;
  readonly step: number;
}

/** Keeps chunks in memory: nothing survives the process. */
class MemoryStorage implements ChunkStorage {
  // In order of arrival, which is nearly the order of age.
  #chunks: Held[] = [];
  bytes = 0;

  open(): Promise<readonly StoredChunk[]> {
    return Promise.resolve([]);
  }

  write(chunks: readonly NewChunk[]): Promise<readonly ChunkHandle[]> {
    const held = chunks.map((chunk): Held => {
      const { payload, step } = chunk;
      return { size: payload.length, dropped: false, payload, end: endOf(chunk), step };
    });
    this.#chunks.push(...held);
    for (const { size } of held) this.bytes += size;
    return Promise.resolve(held);
  }

  read(handles: readonly ChunkHandle[]): Promise<readonly (Uint8Array | undefined)[]> {
    return Promise.resolve(
      (handles as readonly Held[]).map(({ dropped, payload }) => (dropped ? undefined : payload)),
    );
  }

  saveHeads(): Promise<void> {
    return Promise.resolve();
  }

  dropBefore(step: number, time: number): Promise<void> {
    this.#drop((chunk) => chunk.step === step && chunk.end <= time);
    return Promise.resolve();
  }

  dropOldest(): Promise<boolean> {
    if (this.#chunks.length === 0) return Promise.resolve(false);
    const oldest = this.#chunks.reduce((least, { end }) => Math.min(least, end), Infinity);
    this.#drop(({ end }) => end === oldest);
    return Promise.resolve(true);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #drop(which: (chunk: Held) => boolean): void {
    this.#chunks = this.#chunks.filter((chunk) => {
      if (!which(chunk)) return true;
      chunk.dropped = true;
      this.bytes -= chunk.size;
      return false;
    });
  }
}

/** Keeps the store's chunks in memory. */
export function memoryStorage(): ChunkStorage {
  return new MemoryStorage();
}
