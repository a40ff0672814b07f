import { encodeChunk } from './chunk-codec.ts';
import type { ChunkHandle, NewChunk, SeriesKind } from './chunk-storage.ts';
import { OpenChunk, WindowStats } from './open-chunk.ts';
import type { ResolvedTier } from './options.ts';
import type { Labels } from './promql/values.ts';

/** A sealed chunk as the store knows it: still in memory until it is kept. */
export interface SealedChunk {
  readonly start: number;
  readonly slots: number;
  /** In memory until it is kept, and of the newest chunk for longer: most questions are about the last minutes. */
  payload: Uint8Array | undefined;
  handle: ChunkHandle | undefined;
  newest?: boolean;
}

/** One series in one tier. */
export interface TierData {
  readonly tier: ResolvedTier;
  sealed: SealedChunk[];
  head: OpenChunk | undefined;
  window: WindowStats | undefined;
}

/** What the open chunks of a series take when they are full, and its newest sealed one. */
export function mostOpenBytes(kind: SeriesKind, tiers: readonly ResolvedTier[]): number {
  const slots = tiers.map(({ chunkSlots }, i) => chunkSlots * (i === 0 || kind === 'counter' ? 1 : 5));
  return 8 * (slots.reduce((sum, count) => sum + count, 0) + (tiers[0]?.chunkSlots ?? 0));
}

/** One series of the store. */
export class StoredSeries {
  readonly labels: Labels;
  readonly key: string;
  readonly kind: SeriesKind;
  readonly tiers: readonly TierData[];
  #lastSlot = -Infinity;
  #lastValue = -Infinity;
  #resets = 0;
  #ended = true;

  constructor(labels: Labels, key: string, kind: SeriesKind, tiers: readonly ResolvedTier[]) {
    this.labels = labels;
    this.key = key;
    this.kind = kind;
    this.tiers = tiers.map((tier) => ({ tier, sealed: [], head: undefined, window: undefined }));
  }

  /** Adds the value of a slot of the finest tier; `false` when the slot is not after the last one. */
  append(slot: number, value: number, seal: (chunk: SealedChunk, address: NewChunk) => void): boolean {
    if (slot <= this.#lastSlot) return false;
    const counter = this.kind === 'counter';
    if (counter && value < this.#lastValue) this.#resets += this.#lastValue;
    this.#lastSlot = slot;
    this.#lastValue = counter ? value : -Infinity;
    this.#ended = false;
    this.#write(slot, value, seal);
    return true;
  }

  /** Marks the series as ended; once. */
  end(slot: number, seal: (chunk: SealedChunk, address: NewChunk) => void): void {
    if (this.#ended || slot <= this.#lastSlot) return;
    this.#lastSlot = slot;
    this.#ended = true;
    this.#write(slot, undefined, seal);
  }

  /** Bytes that are held open, and of the newest chunk when it is kept already. */
  get openBytes(): number {
    let bytes = 0;
    for (const { head } of this.tiers) for (const column of head?.columns ?? []) bytes += 8 * column.length;
    const newest = this.tiers[0]?.sealed.at(-1);
    return newest?.handle === undefined ? bytes : bytes + (newest.payload?.length ?? 0);
  }

  /** Lets go of what its tier keeps no longer or its storage dropped; `false` when nothing is left. */
  forget(now: number): boolean {
    let left = false;
    for (const data of this.tiers) {
      const { step, keep } = data.tier;
      const recent = (start: number, slots: number): boolean => (start + slots) * step > now - keep;
      data.sealed = data.sealed.filter(({ start, slots, payload, handle }) => {
        const held = handle === undefined ? payload !== undefined : !handle.dropped;
        return held && recent(start, slots);
      });
      if (data.head !== undefined && !recent(data.head.start, data.head.flags.length)) data.head = undefined;
      left ||= data.sealed.length > 0 || data.head !== undefined;
    }
    return left;
  }

  /** Everything that is not sealed, as chunks. */
  heads(): readonly NewChunk[] {
    return this.tiers.flatMap(({ tier, head }) => (head === undefined ? [] : [this.#address(tier, head)]));
  }

  /** Seals everything, also what is not full. */
  sealAll(seal: (chunk: SealedChunk, address: NewChunk) => void): void {
    for (const [i, data] of this.tiers.entries()) {
      if (i > 0 && data.window !== undefined) this.#closeWindow(data, seal);
      this.#seal(data, seal);
    }
  }

  #write(
    slot: number,
    value: number | undefined,
    seal: (chunk: SealedChunk, address: NewChunk) => void,
  ): void {
    const [finest, ...coarser] = this.tiers;
    if (finest === undefined) return;
    this.#put(finest, slot, value === undefined ? undefined : [value], seal);
    for (const data of coarser) {
      const own = Math.floor((slot * finest.tier.step) / data.tier.step);
      if (data.window !== undefined && data.window.slot !== own) this.#closeWindow(data, seal);
      data.window ??= new WindowStats(own);
      if (value === undefined) data.window.stale = true;
      else data.window.add(this.kind === 'counter' ? value + this.#resets : value);
    }
  }

  #closeWindow(data: TierData, seal: (chunk: SealedChunk, address: NewChunk) => void): void {
    const { window } = data;
    if (window === undefined) return;
    this.#put(data, window.slot, window.columns(this.kind === 'gauge'), seal);
    data.window = undefined;
  }

  #put(
    data: TierData,
    slot: number,
    values: readonly number[] | undefined,
    seal: (chunk: SealedChunk, address: NewChunk) => void,
  ): void {
    if (data.head !== undefined && slot >= data.head.start + data.tier.chunkSlots) this.#seal(data, seal);
    const columns = data === this.tiers[0] || this.kind === 'counter' ? 1 : 5;
    // Coarser tiers hold values that are free of resets already.
    const base = data === this.tiers[0] ? this.#resets : 0;
    data.head ??= new OpenChunk(slot, base, columns);
    if (slot >= data.head.end) data.head.append(slot, values);
    if (data.head.flags.length >= data.tier.chunkSlots) this.#seal(data, seal);
  }

  #seal(data: TierData, seal: (chunk: SealedChunk, address: NewChunk) => void): void {
    const { head, tier } = data;
    if (head === undefined) return;
    const address = this.#address(tier, head);
    const chunk: SealedChunk = {
      start: head.start,
      slots: head.flags.length,
      payload: address.payload,
      handle: undefined,
    };
    if (data === this.tiers[0]) {
      const before = data.sealed.at(-1);
      if (before !== undefined) {
        before.newest = false;
        if (before.handle !== undefined) before.payload = undefined;
      }
      chunk.newest = true;
    }
    data.sealed.push(chunk);
    data.head = undefined;
    seal(chunk, address);
  }

  #address(tier: ResolvedTier, head: OpenChunk): NewChunk {
    const { labels, kind } = this;
    return {
      labels,
      kind,
      step: tier.step,
      start: head.start,
      slots: head.flags.length,
      payload: encodeChunk(head),
    };
  }
}
