/** A mapping of configuration. */
export interface PlainObject {
  [key: string]: PlainValue;
}

/** What a configuration is made of, whichever format it came from. */
export type PlainValue = string | number | boolean | null | PlainValue[] | PlainObject;

/** Keys that reach into prototypes wherever a naive merge meets them. They are refused, never dropped in silence. */
export function isUnsafeKey(key: string): boolean {
  return key === '__proto__' || key === 'prototype' || key === 'constructor';
}

/** Whether `value` is a mapping: an object literal, or one without a prototype. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const proto: unknown = Object.getPrototypeOf(value);
  return proto === Object.prototype || proto === null;
}

/** The limits of one document. */
export const MAX_DEPTH = 64;
const MAX_NODES = 100_000;

/** Why a value cannot be configuration, and where in it. */
export class PlainValueProblem extends Error {
  readonly path: readonly string[];

  constructor(path: readonly string[], problem: string) {
    super(problem);
    this.path = path;
  }
}

/**
 * Copies `value` into plain data that shares nothing with it. Counting the nodes of the copy is what keeps a small
 * document of nested aliases from unfolding into gigabytes.
 *
 * @throws PlainValueProblem for a cycle, an unsafe key, a number that is not exact, or anything that is not data
 */
export function toPlain(value: unknown): PlainValue {
  return new Copier().copy(value, []);
}

/** As {@link toPlain}, for a whole document, which must be a mapping with something in it. */
export function toPlainDocument(value: unknown): PlainObject {
  if (!isPlainObject(value))
    throw new PlainValueProblem([], `the root must be a mapping, not ${nameOf(value)}`);
  const copy = toPlain(value);
  if (!isPlainObject(copy)) throw new PlainValueProblem([], 'the root must be a mapping');
  return copy;
}

class Copier {
  #nodes = 0;

  copy(value: unknown, path: readonly string[]): PlainValue {
    this.#nodes += 1;
    if (this.#nodes > MAX_NODES) throw new PlainValueProblem(path, `more than ${MAX_NODES} values`);
    if (path.length > MAX_DEPTH) throw new PlainValueProblem(path, `nested deeper than ${MAX_DEPTH} levels`);
    if (value === null || typeof value === 'boolean') return value;
    if (typeof value === 'string') return checkText(value, path);
    if (typeof value === 'number') return checkNumber(value, path);
    if (typeof value === 'bigint') return checkNumber(Number(value), path);
    if (value instanceof Date) return dateText(value, path);
    if (Array.isArray(value)) return value.map((item, index) => this.copy(item, [...path, String(index)]));
    if (isPlainObject(value)) return this.#copyObject(value, path);
    throw new PlainValueProblem(path, `${nameOf(value)} is not configuration`);
  }

  #copyObject(value: Record<string, unknown>, path: readonly string[]): PlainObject {
    const copy: PlainObject = {};
    for (const [key, item] of Object.entries(value)) {
      const at = [...path, key];
      if (isUnsafeKey(key)) throw new PlainValueProblem(at, `the key "${key}" is not allowed`);
      if (item !== undefined) copy[checkText(key, at)] = this.copy(item, at);
    }
    return copy;
  }
}

function checkText(value: string, path: readonly string[]): string {
  if (value.includes('\0')) throw new PlainValueProblem(path, 'text with a NUL character');
  // Half a character becomes another one on its way through UTF-8, and so on every other process.
  if (/\p{Surrogate}/u.test(value)) throw new PlainValueProblem(path, 'text with half a surrogate pair');
  return value;
}

function checkNumber(value: number, path: readonly string[]): number {
  if (!Number.isFinite(value)) throw new PlainValueProblem(path, 'a number that is not finite');
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new PlainValueProblem(path, 'an integer too large to be exact; write it as a string');
  }
  return value;
}

function dateText(value: Date, path: readonly string[]): string {
  if (Number.isNaN(value.getTime())) throw new PlainValueProblem(path, 'a date that does not exist');
  return value.toISOString();
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value !== 'object') return `a ${typeof value}`;
  const name: unknown = value.constructor?.name;
  return typeof name === 'string' && name !== '' ? `a ${name}` : 'an object';
}
