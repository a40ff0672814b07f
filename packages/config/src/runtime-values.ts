import { createHash } from 'node:crypto';
import { InvalidOptionError } from '@xiaoke/core';
import type { Override } from './layer.ts';
import { formatPath, isWithin, parsePath, valueAt, type PathInput } from './path.ts';
import { PlainValueProblem, toPlain, type PlainValue } from './plain-value.ts';

const MAX_DOCUMENT = 1_048_576;

/** The last document that was read: one commit looks at the same several times. Values never change, so they may be shared. */
let parsed: { readonly document: string; readonly values: RuntimeValues } | undefined;

/**
 * The values set at run time: paths and what replaces them. No path lies within another, so their order does not
 * matter and equal values make equal documents.
 */
export class RuntimeValues {
  readonly #values: ReadonlyMap<string, { readonly parts: readonly string[]; readonly value: PlainValue }>;

  private constructor(
    values: ReadonlyMap<string, { readonly parts: readonly string[]; readonly value: PlainValue }>,
  ) {
    this.#values = values;
  }

  /** Nothing set. */
  static readonly empty: RuntimeValues = new RuntimeValues(new Map());

  /** Reads what {@link RuntimeValues.serialize} wrote. Throws when it is anything else. */
  static parse(document: string): RuntimeValues {
    const known = parsed?.document === document ? parsed.values : undefined;
    const values = known ?? RuntimeValues.#read(document);
    parsed = { document, values };
    return values;
  }

  static #read(document: string): RuntimeValues {
    const data: unknown = JSON.parse(document);
    const values: unknown = valueAt(data, ['values']);
    if (typeof values !== 'object' || values === null)
      throw new SyntaxError('not a document of run-time values');
    const entries = Object.entries(values).map(([path, value]) => {
      const parts = parsePath(path);
      return [path, { parts, value: toPlain(value) }] as const;
    });
    return new RuntimeValues(new Map(entries));
  }

  /** The paths that are set. */
  get paths(): readonly string[] {
    return [...this.#values.keys()].sort();
  }

  /** In the order of their paths, so that the keys of a snapshot stand in the same order in every process. */
  get overrides(): readonly Override[] {
    return this.paths.flatMap((path) => this.#values.get(path) ?? []);
  }

  /** The value set at or around `parts`; `undefined` when there is none. */
  at(parts: readonly string[]): PlainValue | undefined {
    for (const entry of this.#values.values()) {
      if (!isWithin(parts, entry.parts)) continue;
      return valueAt(entry.value, parts.slice(entry.parts.length)) as PlainValue | undefined;
    }
    return undefined;
  }

  /** With `value` in the place of whatever stands at `path`. */
  set(path: PathInput, value: unknown): RuntimeValues {
    const parts = parsePath(path);
    const plain = checkValue(value);
    const values = new Map(this.#values);
    for (const [key, entry] of this.#values) {
      if (isWithin(parts, entry.parts) && parts.length > entry.parts.length) {
        const inner = setWithin(entry.value, parts.slice(entry.parts.length), plain);
        return new RuntimeValues(values.set(key, { parts: entry.parts, value: inner }));
      }
      if (isWithin(entry.parts, parts)) values.delete(key);
    }
    return new RuntimeValues(values.set(formatPath(parts), { parts, value: plain }));
  }

  /** Without what was set at `path` or under it: the layers below show again. */
  unset(path: PathInput): RuntimeValues {
    const parts = parsePath(path);
    const values = new Map(this.#values);
    for (const [key, entry] of this.#values) {
      if (isWithin(entry.parts, parts)) values.delete(key);
      else if (isWithin(parts, entry.parts)) {
        values.set(key, {
          parts: entry.parts,
          value: removeWithin(entry.value, parts.slice(entry.parts.length)),
        });
      }
    }
    return new RuntimeValues(values);
  }

  /** With everything that differs between `before` and `after` done to these values too. */
  apply(before: RuntimeValues, after: RuntimeValues): RuntimeValues {
    let result = new RuntimeValues(this.#values);
    for (const path of before.paths) if (!after.#values.has(path)) result = result.unset(path);
    for (const path of after.paths) {
      const next = after.#values.get(path)?.value ?? null;
      const old = before.#values.get(path)?.value;
      if (JSON.stringify(sortKeys(next)) !== JSON.stringify(old && sortKeys(old)))
        result = result.set(path, next);
    }
    return result;
  }

  /** The one text form: keys in order, so that equal values have equal digests. */
  serialize(): string {
    const values = Object.fromEntries(
      this.paths.map((path) => [path, sortKeys(this.#values.get(path)?.value ?? null)]),
    );
    const document = JSON.stringify({ format: 1, values });
    if (Buffer.byteLength(document) > MAX_DOCUMENT) {
      throw new InvalidOptionError(
        'value',
        `would make the run-time values larger than ${MAX_DOCUMENT} bytes`,
      );
    }
    return document;
  }
}

/** The digest by which two documents are known to be the same. */
export function digestOf(document: string): string {
  return createHash('sha256').update(document).digest('hex');
}

function checkValue(value: unknown): PlainValue {
  if (value === undefined) throw new InvalidOptionError('value', 'must not be undefined; use unset()');
  try {
    return toPlain(value);
  } catch (error) {
    if (!(error instanceof PlainValueProblem)) throw error;
    const where = error.path.length === 0 ? '' : ` (at "${formatPath(error.path)}")`;
    throw new InvalidOptionError('value', `holds ${error.message}${where}`);
  }
}

function setWithin(value: PlainValue, parts: readonly string[], next: PlainValue): PlainValue {
  const [part = '', ...rest] = parts;
  if (typeof value !== 'object' || value === null) {
    throw new InvalidOptionError('path', 'leads through a value that is no mapping');
  }
  const inner =
    rest.length === 0 ? next : setWithin((valueAt(value, [part]) as PlainValue) ?? {}, rest, next);
  if (!Array.isArray(value)) return { ...value, [part]: inner };
  const index = /^\d+$/.test(part) ? Number(part) : -1;
  if (index < 0 || index > value.length) throw new InvalidOptionError('path', 'names no index of the list');
  return index === value.length ? [...value, inner] : value.map((item, at) => (at === index ? inner : item));
}

function removeWithin(value: PlainValue, parts: readonly string[]): PlainValue {
  const [part = '', ...rest] = parts;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    if (rest.length === 0) return value.filter((_, index) => String(index) !== part);
    return value.map((item, index) => (String(index) === part ? removeWithin(item, rest) : item));
  }
  if (!Object.hasOwn(value, part)) return value;
  const { [part]: inner = null, ...others } = value;
  return rest.length === 0 ? others : { ...value, [part]: removeWithin(inner, rest) };
}

function sortKeys(value: PlainValue): PlainValue {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const keys = Object.keys(value).sort();
  return Object.fromEntries(keys.map((key) => [key, sortKeys(value[key] ?? null)]));
}
