import { withTimeout, type Clock } from '@xiaoke/core';
import { MetricsError } from '../errors.ts';
import type { ChunkHandle, ChunkStorage, NewChunk, StoredChunk } from './chunk-storage.ts';

// After a read that was not answered, others are not even tried for so long, in milliseconds.
const LEFT_ALONE = 5_000;

/**
 * A storage whose every answer comes in time, if only as an error: one that hangs must stop neither sampling nor questions
 * that memory can answer.
 */
export class BoundedStorage implements ChunkStorage {
  readonly #storage: ChunkStorage;
  readonly #timeout: number;
  readonly #clock: Clock;
  #opening: Promise<readonly StoredChunk[]> | undefined;
  #alone = -Infinity;

  constructor(storage: ChunkStorage, timeout: number, clock: Clock) {
    this.#storage = storage;
    this.#timeout = timeout;
    this.#clock = clock;
  }

  get bytes(): number {
    return this.#storage.bytes;
  }

  async open(): Promise<readonly StoredChunk[]> {
    this.#leaveAlone();
    // A storage is opened once; whoever asks again waits for the same.
    this.#opening ??= this.#storage.open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return await this.#patiently(this.#opening, 'opening the storage');
  }

  write(chunks: readonly NewChunk[]): Promise<readonly ChunkHandle[]> {
    return this.#bound(this.#storage.write(chunks), 'writing to the storage');
  }

  async read(handles: readonly ChunkHandle[]): Promise<readonly (Uint8Array | undefined)[]> {
    this.#leaveAlone();
    return await this.#patiently(this.#storage.read(handles), 'reading from the storage');
  }

  saveHeads(chunks: readonly NewChunk[]): Promise<void> {
    return this.#bound(this.#storage.saveHeads(chunks), 'saving to the storage');
  }

  async dropBefore(step: number, time: number): Promise<void> {
    this.#leaveAlone();
    await this.#patiently(this.#storage.dropBefore(step, time), 'dropping from the storage');
  }

  async dropOldest(): Promise<boolean> {
    this.#leaveAlone();
    return await this.#patiently(this.#storage.dropOldest(), 'dropping from the storage');
  }

  close(): Promise<void> {
    return this.#bound(this.#storage.close(), 'closing the storage');
  }

  /** What a question waits for: after one that failed, the next are answered at once for a while. */
  async #patiently<T>(work: Promise<T>, what: string): Promise<T> {
    try {
      return await this.#bound(work, what);
    } catch (error) {
      this.#alone = this.#clock.monotonic() + LEFT_ALONE;
      throw error;
    }
  }

  #leaveAlone(): void {
    if (this.#clock.monotonic() < this.#alone)
      throw new MetricsError('PROMQL_EVALUATION', 'the storage of older samples does not answer');
  }

  #bound<T>(work: Promise<T>, what: string): Promise<T> {
    return withTimeout(work, this.#timeout, what, { ref: false });
  }
}
