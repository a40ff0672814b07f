import { ByteReader, ByteWriter } from './bytes.ts';

/** What a slot of the grid holds. */
export const SLOT = { MISSING: 0, VALUE: 1, STALE: 2 } as const;

/** A stretch of one series on the grid of its tier. */
export interface Chunk {
  /** One of {@link SLOT} for each slot. */
  readonly flags: ArrayLike<number>;
  /** A counter's resets so far: what has to be added to its values to make it monotonic. */
  readonly base: number;
  /** Values of the slots that hold one: the last alone, or last, min, max, sum and count of longer windows. */
  readonly columns: readonly ArrayLike<number>[];
}

const MODE = { CONSTANT: 0, DELTA: 1, DELTA_OF_DELTA: 2, RAW: 3 } as const;
const POWERS = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
// Differences of differences quadruple, and a varint holds 2^53.
const LARGEST = 2 ** 50;

/**
 * Encodes a chunk. Timestamps need no space, since slots are on a grid. A column whose values are all whole numbers after
 * scaling by one power of ten is kept as varints of differences, or of their differences, whichever is shorter; a constant
 * as one number; anything else as raw floats. Decoding gives exactly the same numbers.
 */
export function encodeChunk(chunk: Chunk): Buffer {
  const writer = new ByteWriter();
  writer.varint(chunk.flags.length);
  writer.byte(chunk.columns.length | (chunk.base === 0 ? 0 : 128));
  if (chunk.base !== 0) writer.float(chunk.base);
  encodeFlags(writer, chunk.flags);
  for (const column of chunk.columns) encodeColumn(writer, column);
  return writer.finish();
}

/** The inverse of {@link encodeChunk}. */
export function decodeChunk(bytes: Uint8Array): Chunk {
  const reader = new ByteReader(bytes);
  const slots = reader.varint();
  const head = reader.byte();
  const base = (head & 128) === 0 ? 0 : reader.float();
  const flags = decodeFlags(reader, slots);
  let values = 0;
  for (const flag of flags) if (flag === SLOT.VALUE) values += 1;
  const columns = Array.from({ length: head & 127 }, () => decodeColumn(reader, values));
  return { flags, base, columns };
}

function encodeFlags(writer: ByteWriter, flags: ArrayLike<number>): void {
  const runs: [flag: number, length: number][] = [];
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i] ?? 0;
    const last = runs.at(-1);
    if (last?.[0] === flag) last[1] += 1;
    else runs.push([flag, 1]);
  }
  writer.varint(runs.length);
  for (const [flag, length] of runs) writer.varint(length * 4 + flag);
}

function decodeFlags(reader: ByteReader, slots: number): Uint8Array {
  const flags = new Uint8Array(slots);
  let position = 0;
  for (let runs = reader.varint(); runs > 0; runs--) {
    const run = reader.varint();
    flags.fill(run % 4, position, (position += Math.floor(run / 4)));
  }
  return flags;
}

function encodeColumn(writer: ByteWriter, values: ArrayLike<number>): void {
  const scale = scaleOf(values);
  if (scale < 0) {
    writer.byte(MODE.RAW);
    for (let i = 0; i < values.length; i++) writer.float(values[i] ?? NaN);
    return;
  }
  const power = POWERS[scale] ?? 1;
  const whole = Array.from(values, (value) => Math.round(value * power));
  const first = whole[0] ?? 0;
  if (whole.every((value) => value === first)) {
    writer.byte(MODE.CONSTANT | (scale << 2));
    writer.signed(first);
    return;
  }
  const delta = differences(whole, MODE.DELTA);
  const second = differences(whole, MODE.DELTA_OF_DELTA);
  const shorter = second.length < delta.length;
  writer.byte((shorter ? MODE.DELTA_OF_DELTA : MODE.DELTA) | (scale << 2));
  writer.bytes(shorter ? second.finish() : delta.finish());
}

function differences(whole: readonly number[], mode: number): ByteWriter {
  const writer = new ByteWriter();
  let previous = 0;
  let slope = 0;
  for (const value of whole) {
    const difference = value - previous;
    writer.signed(mode === MODE.DELTA ? difference : difference - slope);
    slope = difference;
    previous = value;
  }
  return writer;
}

function decodeColumn(reader: ByteReader, count: number): Float64Array {
  const values = new Float64Array(count);
  const head = reader.byte();
  const mode = head & 3;
  const power = POWERS[head >> 2] ?? 1;
  if (mode === MODE.RAW) for (let i = 0; i < count; i++) values[i] = reader.float();
  else if (mode === MODE.CONSTANT) values.fill(reader.signed() / power);
  else undoDifferences(reader, values, mode, power);
  return values;
}

function undoDifferences(reader: ByteReader, values: Float64Array, mode: number, power: number): void {
  let whole = 0;
  let slope = 0;
  for (let i = 0; i < values.length; i++) {
    const read = reader.signed();
    slope = mode === MODE.DELTA ? read : slope + read;
    whole += slope;
    values[i] = whole / power;
  }
}

/** The smallest power of ten that makes every value whole and exactly recoverable, or -1. */
function scaleOf(values: ArrayLike<number>): number {
  let scale = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? NaN;
    while (!fits(value, POWERS[scale] ?? 1)) {
      scale += 1;
      if (scale >= POWERS.length) return -1;
    }
  }
  // A larger scale found late has to hold for the earlier values too.
  const power = POWERS[scale] ?? 1;
  for (let i = 0; i < values.length; i++) if (!fits(values[i] ?? NaN, power)) return -1;
  return scale;
}

function fits(value: number, power: number): boolean {
  const whole = Math.round(value * power);
  // Minus zero is equal to zero, but would not come back as itself.
  return Math.abs(whole) < LARGEST && whole / power === value && !Object.is(value, -0);
}
