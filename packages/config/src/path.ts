import { InvalidOptionError } from '@xiaoke/core';
import { isUnsafeKey } from './plain-value.ts';

/** A path as text (`a.b[0]`, a dot in a key as `\.`) or as its parts. */
export type PathInput = string | readonly (string | number)[];

const MAX_PARTS = 64;
const MAX_LENGTH = 1_024;

/**
 * The parts of a path: `a.b[0]` and `a.b.0` are the same.
 *
 * @throws {@link InvalidOptionError} for an empty path or part, or one that reaches into prototypes
 */
export function parsePath(path: PathInput): string[] {
  const parts = typeof path === 'string' ? splitPath(path) : Array.isArray(path) ? path.map(String) : [];
  if (parts.length === 0) throw new InvalidOptionError('path', 'must name a value, such as "server.port"');
  if (parts.length > MAX_PARTS) throw new InvalidOptionError('path', `must have at most ${MAX_PARTS} parts`);
  for (const part of parts) {
    if (part === '') throw new InvalidOptionError('path', 'must not have an empty part');
    if (part.includes('\0')) throw new InvalidOptionError('path', 'must not hold a NUL character');
    if (isUnsafeKey(part)) throw new InvalidOptionError('path', `must not use the key "${part}"`);
  }
  return parts;
}

function splitPath(path: string): string[] {
  if (path === '' || path.length > MAX_LENGTH) return [];
  if (!/[\\[]/.test(path)) return path.split('.');
  const parts: string[] = [];
  let part = '';
  for (let at = 0; at < path.length; at += 1) {
    const character = path.charAt(at);
    const index = character === '[' ? /^\[(\d+)\]/.exec(path.slice(at)) : null;
    if (character === '\\') {
      at += 1;
      part += path.charAt(at);
    } else if (index !== null) {
      if (part !== '') parts.push(part);
      parts.push(index[1] ?? '');
      at += index[0].length - 1;
      // "a[0].b": the dot after a bracket separates nothing new.
      if (path.charAt(at + 1) === '.') at += 1;
      part = '';
      if (at + 1 >= path.length) return parts;
    } else if (character === '.') {
      parts.push(part);
      part = '';
    } else part += character;
  }
  if (part !== '' || path.endsWith('.')) parts.push(part);
  return parts;
}

/** The one text form of a path: parts joined by dots, dots and backslashes in keys escaped. */
export function formatPath(parts: readonly (string | number)[]): string {
  return parts.map(formatPart).join('.');
}

function formatPart(part: string | number): string {
  const text = String(part);
  // Almost no key needs it, and every path is formed for every snapshot.
  return /[\\.[]/.test(text) ? text.replaceAll(/[\\.[]/g, String.raw`\$&`) : text;
}

/** The value at `parts`, looking at own properties only; `undefined` when there is none. */
export function valueAt(root: unknown, parts: readonly string[]): unknown {
  let value = root;
  for (const part of parts) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    if (Array.isArray(value) && !/^\d+$/.test(part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** Whether `path` is `ancestor` or lies under it. */
export function isWithin(path: readonly string[], ancestor: readonly string[]): boolean {
  return ancestor.length <= path.length && ancestor.every((part, index) => part === path[index]);
}
