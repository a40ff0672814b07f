import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { InvalidOptionError } from '@xiaoke/core';

/** How bytes are made fewer. `zstd` needs a Node that has it (22.15). */
export type CompressionAlgorithm = 'gzip' | 'brotli' | 'zstd';

/** An algorithm, or one with the number of bytes from which on it is used (by default 2048). */
export type CompressionOption =
  | 'none'
  | CompressionAlgorithm
  | { readonly algorithm: CompressionAlgorithm; readonly threshold?: number };

/** {@link CompressionOption} resolved. */
export interface Compression {
  readonly codec: Codec | undefined;
  readonly threshold: number;
}

/** One algorithm and the number by which a stored value names it. */
export interface Codec {
  readonly id: number;
  compressSync(bytes: Uint8Array): Buffer;
  compress(bytes: Uint8Array): Promise<Buffer>;
  expandSync(bytes: Uint8Array, length: number): Buffer;
  expand(bytes: Uint8Array, length: number): Promise<Buffer>;
}

const DEFAULT_THRESHOLD = 2_048;
/** Above this the work goes to the thread pool: a short pause of the event loop is cheaper than the trip below it. */
const SYNC_UP_TO = 64 * 1024;
/** What saves less is not worth inflating on every read. */
const WORTH_IT = 0.9;
/** A value that claims to grow more than this is a bomb, and is never inflated; our own are padded to stay below. */
const MAX_EXPANSION = 1_000;

type Async = (bytes: Uint8Array, options: object) => Promise<Buffer>;
type Sync = (bytes: Uint8Array, options: object) => Buffer;

interface Functions {
  readonly id: number;
  readonly compressSync: Sync;
  readonly compress: Async;
  readonly expandSync: Sync;
  readonly expand: Async;
  readonly level: object;
}

/** `maxOutputLength` is the stored length: an expansion beyond it is refused before memory is taken for it. */
function codecOf(functions: Functions): Codec {
  const limit = (length: number): object => ({ maxOutputLength: Math.max(1, length) });
  return {
    id: functions.id,
    compressSync: (bytes) => functions.compressSync(bytes, functions.level),
    compress: (bytes) => functions.compress(bytes, functions.level),
    expandSync: (bytes, length) => functions.expandSync(bytes, limit(length)),
    expand: (bytes, length) => functions.expand(bytes, limit(length)),
  };
}

const gzip = codecOf({
  id: 1,
  compressSync: zlib.gzipSync,
  compress: promisify<Uint8Array, object, Buffer>(zlib.gzip),
  expandSync: zlib.gunzipSync,
  expand: promisify<Uint8Array, object, Buffer>(zlib.gunzip),
  level: { level: 1 },
});

const brotli = codecOf({
  id: 2,
  compressSync: zlib.brotliCompressSync,
  compress: promisify<Uint8Array, object, Buffer>(zlib.brotliCompress),
  expandSync: zlib.brotliDecompressSync,
  expand: promisify<Uint8Array, object, Buffer>(zlib.brotliDecompress),
  // The default quality of 11 takes a hundred times as long for a few percent.
  level: { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } },
});

/** zstd, where this Node has it. */
function zstdCodec(): Codec | undefined {
  // The types are those of the oldest Node that is supported, which does not have it.
  const { zstdCompressSync, zstdDecompressSync, zstdCompress, zstdDecompress } = zlib as ZstdFunctions;
  if (!zstdCompressSync || !zstdDecompressSync || !zstdCompress || !zstdDecompress) return undefined;
  return codecOf({
    id: 3,
    compressSync: zstdCompressSync,
    compress: promisify<Uint8Array, object, Buffer>(zstdCompress),
    expandSync: zstdDecompressSync,
    expand: promisify<Uint8Array, object, Buffer>(zstdDecompress),
    level: {},
  });
}

type Callback = (
  bytes: Uint8Array,
  options: object,
  done: (error: Error | null, result: Buffer) => void,
) => void;

interface ZstdFunctions {
  readonly zstdCompressSync?: Sync;
  readonly zstdDecompressSync?: Sync;
  readonly zstdCompress?: Callback;
  readonly zstdDecompress?: Callback;
}

const CODECS: Readonly<Record<CompressionAlgorithm, Codec | undefined>> = { gzip, brotli, zstd: zstdCodec() };

/** @throws InvalidOptionError when the algorithm is not known, or not known to this Node */
export function resolveCompression(option: CompressionOption = 'none'): Compression {
  if (option === 'none') return { codec: undefined, threshold: Infinity };
  const isObject = typeof option === 'object' && option !== null;
  const algorithm = isObject ? option.algorithm : option;
  const threshold = (isObject ? option.threshold : undefined) ?? DEFAULT_THRESHOLD;
  if (typeof algorithm !== 'string' || !Object.hasOwn(CODECS, algorithm))
    throw new InvalidOptionError('compression', "must be 'none', 'gzip', 'brotli' or 'zstd'");
  if (!Number.isSafeInteger(threshold) || threshold < 0)
    throw new InvalidOptionError('compression.threshold', 'must be a whole number of bytes');
  const codec = CODECS[algorithm];
  if (codec === undefined)
    throw new InvalidOptionError('compression', `is ${algorithm}, which this version of Node does not have`);
  return { codec, threshold };
}

/** The codec a stored value names, if this Node has it. */
export function codecById(id: number): Codec | undefined {
  return Object.values(CODECS).find((codec) => codec?.id === id);
}

/** The compressed bytes, or undefined when it is not worth it. */
export function compress(
  { codec, threshold }: Compression,
  bytes: Uint8Array,
): Promise<Buffer | undefined> | Buffer | undefined {
  if (codec === undefined || bytes.length < threshold) return undefined;
  const worth = (made: Buffer): Buffer | undefined =>
    made.length <= bytes.length * WORTH_IT ? padded(made, bytes.length) : undefined;
  if (bytes.length <= SYNC_UP_TO) return worth(codec.compressSync(bytes));
  return codec.compress(bytes).then(worth);
}

// Behind the padding stands how long it is.
function padded(made: Buffer, length: number): Buffer {
  const padding = Math.max(0, Math.ceil(length / MAX_EXPANSION) - made.length);
  const tail = Buffer.alloc(padding + 4);
  tail.writeUInt32BE(padding, padding);
  return Buffer.concat([made, tail]);
}

/** The original bytes, `length` of them. Throws or rejects for anything else. */
export function expand(codec: Codec, bytes: Buffer, length: number): Promise<Buffer> | Buffer {
  if (length > bytes.length * MAX_EXPANSION) throw new RangeError('would expand too much');
  const end = bytes.length - 4;
  const made = bytes.subarray(0, end - bytes.readUInt32BE(end));
  return length <= SYNC_UP_TO ? codec.expandSync(made, length) : codec.expand(made, length);
}
