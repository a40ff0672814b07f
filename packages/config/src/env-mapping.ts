import { InvalidOptionError } from '@xiaoke/core';
import type { ConfigIssue } from './errors.ts';
import { propertiesOf, schemasAt, type JsonSchema } from './json-schema.ts';
import type { Override } from './layer.ts';
import { formatPath, parsePath } from './path.ts';
import { isUnsafeKey } from './plain-value.ts';

/** The environment, as `process.env` has it. */
export type EnvVariables = Readonly<Record<string, string | undefined>>;

/** Which environment variables are configuration, and where they go; a string is the prefix. */
export type EnvMapping = string | EnvMappingOptions;

/** Both ways may be used together; the table wins. */
export interface EnvMappingOptions {
  /** Variables that begin so are configuration: `APP_DB__POOL_MAX` is `db.pool_max`, or `db.poolMax` if that is known. */
  readonly prefix?: string;
  /** What separates the parts of a path. @default '__' */
  readonly separator?: string;
  /** Explicit variables: `{ PORT: 'server.port' }`. */
  readonly map?: Readonly<Record<string, string>>;
  /** The variables themselves. @default process.env */
  readonly variables?: EnvVariables;
}

/** A validated {@link EnvMapping}. */
export interface ResolvedEnvMapping {
  readonly prefix: string | undefined;
  readonly separator: string;
  readonly map: ReadonlyMap<string, readonly string[]>;
  readonly variables: EnvVariables;
}

/** Validates a mapping. */
export function resolveEnvMapping(
  mapping: EnvMapping | undefined,
  fallback: EnvVariables,
): ResolvedEnvMapping {
  const options: EnvMappingOptions = typeof mapping === 'string' ? { prefix: mapping } : (mapping ?? {});
  const { prefix, separator = '__', map = {}, variables = fallback } = options;
  if (prefix !== undefined && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(prefix)) {
    throw new InvalidOptionError('env.prefix', 'must be letters, digits and underscores, such as "APP_"');
  }
  if (typeof separator !== 'string' || !/^[_.-]{1,4}$/.test(separator)) {
    throw new InvalidOptionError('env.separator', 'must be one to four of the characters "_", ".", "-"');
  }
  const table = new Map(Object.entries(map).map(([name, path]) => [name, parsePath(path)] as const));
  return {
    prefix: prefix === undefined || prefix.endsWith('_') ? prefix : `${prefix}_`,
    separator,
    map: table,
    variables,
  };
}

/** One variable that may be configuration. */
export interface EnvEntry {
  readonly name: string;
  readonly value: string;
  readonly line?: number;
  readonly template: boolean;
}

/** What the variables came to. */
export interface MappedVariables {
  readonly overrides: readonly Override[];
  readonly issues: readonly ConfigIssue[];
  /** Variables under the prefix that fit nothing known, with the nearest known name. */
  readonly unknown: readonly { readonly name: string; readonly nearest: string | undefined }[];
}

/** What is known of the configuration's keys: the layers below and the schema. */
export interface KnownKeys {
  readonly roots: readonly unknown[];
  readonly schema: JsonSchema | undefined;
}

/** How entries become paths. */
export interface MapOptions {
  readonly mapping: ResolvedEnvMapping;
  readonly known: KnownKeys;
  /** Named by issues: `environment variable` or the `.env` file. */
  readonly source: string;
  /** Whether a name that no mapping takes is a path of its own; in `.env` files, when nothing is mapped at all. */
  readonly literal: boolean;
  /** Reads the file that `NAME_FILE` names. */
  readonly readFile?: (path: string, name: string) => string;
}

/** Turns variables into overrides. An empty variable counts as not set. */
export function mapVariables(entries: readonly EnvEntry[], options: MapOptions): MappedVariables {
  const overrides = new Map<string, Override>();
  const issues: ConfigIssue[] = [];
  const unknown: { name: string; nearest: string | undefined }[] = [];
  for (const entry of entries) {
    if (entry.value === '') continue;
    const target = targetOf(entry, options);
    if (target === undefined) continue;
    const { parts, problem } = target;
    const path = formatPath(parts);
    const taken = overrides.get(path);
    const wrong = problem ?? (taken && `${taken.by ?? ''} names the same path`);
    if (wrong !== undefined) {
      issues.push({ kind: 'mapping', path, message: `${entry.name}: ${wrong}`, source: options.source });
      continue;
    }
    if (target.unknown) unknown.push({ name: entry.name, nearest: target.nearest });
    overrides.set(path, toOverride(entry, parts, target.file ? options.readFile : undefined, options.source));
  }
  return { overrides: [...overrides.values()], issues, unknown };
}

function toOverride(
  entry: EnvEntry,
  parts: readonly string[],
  readFile: MapOptions['readFile'],
  source: string,
): Override {
  const value = readFile === undefined ? entry.value : readFile(entry.value, entry.name);
  const line = entry.line === undefined ? {} : { line: entry.line };
  return { parts, value, text: true, template: entry.template, by: `${source} ${entry.name}`, ...line };
}

interface Target {
  readonly parts: readonly string[];
  readonly unknown: boolean;
  readonly nearest?: string | undefined;
  readonly problem?: string;
  readonly file?: boolean;
}

function targetOf(entry: EnvEntry, options: MapOptions): Target | undefined {
  const { mapping, known } = options;
  const listed = mapping.map.get(entry.name);
  if (listed !== undefined) return { parts: listed, unknown: false };
  const base =
    entry.name.endsWith('_FILE') && options.readFile !== undefined ? entry.name.slice(0, -5) : undefined;
  const listedFile = base === undefined ? undefined : mapping.map.get(base);
  if (listedFile !== undefined) return { parts: listedFile, unknown: false, file: true };
  const target = byPrefix(entry.name, options);
  if (target?.unknown !== true || base === undefined) return target;
  const ofFile = byPrefix(base, options);
  const taken = options.mapping.variables[base];
  if (ofFile === undefined || ofFile.unknown) return target;
  if (taken !== undefined && taken !== '') return { ...ofFile, problem: `${base} is set as well` };
  return known.roots.length === 0 && known.schema === undefined ? target : { ...ofFile, file: true };
}

function byPrefix(name: string, options: MapOptions): Target | undefined {
  const { prefix, separator } = options.mapping;
  const prefixed = prefix !== undefined && name.startsWith(prefix) && name.length > prefix.length;
  if (!prefixed && !options.literal) return undefined;
  const raw = (prefixed ? name.slice(prefix.length) : name).split(separator);
  const refused = raw.find((part) => part === '' || isUnsafeKey(part.toLowerCase()));
  if (refused !== undefined) return { parts: raw, unknown: false, problem: 'is not a path' };
  return matchKnown(raw, options.known, prefixed);
}

/** Follows known keys, in any case and with or without underscores and dashes; what is not known goes in lower case. */
function matchKnown(raw: readonly string[], known: KnownKeys, lower: boolean): Target {
  const parts: string[] = [];
  let { roots } = known;
  let unknown = false;
  let nearest: string | undefined;
  for (const part of raw) {
    const names = new Set([...roots.flatMap(keysOf), ...propertiesOf(schemasAt(known.schema, parts))]);
    const same = [...names].filter((name) => squash(name) === squash(part));
    const exact = same.find((name) => name === part || name === part.toLowerCase());
    if (exact === undefined && same.length > 1) {
      return { parts: raw, unknown: false, problem: `fits ${same.map((name) => `"${name}"`).join(' and ')}` };
    }
    const name = exact ?? same[0];
    if (name === undefined && !unknown) {
      unknown = true;
      nearest = nearestOf(part, names);
    }
    parts.push(name ?? (lower ? part.toLowerCase() : part));
    roots = roots.map((root) => childOf(root, parts.at(-1) ?? ''));
  }
  return { parts, unknown, nearest };
}

function keysOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null ? Object.keys(value) : [];
}

function childOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

function squash(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase();
}

function nearestOf(part: string, names: Iterable<string>): string | undefined {
  let best: { name: string; distance: number } | undefined;
  for (const name of names) {
    const distance = editDistance(squash(part), squash(name));
    if (distance <= 2 && distance < (best?.distance ?? 3)) best = { name, distance };
  }
  return best?.name;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
