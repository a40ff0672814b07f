import type { Position } from '../errors.ts';

const HEADER = /^\s*\[\[?([^\]]+)\]\]?\s*(?:#.*)?$/;
const ASSIGNMENT = /^\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=/;

/**
 * Where the value at `path` is assigned in a TOML text that parses: exact for keys and tables, the nearest key above for
 * what lies inside an inline value.
 */
export function locateInToml(text: string, path: readonly string[]): Position | undefined {
  const counts = new Map<string, number>();
  let table: string[] = [];
  let best: { length: number; position: Position } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const header = HEADER.exec(line)?.[1];
    if (header !== undefined) table = tablePath(header, line.includes('[['), counts);
    const key = header === undefined ? ASSIGNMENT.exec(line)?.[1] : undefined;
    if (header === undefined && key === undefined) continue;
    const at = key === undefined ? table : [...table, ...splitKey(key)];
    // A dotted key may say more than the path: then the path itself stands on this line too.
    const length = Math.min(at.length, path.length);
    const matches = path.slice(0, length).every((part, depth) => part === at[depth]);
    if (matches && length > (best?.length ?? 0)) {
      best = { length, position: { line: index + 1, column: line.search(/\S/) + 1 } };
    }
  }
  return best?.position;
}

function tablePath(header: string, list: boolean, counts: Map<string, number>): string[] {
  const parts = splitKey(header);
  const key = parts.join('\0');
  if (!list) return parts;
  const index = (counts.get(key) ?? -1) + 1;
  counts.set(key, index);
  return [...parts, String(index)];
}

function splitKey(key: string): string[] {
  return [...key.matchAll(/"([^"]*)"|'([^']*)'|([\w-]+)/g)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  );
}
