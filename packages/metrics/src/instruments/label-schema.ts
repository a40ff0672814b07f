import { InvalidOptionError, type LabelDefinitions } from '@xiaoke/core';
import { checkLabelName } from '../names.ts';

/** Label values by name, as callers give them. */
export type LabelRecord = Readonly<Record<string, unknown>>;

/** The label that stands for every label set beyond the limit. */
export const OVERFLOW = '__overflow__';

/** The labels of one metric: their names in order, and which values each allows. */
export class LabelSchema {
  readonly names: readonly string[];
  /** Parallel to `names`: the closed set, or `undefined` where any value goes. */
  readonly closed: readonly (ReadonlySet<string> | undefined)[];

  constructor(definitions: LabelDefinitions | undefined, reserved: readonly string[] = []) {
    const entries = Object.entries(definitions ?? {});
    for (const [name, values] of entries) {
      checkLabelName(name, `labels.${name}`, reserved);
      const closed = Array.isArray(values) && values.length > 0 && values.every((v) => typeof v === 'string');
      if (values !== String && !closed) {
        throw new InvalidOptionError(
          `labels.${name}`,
          'must be String or a non-empty list of the values allowed',
        );
      }
    }
    this.names = entries.map(([name]) => name);
    this.closed = entries.map(([, values]) => (Array.isArray(values) ? new Set<string>(values) : undefined));
  }

  /** Every series in canonical order of label values, or what is wrong with `labels`. */
  normalise(labels: LabelRecord): readonly string[] | { readonly problem: string } {
    if (typeof labels !== 'object' || labels === null) return { problem: 'labels must be an object' };
    const values: string[] = [];
    for (const [i, name] of this.names.entries()) {
      const value = Object.hasOwn(labels, name) ? labels[name] : undefined;
      if (value === undefined || value === null) return { problem: `label "${name}" is missing` };
      const text = labelText(value);
      if (text === undefined) return { problem: `label "${name}" is no text` };
      if (this.closed[i]?.has(text) === false)
        return { problem: `label "${name}" has a value outside its set` };
      values.push(text);
    }
    const extra = Object.keys(labels).find((name) => !this.names.includes(name));
    return extra === undefined ? values : { problem: `label "${extra}" is not defined` };
  }

  /** How many label sets there are when only closed labels vary. */
  get combinations(): number {
    return this.closed.reduce((product, set) => product * (set?.size ?? 1), 1);
  }

  get fullyClosed(): boolean {
    return this.closed.every((set) => set !== undefined);
  }

  /** All label sets that share the open values of `values`. */
  siblings(values: readonly string[]): readonly (readonly string[])[] {
    let sets: string[][] = [[]];
    for (const [i, closed] of this.closed.entries()) {
      const options = closed === undefined ? [values[i] ?? ''] : [...closed];
      sets = sets.flatMap((set) => options.map((option) => [...set, option]));
    }
    return sets;
  }

  /** What differs from `other`, in words, or nothing. */
  differs(other: LabelSchema): string | undefined {
    const text = (schema: LabelSchema): string =>
      JSON.stringify(
        schema.names
          .map((name, i) => [name, schema.closed[i] === undefined ? null : [...schema.closed[i]].sort()])
          .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
      );
    return text(this) === text(other) ? undefined : 'set of labels';
  }
}

function labelText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}
