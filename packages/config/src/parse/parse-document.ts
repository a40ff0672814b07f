import { parse as parseTomlText, TomlError } from 'smol-toml';
import { ConfigParseError, type Position } from '../errors.ts';
import type { ConfigFormat } from '../format.ts';
import { formatPath } from '../path.ts';
import { MAX_DEPTH, PlainValueProblem, toPlainDocument, type PlainObject } from '../plain-value.ts';
import { parseDotenv, type DotenvEntry } from './dotenv.ts';
import { JsonProblem, scanJson } from './json-scan.ts';
import { positionAt, START } from './position.ts';
import { locateInToml } from './toml-positions.ts';
import { locateInYaml, parseYaml } from './yaml.ts';

/** The largest text that is parsed. */
export const MAX_BYTES: number = 1_048_576;

/** A document that parsed: its values, or for a `.env` file its variables. */
export interface ParsedDocument {
  readonly format: ConfigFormat;
  readonly source: string;
  readonly text: string;
  readonly values: PlainObject;
  readonly variables: readonly DotenvEntry[];
}

/** Decodes bytes as UTF-8, without a byte order mark. */
export function decodeText(bytes: Uint8Array, source: string): string {
  if (bytes.byteLength > MAX_BYTES)
    throw new ConfigParseError(source, `larger than ${MAX_BYTES} bytes`, START);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigParseError(source, 'not valid UTF-8', START);
  }
}

/**
 * Parses one document whole.
 *
 * @throws {@link ConfigParseError} with line and column where known, never with a piece of the text
 */
export function parseDocumentText(text: string, format: ConfigFormat, source: string): ParsedDocument {
  if (text.trim() === '') throw new ConfigParseError(source, 'the document is empty', START);
  if (format === 'dotenv') {
    const variables = parseDotenv(text, source);
    if (variables.length === 0) throw new ConfigParseError(source, 'the document is empty', START);
    return { format, source, text, values: {}, variables };
  }
  const raw = parseRaw(text, format, source);
  try {
    return { format, source, text, values: toPlainDocument(raw), variables: [] };
  } catch (error) {
    if (!(error instanceof PlainValueProblem)) throw error;
    const where = error.path.length === 0 ? '' : ` at "${formatPath(error.path)}"`;
    const position = locate({ format, text }, error.path) ?? START;
    throw new ConfigParseError(source, error.message + where, position);
  }
}

function parseRaw(text: string, format: 'json' | 'yaml' | 'toml', source: string): unknown {
  if (format === 'json') return parseJson(text, source);
  if (format === 'yaml') return parseYaml(text, source);
  return parseToml(text, source);
}

function parseJson(text: string, source: string): unknown {
  try {
    // First, because it finds what JSON.parse accepts in silence: a key that stands twice.
    scanJson(text);
    return JSON.parse(text);
  } catch (error) {
    const known = error instanceof JsonProblem;
    const position = known ? positionAt(text, error.offset) : undefined;
    throw new ConfigParseError(source, known ? error.message : 'not valid JSON', position);
  }
}

function parseToml(text: string, source: string): unknown {
  try {
    const table = parseTomlText(text, { integersAsBigInt: 'asNeeded', maxDepth: MAX_DEPTH });
    // Comments alone are what is left of a document that was cut off early.
    return Object.keys(table).length === 0 ? undefined : table;
  } catch (error) {
    // The library's message quotes the text, so only the position is taken from it.
    const position = error instanceof TomlError ? { line: error.line, column: error.column } : undefined;
    throw new ConfigParseError(source, 'not valid TOML', position);
  }
}

/** Where the value at `path` stands in a document that parses, as near as can be told. */
export function locate(
  document: Pick<ParsedDocument, 'format' | 'text'> & { readonly variables?: readonly DotenvEntry[] },
  path: readonly string[],
): Position | undefined {
  if (path.length === 0) return undefined;
  if (document.format === 'yaml') return locateInYaml(document.text, path);
  if (document.format === 'toml') return locateInToml(document.text, path);
  return document.format === 'json' ? locateInJson(document.text, path) : undefined;
}

function locateInJson(text: string, path: readonly string[]): Position | undefined {
  let best: { length: number; offset: number } | undefined;
  try {
    scanJson(text, (at, offset) => {
      const matches = at.length <= path.length && at.every((part, depth) => part === path[depth]);
      if (matches && at.length > (best?.length ?? 0)) best = { length: at.length, offset };
    });
  } catch {
    // Up to here it is well-formed, and what was found stands.
  }
  return best && positionAt(text, best.offset);
}
