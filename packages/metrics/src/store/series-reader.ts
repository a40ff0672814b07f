import { decodeChunk, SLOT, type Chunk } from './chunk-codec.ts';
import type { ChunkStorage } from './chunk-storage.ts';
import type { SeriesData } from './promql/values.ts';
import type { SealedChunk, StoredSeries, TierData } from './stored-series.ts';

/** A chunk of a tier, decoded or open. */
interface Piece {
  readonly start: number;
  readonly chunk: Chunk;
}

interface Output {
  readonly timestamps: number[];
  readonly values: number[];
  readonly stale: number[];
  readonly windows: {
    readonly min: number[];
    readonly max: number[];
    readonly sum: number[];
    readonly count: number[];
  };
}

/**
 * Reads a series between two instants, each stretch from the finest tier that still has it. A sample of a coarse tier
 * stands at the last fine slot of its window. Where coarse samples take part, a counter's resets are taken out of the fine
 * ones as well, so that no step shows where the tiers meet.
 */
export async function readSeries(
  series: StoredSeries,
  storage: ChunkStorage,
  from: number,
  to: number,
): Promise<SeriesData> {
  const parts = await partsOf(series, storage, from, to);
  const [finest] = series.tiers;
  const out: Output = {
    timestamps: [],
    values: [],
    stale: [],
    windows: { min: [], max: [], sum: [], count: [] },
  };
  let coarse = false;
  for (const { data, pieces, until: end } of parts.reverse()) {
    const { step } = data.tier;
    const place = { step, shift: step - (finest?.tier.step ?? step), from, to: end };
    if (data === finest) coarse = out.timestamps.length > 0;
    const adjust = coarse && data === finest && series.kind === 'counter';
    for (const piece of pieces) copyPiece(out, piece, place, adjust);
  }
  // Without fine samples at all, what there is is coarse.
  const windows = series.kind === 'gauge' && (coarse || parts.at(-1)?.pieces.length === 0);
  return { labels: series.labels, ...out, windows: windows ? out.windows : undefined };
}

interface Part {
  readonly data: TierData;
  readonly pieces: readonly Piece[];
  readonly until: number;
}

/** What each tier has, from fine to coarse, until the finer one begins. */
async function partsOf(
  series: StoredSeries,
  storage: ChunkStorage,
  from: number,
  to: number,
): Promise<Part[]> {
  const parts: Part[] = [];
  let until = to;
  for (const data of series.tiers) {
    const pieces = await piecesOf(data, storage, from, until);
    parts.push({ data, pieces, until });
    const first = pieces[0] === undefined ? oldest(data) : pieces[0].start * data.tier.step;
    if (first !== undefined) until = Math.min(until, first - 1);
    if (until < from) break;
  }
  return parts;
}

/** The first instant that a tier knows of. */
function oldest({ sealed, head, tier }: TierData): number | undefined {
  const start = sealed[0]?.start ?? head?.start;
  return start === undefined ? undefined : start * tier.step;
}

async function piecesOf(
  { sealed, head, tier }: TierData,
  storage: ChunkStorage,
  from: number,
  to: number,
): Promise<readonly Piece[]> {
  const overlaps = (start: number, slots: number): boolean =>
    start * tier.step <= to && (start + slots) * tier.step > from;
  const wanted = sealed.filter(({ start, slots }) => overlaps(start, slots));
  const payloads = await payloadsOf(wanted, storage);
  const pieces: Piece[] = [];
  for (const [i, { start }] of wanted.entries()) {
    const payload = payloads[i];
    if (payload !== undefined) pieces.push({ start, chunk: decodeChunk(payload) });
  }
  if (head !== undefined && overlaps(head.start, head.flags.length))
    pieces.push({ start: head.start, chunk: head });
  return pieces;
}

async function payloadsOf(
  chunks: readonly SealedChunk[],
  storage: ChunkStorage,
): Promise<readonly (Uint8Array | undefined)[]> {
  const kept = chunks.filter(({ payload }) => payload === undefined);
  if (kept.length === 0) return chunks.map(({ payload }) => payload);
  const handles = kept.map(({ handle }) => handle).filter((handle) => handle !== undefined);
  const read = await storage.read(handles);
  const found = new Map(handles.map((handle, i) => [handle, read[i]]));
  return chunks.map(({ payload, handle }) => payload ?? (handle && found.get(handle)));
}

function copyPiece(
  out: Output,
  { start, chunk }: Piece,
  place: { readonly step: number; readonly shift: number; readonly from: number; readonly to: number },
  adjust: boolean,
): void {
  const values = adjust ? withoutResets(chunk) : (chunk.columns[0] ?? []);
  let next = 0;
  for (let slot = 0; slot < chunk.flags.length; slot++) {
    const flag = chunk.flags[slot];
    if (flag === SLOT.MISSING) continue;
    const i = flag === SLOT.VALUE ? next++ : -1;
    const time = (start + slot) * place.step + place.shift;
    // Chunks from before and after a restart may share a slot; the earlier one wins.
    const late = time > (out.timestamps.at(-1) ?? -Infinity);
    if (late && time >= place.from && time <= place.to)
      copySlot(out, time, i < 0 ? undefined : i, [values, chunk]);
  }
}

function copySlot(
  out: Output,
  time: number,
  i: number | undefined,
  [values, { columns }]: readonly [ArrayLike<number>, Chunk],
): void {
  const value = i === undefined ? NaN : (values[i] ?? NaN);
  const column = (at: number, otherwise: number): number =>
    i === undefined || columns[at] === undefined ? otherwise : (columns[at][i] ?? NaN);
  out.timestamps.push(time);
  out.values.push(value);
  out.stale.push(i === undefined ? 1 : 0);
  out.windows.min.push(column(1, value));
  out.windows.max.push(column(2, value));
  out.windows.sum.push(column(3, value));
  out.windows.count.push(column(4, 1));
}

function withoutResets({ base, columns }: Chunk): readonly number[] {
  let resets = base;
  let previous = -Infinity;
  return Array.from(columns[0] ?? [], (value) => {
    if (value < previous) resets += previous;
    previous = value;
    return value + resets;
  });
}
