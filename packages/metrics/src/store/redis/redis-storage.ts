import { createHash } from 'node:crypto';
import {
  InvalidOptionError,
  type Duration,
  type Logger,
  type RedisOption,
  toMilliseconds,
} from '@xiaoke/core';
import { keyspace, openRedis, type Keyspace, type RedisConnection } from '@xiaoke/core/redis';
import { ByteReader, ByteWriter } from '../bytes.ts';
import type { ChunkHandle, ChunkStorage, NewChunk, SeriesKind, StoredChunk } from '../chunk-storage.ts';
import { labelKey, type Labels } from '../promql/values.ts';

/** How chunks are kept in Redis. */
export interface RedisStorageOptions {
  /** One hash tag: everything of a store lies in one slot of a Cluster. @default 'default' */
  readonly namespace?: string;
  /** Names this writer's unsealed chunks, so that it finds them after a restart. @default 'default' */
  readonly instance?: string;
  /** How long a day's chunks stay in Redis; at least the longest tier's `keep`. @default '31d' */
  readonly expire?: Duration;
  readonly logger?: Logger;
}

class RedisHandle implements ChunkHandle {
  readonly key: string;
  readonly field: string;
  readonly size: number;
  dropped = false;

  constructor(key: string, field: string, size: number) {
    this.key = key;
    this.field = field;
    this.size = size;
  }
}

const DAY = 86_400_000;
const BATCH = 200;

/**
 * Keeps chunks in one hash per tier and day, `c:<step>:<day>`, with fields `<series>:<start>:<slots>`. Every write is a
 * plain HSET of immutable values, so repeating one after a lost reply changes nothing.
 */
class RedisStorage implements ChunkStorage {
  readonly #option: RedisOption;
  readonly #key: Keyspace;
  readonly #instance: string;
  readonly #expire: number;
  readonly #logger: Logger | undefined;
  #connection: RedisConnection | undefined;
  readonly #known = new Set<string>();
  readonly #units = new Map<string, RedisHandle[]>();

  constructor(option: RedisOption, options: RedisStorageOptions) {
    this.#option = option;
    this.#key = keyspace('xt', options.namespace ?? 'default');
    this.#instance = options.instance ?? 'default';
    this.#expire = Math.ceil(toMilliseconds(options.expire ?? '31d', 'expire', { min: 1_000 }) / 1_000);
    this.#logger = options.logger;
  }

  get bytes(): number {
    let total = 0;
    for (const handles of this.#units.values()) for (const { size } of handles) total += size;
    return total;
  }

  async open(): Promise<readonly StoredChunk[]> {
    this.#connection ??= await openRedis(this.#option, {
      load: () => import('ioredis'),
      logger: this.#logger,
    });
    const series = await this.#loadSeries();
    const stored: StoredChunk[] = [];
    for (const key of (await this.#call('SMEMBERS', this.#key('k'))) as string[]) {
      stored.push(...(await this.#loadUnit(key, series)));
    }
    return [...stored, ...(await this.#adoptHeads(stored))];
  }

  async write(chunks: readonly NewChunk[]): Promise<readonly ChunkHandle[]> {
    await this.#saveSeries(chunks);
    const handles: RedisHandle[] = [];
    for (let from = 0; from < chunks.length; from += BATCH) {
      handles.push(...(await this.#writeBatch(chunks.slice(from, from + BATCH))));
    }
    return handles;
  }

  async read(handles: readonly ChunkHandle[]): Promise<readonly (Uint8Array | undefined)[]> {
    const found = new Map<ChunkHandle, Uint8Array>();
    for (const [key, own] of byKey(handles as readonly RedisHandle[])) {
      const payloads = await this.#client().callBuffer('HMGET', key, ...own.map(({ field }) => field));
      for (const [i, payload] of (payloads as (Uint8Array | null)[]).entries()) {
        const handle = own[i];
        if (payload !== null && handle !== undefined) found.set(handle, payload);
      }
    }
    return handles.map((handle) => found.get(handle));
  }

  async saveHeads(chunks: readonly NewChunk[]): Promise<void> {
    await this.#saveSeries(chunks);
    const writer = new ByteWriter();
    for (const chunk of chunks) {
      writer.text(seriesId(chunk));
      for (const number of [chunk.step, chunk.start, chunk.slots, chunk.payload.length])
        writer.varint(number);
      writer.bytes(chunk.payload);
    }
    await this.#call('SET', this.#key(`h:${this.#instance}`), writer.finish(), 'EX', this.#expire);
  }

  async dropBefore(step: number, time: number): Promise<void> {
    for (const key of this.#units.keys()) {
      const [, ofStep = 0, day = 0] = key.split('}:').at(-1)?.split(':').map(Number) ?? [];
      if (ofStep === step && (day + 1) * DAY <= time) await this.#drop(key);
    }
  }

  async dropOldest(): Promise<boolean> {
    const day = (key: string): number => Number(key.split(':').at(-1));
    const [oldest] = [...this.#units.keys()].sort((a, b) => day(a) - day(b));
    if (oldest === undefined) return false;
    await this.#drop(oldest);
    return true;
  }

  async close(): Promise<void> {
    await this.#connection?.close();
  }

  async #writeBatch(chunks: readonly NewChunk[]): Promise<readonly RedisHandle[]> {
    const placed = chunks.map((chunk) => {
      const day = Math.floor((chunk.start * chunk.step) / DAY);
      const key = this.#key(`c:${chunk.step}:${day}`);
      return { handle: new RedisHandle(key, fieldOf(chunk), chunk.payload.length), payload: chunk.payload };
    });
    for (const [key, own] of byKey(placed.map(({ handle }) => handle))) {
      const fields = placed.filter(({ handle }) => own.includes(handle));
      // The list of hashes first: a hash that nobody lists would never be found again.
      await this.#call('SADD', this.#key('k'), key);
      await this.#call('HSET', key, ...fields.flatMap(({ handle, payload }) => [handle.field, payload]));
      await this.#call('EXPIRE', key, this.#expire);
      this.#units.set(key, [...(this.#units.get(key) ?? []), ...own]);
    }
    return placed.map(({ handle }) => handle);
  }

  async #saveSeries(chunks: readonly NewChunk[]): Promise<void> {
    const fresh = chunks.filter((chunk) => !this.#known.has(seriesId(chunk)));
    for (let from = 0; from < fresh.length; from += BATCH) {
      const batch = fresh.slice(from, from + BATCH);
      const fields = batch.flatMap((chunk) => [
        seriesId(chunk),
        JSON.stringify({ labels: chunk.labels, kind: chunk.kind }),
      ]);
      await this.#call('HSET', this.#key('s'), ...fields);
      for (const chunk of batch) this.#known.add(seriesId(chunk));
    }
    if (fresh.length > 0) await this.#call('EXPIRE', this.#key('s'), this.#expire);
  }

  async #loadSeries(): Promise<ReadonlyMap<string, { labels: Labels; kind: SeriesKind }>> {
    const flat = (await this.#call('HGETALL', this.#key('s'))) as string[] | Record<string, string>;
    const entries = Array.isArray(flat) ? pairs(flat) : Object.entries(flat);
    const series = new Map<string, { labels: Labels; kind: SeriesKind }>();
    for (const [id, text] of entries) {
      series.set(id, JSON.parse(text) as { labels: Labels; kind: SeriesKind });
      this.#known.add(id);
    }
    return series;
  }

  async #loadUnit(
    key: string,
    series: ReadonlyMap<string, { labels: Labels; kind: SeriesKind }>,
  ): Promise<readonly StoredChunk[]> {
    const fields = (await this.#call('HKEYS', key)) as string[];
    if (fields.length === 0) {
      await this.#call('SREM', this.#key('k'), key);
      return [];
    }
    const bytes = Number(await this.#call('MEMORY', 'USAGE', key));
    const step = Number(key.split(':').at(-2));
    const handles: RedisHandle[] = [];
    const stored = fields.flatMap((field): StoredChunk[] => {
      const [id = '', start, slots] = field.split(':');
      const owner = series.get(id);
      if (owner === undefined) return [];
      const handle = new RedisHandle(key, field, Math.ceil(bytes / fields.length));
      handles.push(handle);
      return [{ ...owner, step, start: Number(start), slots: Number(slots), handle }];
    });
    this.#units.set(key, handles);
    return stored;
  }

  async #adoptHeads(stored: readonly StoredChunk[]): Promise<readonly StoredChunk[]> {
    const key = this.#key(`h:${this.#instance}`);
    const bytes = (await this.#client().callBuffer('GET', key)) as Uint8Array | null;
    if (bytes === null) return [];
    const series = await this.#loadSeries();
    const known = new Map(
      stored.map((chunk) => [`${seriesId(chunk)}:${chunk.step}:${chunk.start}`, chunk.slots]),
    );
    const reader = new ByteReader(bytes);
    const lost: NewChunk[] = [];
    while (reader.position < bytes.length) {
      const id = reader.text();
      const [step, start, slots, length] = [
        reader.varint(),
        reader.varint(),
        reader.varint(),
        reader.varint(),
      ];
      const payload = reader.bytes(length);
      const owner = series.get(id);
      if (owner === undefined || (known.get(`${id}:${step}:${start}`) ?? 0) >= slots) continue;
      lost.push({ ...owner, step, start, slots, payload });
    }
    const handles = await this.write(lost);
    await this.#call('DEL', key);
    return lost.flatMap(({ payload: _payload, ...address }, i) => {
      const handle = handles[i];
      return handle === undefined ? [] : [{ ...address, handle }];
    });
  }

  async #drop(key: string): Promise<void> {
    await this.#call('UNLINK', key);
    await this.#call('SREM', this.#key('k'), key);
    for (const handle of this.#units.get(key) ?? []) handle.dropped = true;
    this.#units.delete(key);
  }

  #client(): RedisConnection['client'] {
    if (this.#connection === undefined) throw new InvalidOptionError('storage', 'must be opened by a store');
    return this.#connection.client;
  }

  #call(command: string, ...args: (string | number | Uint8Array)[]): Promise<unknown> {
    return this.#client().call(command, ...args);
  }
}

function byKey(handles: readonly RedisHandle[]): ReadonlyMap<string, RedisHandle[]> {
  const groups = new Map<string, RedisHandle[]>();
  for (const handle of handles) {
    const group = groups.get(handle.key);
    if (group === undefined) groups.set(handle.key, [handle]);
    else group.push(handle);
  }
  return groups;
}

function seriesId({ labels, kind }: { readonly labels: Labels; readonly kind: SeriesKind }): string {
  return createHash('sha256')
    .update(kind + labelKey(labels))
    .digest('base64url')
    .slice(0, 22);
}

function fieldOf(chunk: NewChunk): string {
  return `${seriesId(chunk)}:${chunk.start}:${chunk.slots}`;
}

function pairs(flat: readonly string[]): readonly (readonly [string, string])[] {
  return Array.from(
    { length: flat.length / 2 },
    (_, i) => [flat[2 * i] ?? '', flat[2 * i + 1] ?? ''] as const,
  );
}

/**
 * Keeps the store's chunks in Redis, so that they outlive the machine. A chunk is acknowledged when Redis has it; whether
 * it survives Redis's own death is Redis's persistence.
 */
export function redisStorage(redis: RedisOption, options: RedisStorageOptions = {}): ChunkStorage {
  return new RedisStorage(redis, options);
}
