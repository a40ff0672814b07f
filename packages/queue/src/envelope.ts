import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import type { Backoff } from './backoff.ts';
import type { GroupRule, ParentLink, PriorityIndex, TaskLinks, UniqueRule } from './backend.ts';
import { QueueError } from './errors.ts';
import { BUILT_IN, type ResolvedTaskOptions } from './task-options.ts';

/** How payloads and results are made smaller. */
export interface Compression {
  readonly algorithm: 'gzip' | 'brotli';
  /** Texts of fewer characters are left as they are. */
  readonly threshold: number;
}

/** What an envelope says beside the options of its task. */
export interface EnvelopeExtras {
  readonly parent?: ParentLink | undefined;
  readonly children?: readonly string[] | undefined;
  readonly traceparent?: string | undefined;
  readonly schedule?: string | undefined;
  /** Tells two calls with the same id apart, which else could be taken for one that was sent again. */
  readonly call?: string | undefined;
}

/** A task as it was enqueued. */
export interface Envelope extends Omit<EnvelopeExtras, 'call'> {
  readonly name: string;
  readonly queue: string;
  readonly priority: PriorityIndex;
  readonly enqueuedAt: number;
  readonly attempts: number;
  readonly backoff: Backoff;
  readonly timeoutMs: number | undefined;
  readonly ttlMs: number | undefined;
  readonly keepMs: number;
  readonly unique: UniqueRule | undefined;
  readonly group: GroupRule | undefined;
  readonly payload: unknown;
  /** Why the payload cannot be read: another version of this package wrote it. */
  readonly unreadable?: QueueError | undefined;
}

// Only what differs from the built-in defaults is written: it is stored once per task.
interface Delta {
  q?: string;
  p?: PriorityIndex;
  a?: number;
  b?: Backoff;
  t?: number;
  x?: number;
  k?: number;
  u?: UniqueRule;
  g?: GroupRule;
  f?: ParentLink;
  c?: readonly string[];
  w?: string;
  s?: string;
  n?: string;
  /** How the payload is compressed. */
  z?: Compression['algorithm'];
}

// Another version may write payloads in another way. All before the payload keeps its meaning, in Lua too, so that a task of
// another version can be found, cancelled, purged, and let its group and its unique key go.
const VERSION = 1;

/** Writes the text a backend keeps: `[version, name, enqueuedAt, delta or 0, payload]`. */
export function encodeEnvelope(
  name: string,
  payload: string,
  options: ResolvedTaskOptions,
  more: {
    readonly now: number;
    readonly extras?: EnvelopeExtras | undefined;
    readonly compression?: Compression | undefined;
  },
): string {
  const { now, extras, compression } = more;
  const delta: Delta = {};
  addOptions(delta, options);
  if (extras !== undefined) addExtras(delta, extras);
  let body = payload;
  if (compression !== undefined && payload.length >= compression.threshold) {
    delta.z = compression.algorithm;
    body = JSON.stringify(compress(payload, compression.algorithm));
  }
  const tail = body === '' ? ']' : `,${body}]`;
  return `[${VERSION},${JSON.stringify(name)},${now},${isEmpty(delta) ? '0' : JSON.stringify(delta)}${tail}`;
}

/** Reads it back. A task of another version is `unreadable` and has no payload. */
export function decodeEnvelope(blob: string): Envelope {
  const parts = JSON.parse(blob) as [number, string, number, Delta | 0, unknown?];
  const delta = parts[3] === 0 ? {} : parts[3];
  const unreadable =
    parts[0] === VERSION
      ? undefined
      : new QueueError('PAYLOAD_INVALID', `The task has envelope version ${parts[0]}, not ${VERSION}`);
  return {
    name: parts[1],
    queue: delta.q ?? BUILT_IN.queue,
    priority: delta.p ?? BUILT_IN.priority,
    enqueuedAt: parts[2],
    attempts: delta.a ?? BUILT_IN.attempts,
    backoff: delta.b ?? BUILT_IN.backoff,
    timeoutMs: delta.t,
    ttlMs: delta.x,
    keepMs: delta.k ?? BUILT_IN.keepMs,
    unique: delta.u,
    group: delta.g,
    parent: delta.f,
    children: delta.c,
    traceparent: delta.w,
    schedule: delta.s,
    payload: unreadable === undefined ? readPayload(parts[4], delta.z) : undefined,
    unreadable,
  };
}

function readPayload(payload: unknown, algorithm: Compression['algorithm'] | undefined): unknown {
  return algorithm === undefined ? payload : JSON.parse(decompress(String(payload), algorithm));
}

/** What has to move with the end of this task; `undefined` for most. */
export function linksOf(envelope: Envelope): TaskLinks | undefined {
  const { unique, group, parent } = envelope;
  if (unique === undefined && group === undefined && parent === undefined) return undefined;
  return { unique: unique?.key, group, parent };
}

/**
 * JSON of a value that came from outside; an `undefined` payload is the empty text.
 *
 * @throws QueueError with `code` when it is no JSON, `PAYLOAD_TOO_LARGE` (or the same `code` for a result) when too long
 */
export function serialize(
  value: unknown,
  limit: number,
  code: 'PAYLOAD_NOT_SERIALIZABLE' | 'RESULT_NOT_SERIALIZABLE',
): string {
  const what = code === 'RESULT_NOT_SERIALIZABLE' ? 'result' : 'payload';
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new QueueError(code, `The ${what} cannot be written as JSON`, { cause: error });
  }
  if (text === undefined) {
    if (value === undefined) return '';
    throw new QueueError(code, `The ${what} is a ${typeof value}, which JSON cannot hold`);
  }
  // A character takes at most three bytes, so short texts need no counting.
  if (text.length * 3 > limit && Buffer.byteLength(text) > limit) {
    throw new QueueError(
      code === 'RESULT_NOT_SERIALIZABLE' ? code : 'PAYLOAD_TOO_LARGE',
      `The ${what} has ${Buffer.byteLength(text)} bytes; the limit is ${limit}`,
      { details: { bytes: Buffer.byteLength(text), limit } },
    );
  }
  return text;
}

function addOptions(delta: Delta, options: ResolvedTaskOptions): void {
  if (options === BUILT_IN) return;
  if (options.queue !== BUILT_IN.queue) delta.q = options.queue;
  if (options.priority !== BUILT_IN.priority) delta.p = options.priority;
  if (options.attempts !== BUILT_IN.attempts) delta.a = options.attempts;
  if (options.backoff !== BUILT_IN.backoff) delta.b = options.backoff;
  if (options.timeoutMs !== undefined) delta.t = options.timeoutMs;
  if (options.ttlMs !== undefined) delta.x = options.ttlMs;
  if (options.keepMs !== BUILT_IN.keepMs) delta.k = options.keepMs;
  if (options.unique !== undefined) delta.u = options.unique;
  if (options.group !== undefined) delta.g = options.group;
}

function addExtras(delta: Delta, extras: EnvelopeExtras): void {
  if (extras.parent !== undefined) delta.f = extras.parent;
  if (extras.children !== undefined) delta.c = extras.children;
  if (extras.traceparent !== undefined) delta.w = extras.traceparent;
  if (extras.schedule !== undefined) delta.s = extras.schedule;
  if (extras.call !== undefined) delta.n = extras.call;
}

function isEmpty(delta: Delta): boolean {
  for (const _key in delta) return false;
  return true;
}

function compress(text: string, algorithm: Compression['algorithm']): string {
  const bytes = algorithm === 'gzip' ? gzipSync(text) : brotliCompressSync(text);
  return bytes.toString('base64');
}

function decompress(text: string, algorithm: Compression['algorithm']): string {
  const bytes = Buffer.from(text, 'base64');
  return (algorithm === 'gzip' ? gunzipSync(bytes) : brotliDecompressSync(bytes)).toString();
}
