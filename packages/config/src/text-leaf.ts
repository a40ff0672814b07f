import type { Layer } from './layer.ts';

/** A string that is not final yet: it may hold `${...}`, or it is text that the schema wants as another type. */
export class TextLeaf {
  readonly text: string;
  readonly layer: Layer;
  /** Whether `${...}` in it is expanded. */
  readonly template: boolean;
  /** Whether it is coerced as a whole; a template is, when it is nothing but one `${...}`. */
  readonly coerced: boolean;
  /** What put it there, where that is more than the layer's name. */
  readonly by: string | undefined;
  readonly line: number | undefined;
  /** The value of the layer below, whose type is a hint where no schema tells. */
  below: unknown;

  constructor(
    text: string,
    layer: Layer,
    kind: { readonly template: boolean; readonly coerced: boolean },
    origin: { readonly by?: string | undefined; readonly line?: number | undefined } = {},
  ) {
    this.text = text;
    this.layer = layer;
    this.template = kind.template;
    this.coerced = kind.coerced;
    this.by = origin.by;
    this.line = origin.line;
  }
}

/** A configuration in the making. */
export type Draft = string | number | boolean | null | TextLeaf | Draft[] | DraftObject;

/** A mapping in the making. */
export interface DraftObject {
  [key: string]: Draft;
}

/** Whether a draft is a mapping. */
export function isDraftObject(value: Draft | undefined): value is DraftObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof TextLeaf);
}
