import type { Place } from '../capture.ts';
import { decodeRecord, encodeRecord, type StoredRecord } from '../codec/record.ts';
import type { ValueCodec } from '../codec/value-codec.ts';
import { sharedSum, type Counter, type CounterRegistry } from '../counters.ts';
import type { Draft, Found } from '../second-tier.ts';
import type { ServerTime } from './server-time.ts';
import { stampOf } from '../codec/record.ts';
import type { SharedCounters } from './shared-counters.ts';

/** What records need of their tier. */
export interface RecordsParts {
  readonly codec: ValueCodec;
  readonly time: ServerTime;
  readonly shared: SharedCounters;
  readonly counters: CounterRegistry;
  /** A stored value was no good; it is treated as absent. */
  readonly onReject: (place: Place, reason: string) => void;
}

/** Bytes to be stored, and for how many milliseconds. */
export interface Encoded {
  readonly bytes: Buffer;
  readonly life: number;
}

// Redis takes no life without an end; ten years will do for one.
const LONGEST_LIFE = 315_360_000_000;

/** Values to what is stored for them, and back to values that can be trusted. */
export class Records {
  readonly #parts: RecordsParts;

  constructor(parts: RecordsParts) {
    this.#parts = parts;
  }

  /** Undefined when the value is too large. @throws CacheError `SERIALIZATION` */
  async encode(draft: Draft): Promise<Encoded | undefined> {
    const { codec, time } = this.#parts;
    const { place, lifetime, freshFor, tags } = draft;
    const generation = sharedSum(place.scope.generations);
    // Before any waiting, so that what is invalidated from here on makes the value old.
    const versions = tags.map(({ id, shared }) => [id.slice(1), shared ?? 0] as const);
    const packed = await codec.pack(draft.serialized ?? codec.serialize(draft.value));
    if (packed === undefined || generation === undefined) return undefined;
    const record: StoredRecord = {
      ...packed,
      key: place.key,
      tags: versions,
      generation,
      writtenAt: time.now(),
      freshFor,
      loadMs: draft.loadMs ?? 0,
    };
    const life = freshFor + lifetime.staleIfError;
    const idle = lifetime.idleTtl > 0 ? lifetime.idleTtl : Infinity;
    return { bytes: encodeRecord(record), life: Math.ceil(Math.min(life, idle, LONGEST_LIFE)) };
  }

  /** The value, if it is whole, its own, and not invalidated. */
  async find(place: Place, bytes: Buffer): Promise<Found | undefined> {
    const record = decodeRecord(bytes, place.key);
    if (typeof record === 'string') return this.#reject(place, record);
    const tags = record.tags.map(([tag]) => this.#parts.counters.tag(tag));
    const counters = [...place.scope.generations, ...tags];
    if (counters.some(({ shared }) => shared === undefined)) await this.#parts.shared.learn(counters);
    let value: unknown;
    try {
      value = this.#parts.codec.unpack(record);
      if (value instanceof Promise) value = await value;
    } catch (error) {
      return this.#reject(place, error instanceof RangeError ? 'size' : 'decode');
    }
    // Last, so that nothing can be invalidated between this and the use of the value.
    if (!this.#isCurrent(place, record, tags)) return undefined;
    const age = Math.max(0, this.#parts.time.now() - record.writtenAt);
    return { value, tags, freshFor: record.freshFor - age, loadMs: record.loadMs, stamp: stampOf(bytes) };
  }

  #isCurrent(place: Place, record: StoredRecord, tags: readonly Counter[]): boolean {
    if (sharedSum(place.scope.generations) !== record.generation) return false;
    return tags.every(({ shared }, i) => shared !== undefined && shared === record.tags[i]?.[1]);
  }

  #reject(place: Place, reason: string): undefined {
    this.#parts.onReject(place, reason);
    return undefined;
  }
}
