import type { Place } from '../capture.ts';
import { decodeRecord, encodeRecord, type NewRecord, type StoredRecord } from '../codec/record.ts';
import type { ValueCodec } from '../codec/value-codec.ts';
import { sharedSum, type Counter, type CounterRegistry } from '../counters.ts';
import type { Draft, Found, Receiver } from '../second-tier.ts';
import type { Question } from './reader.ts';
import type { ServerTime } from './server-time.ts';
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

const NO_TAGS: readonly Counter[] = Object.freeze([]);
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
    const record: NewRecord = {
      ...packed,
      key: place.key,
      tags: versions,
      generation,
      writtenAt: time.now(),
      freshFor,
      loadMs: draft.loadMs ?? 0,
      idleTtl: lifetime.idleTtl,
    };
    const life = freshFor + lifetime.staleIfError;
    const idle = lifetime.idleTtl > 0 ? lifetime.idleTtl : Infinity;
    return { bytes: encodeRecord(record), life: Math.ceil(Math.min(life, idle, LONGEST_LIFE)) };
  }

  /**
   * The value, if it is whole, its own, and not invalidated. At once where that is possible: a promise for each value read
   * would cost more than decoding it.
   */
  find(place: Place, bytes: Buffer): Promise<Found | undefined> | Found | undefined {
    const record = decodeRecord(bytes, place.key);
    if (typeof record === 'string') return this.#reject(place, record);
    const tags =
      record.tags.length === 0 ? NO_TAGS : record.tags.map(([tag]) => this.#parts.counters.tag(tag));
    const generation = sharedSum(place.scope.generations);
    if (generation === undefined || (tags !== NO_TAGS && sharedSum(tags) === undefined))
      return this.#learnAndFind(place, record, tags);
    // Not worth decoding.
    if (generation !== record.generation || !areCurrent(tags, record)) return undefined;
    try {
      const value = this.#parts.codec.unpack(record);
      if (value instanceof Promise) return this.#expandAndFind(place, record, tags, value);
      return this.#found(record, tags, value);
    } catch (error) {
      return this.#reject(place, reasonOf(error));
    }
  }

  async #learnAndFind(
    place: Place,
    record: StoredRecord,
    tags: readonly Counter[],
  ): Promise<Found | undefined> {
    await this.#parts.shared.learn([...place.scope.generations, ...tags]);
    return this.#expandAndFind(place, record, tags, undefined);
  }

  // max-params: three facts about the value, and the value
  async #expandAndFind(
    place: Place,
    record: StoredRecord,
    tags: readonly Counter[],
    unpacked: Promise<unknown> | undefined,
  ): Promise<Found | undefined> {
    try {
      const value: unknown = await (unpacked ?? this.#parts.codec.unpack(record));
      // Again, and last, so that nothing can be invalidated between this and the use of the value.
      if (sharedSum(place.scope.generations) !== record.generation || !areCurrent(tags, record))
        return undefined;
      return this.#found(record, tags, value);
    } catch (error) {
      return this.#reject(place, reasonOf(error));
    }
  }

  #found(record: StoredRecord, tags: readonly Counter[], value: unknown): Found {
    const age = Math.max(0, this.#parts.time.roughly() - record.writtenAt);
    const { loadMs, idleTtl, source } = record;
    return { value, tags, freshFor: record.freshFor - age, loadMs, idleTtl, source };
  }

  #reject(place: Place, reason: string): undefined {
    this.#parts.onReject(place, reason);
    return undefined;
  }
}

/** Turns what a key holds into a value for who asked for it. */
export class EntryRead implements Question {
  readonly key: string;
  readonly #place: Place;
  readonly #records: Records;
  readonly #receiver: Receiver;

  // max-params: one for each value that is read, where an object for them would be made in vain
  constructor(key: string, place: Place, records: Records, receiver: Receiver) {
    this.key = key;
    this.#place = place;
    this.#records = records;
    this.#receiver = receiver;
  }

  receive(bytes: Buffer | null | undefined): void {
    const found = bytes === null || bytes === undefined ? undefined : this.#records.find(this.#place, bytes);
    if (found instanceof Promise) void found.then((late) => this.#receiver.receive(late));
    else this.#receiver.receive(found);
  }
}

function areCurrent(tags: readonly Counter[], record: StoredRecord): boolean {
  for (let i = 0; i < tags.length; i += 1) if (tags[i]?.shared !== record.tags[i]?.[1]) return false;
  return true;
}

function reasonOf(error: unknown): string {
  return error instanceof RangeError ? 'size' : 'decode';
}
