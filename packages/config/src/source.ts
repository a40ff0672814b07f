import type { Layer, LayerKind } from './layer.ts';

/** A source of your own, for {@link ConfigManager.addSource}. */
export interface ConfigSource {
  /** Shown by `explain` and in errors. */
  readonly name: string;
  /** Gives the whole document. A rejection leaves the last good one in force. */
  load(context: { readonly signal: AbortSignal }): Promise<Readonly<Record<string, unknown>>>;
  /** Calls `onChange` when it is worth loading again; gives the function that ends that. */
  watch?(onChange: () => void): (() => void) | Promise<() => void>;
}

/** Why a source has nothing newer than its last good document. */
export interface SourceProblem {
  readonly code: string;
  readonly message: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/** One place in the order of layers: what its source gave last, and what of it is in force. */
export interface SourceSlot {
  readonly kind: LayerKind;
  readonly name: string;
  /** The newest document that can be read. */
  latest: Layer | undefined;
  /** The one that is part of the configuration in force. */
  accepted: Layer | undefined;
  problem: SourceProblem | undefined;
  /** What whoever runs this should know, although nothing is wrong yet. */
  note?: string;
  /** When it last gave something readable, by the wall clock; 0 for never. */
  lastSuccess: number;
  /** Loads again, now. */
  reload?: () => Promise<void>;
  close?: () => Promise<void> | void;
}

/** Makes an empty slot. */
export function makeSlot(kind: LayerKind, name: string, layer?: Layer): SourceSlot {
  return { kind, name, latest: layer, accepted: undefined, problem: undefined, lastSuccess: 0 };
}
