import { codecById, compress, expand, type Compression } from './compression.ts';
import type { NewRecord, StoredRecord } from './record.ts';
import { fromBytes, toBytes, type Serialized, type Serializer, type Span } from './serializer.ts';

/** How values are packed. */
export interface ValueCodecOptions {
  readonly serializer: Serializer;
  readonly compression: Compression;
  readonly maxValueBytes: number;
  /** Told of each compression that was worth it. */
  readonly onCompressed?: (before: number, after: number) => void;
}

/** The payload of a record to be written. */
export type Packed = Pick<NewRecord, 'format' | 'codec' | 'rawLength' | 'bytes'>;

type Payload = Pick<StoredRecord, 'format' | 'codec' | 'rawLength' | 'source' | 'from' | 'to'>;

// An absent value: the answer of a loader that found nothing.
const ABSENT: Serialized = { format: 0, bytes: Buffer.alloc(0) };

/** Values to payloads and back. */
export class ValueCodec {
  readonly #options: ValueCodecOptions;

  constructor(options: ValueCodecOptions) {
    this.#options = options;
  }

  /** @throws CacheError `SERIALIZATION` */
  serialize(value: unknown): Serialized {
    return value === undefined ? ABSENT : toBytes(this.#options.serializer, value);
  }

  /** Undefined when it is larger than what may be stored. */
  async pack({ format, bytes }: Serialized): Promise<Packed | undefined> {
    if (bytes.length > this.#options.maxValueBytes) return undefined;
    const smaller = await compress(this.#options.compression, bytes);
    if (smaller === undefined) return { format, codec: 0, rawLength: bytes.length, bytes };
    this.#options.onCompressed?.(bytes.length, smaller.length);
    const codec = this.#options.compression.codec?.id ?? 0;
    return { format, codec, rawLength: bytes.length, bytes: smaller };
  }

  /** The value, or a promise of it when there is much to expand. Throws or rejects when the payload is no good. */
  unpack(payload: Payload): unknown {
    const { format, codec, rawLength } = payload;
    if (rawLength > this.#options.maxValueBytes) throw new RangeError('larger than maxValueBytes');
    if (format === ABSENT.format) return undefined;
    if (codec === 0) return this.#restore(payload, rawLength);
    const algorithm = codecById(codec);
    if (algorithm === undefined) throw new TypeError(`unknown compression ${codec}`);
    const expanded = expand(algorithm, payload.source.subarray(payload.from, payload.to), rawLength);
    const restore = (source: Buffer): unknown =>
      this.#restore({ format, source, from: 0, to: source.length }, rawLength);
    return Buffer.isBuffer(expanded) ? restore(expanded) : expanded.then(restore);
  }

  #restore(span: Span, length: number): unknown {
    if (span.to - span.from !== length) throw new RangeError('the length is not the stored one');
    return fromBytes(this.#options.serializer, span);
  }
}
