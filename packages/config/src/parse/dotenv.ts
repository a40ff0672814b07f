import { ConfigParseError } from '../errors.ts';
import { isUnsafeKey } from '../plain-value.ts';
import { positionAt } from './position.ts';

/** One variable of a `.env` file. */
export interface DotenvEntry {
  readonly name: string;
  readonly value: string;
  readonly line: number;
  /** Whether `${...}` in it is expanded: not in single quotes. */
  readonly template: boolean;
}

const KEY = /(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*/y;
const SINGLE = /'([^']*)'/y;
const DOUBLE = /"((?:[^"\\]|\\[\s\S])*)"/y;
const BACKTICK = /`([^`]*)`/y;
const BARE = /[^\r\n]*/y;
const REST = /[ \t]*(?:#[^\n]*)?(?:\r?\n|$)/y;
const BLANK = /(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*(?:#[^\n]*$)?/y;

/**
 * Reads a `.env` file: `NAME=value`, an optional `export`, comments, values over several lines in quotes. A line that is
 * none of these is an error, since a file cut in half looks just like that.
 */
export function parseDotenv(text: string, source: string): DotenvEntry[] {
  const entries: DotenvEntry[] = [];
  const seen = new Set<string>();
  let at = skip(BLANK, text, 0);
  while (at < text.length) {
    const position = positionAt(text, at);
    const key = matchAt(KEY, text, at);
    if (key === undefined) throw new ConfigParseError(source, 'NAME=value was expected', position);
    const name = key[1] ?? '';
    checkName(name, seen, source, position);
    const value = readValue(text, at + key[0].length);
    const rest = value && matchAt(REST, text, value.end);
    if (value === undefined || rest === undefined) {
      throw new ConfigParseError(source, `the value of ${name} has no closing quote`, position);
    }
    entries.push({ name, value: value.value, line: position.line, template: value.template });
    at = skip(BLANK, text, value.end + rest[0].length);
  }
  return entries;
}

function checkName(
  name: string,
  seen: Set<string>,
  source: string,
  position: { line: number; column: number },
): void {
  if (name.split(/__|\./).some((part) => isUnsafeKey(part) || part === 'proto')) {
    throw new ConfigParseError(source, `the key "${name}" is not allowed`, position);
  }
  if (seen.has(name)) throw new ConfigParseError(source, `${name} stands twice`, position);
  seen.add(name);
}

function readValue(text: string, at: number): { value: string; end: number; template: boolean } | undefined {
  const quote = text.charAt(at);
  if (quote === "'" || quote === '"' || quote === '`') {
    const found = matchAt(quote === "'" ? SINGLE : quote === '"' ? DOUBLE : BACKTICK, text, at);
    if (found === undefined) return undefined;
    const raw = found[1] ?? '';
    return { value: quote === '"' ? unescape(raw) : raw, end: at + found[0].length, template: quote !== "'" };
  }
  const bare = matchAt(BARE, text, at)?.[0] ?? '';
  const value = bare.startsWith('#') ? '' : bare.replace(/[ \t]#.*$/, '');
  return { value: value.trim(), end: at + bare.length, template: true };
}

function unescape(raw: string): string {
  const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' };
  return raw.replaceAll(/\\([\s\S])/g, (whole, character: string) => escapes[character] ?? whole);
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text) ?? undefined;
}

function skip(pattern: RegExp, text: string, at: number): number {
  return at + (matchAt(pattern, text, at)?.[0].length ?? 0);
}
