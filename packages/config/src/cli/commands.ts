import { readFile } from 'node:fs/promises';
import { ConfigKeyError } from '../errors.ts';
import type { Explanation } from '../explain.ts';
import { formatOfFile } from '../format.ts';
import type { ConfigManager } from '../manager.ts';
import { decodeText, parseDocumentText } from '../parse/parse-document.ts';
import { formatPath, parsePath, valueAt } from '../path.ts';
import { isPlainObject } from '../plain-value.ts';
import { MASK } from '../secrets.ts';
import { UsageError, type CliValues } from './arguments.ts';

/** What a command found: for people and for programs. */
export interface CommandResult {
  readonly text: string;
  readonly data: unknown;
}

interface Call {
  readonly config: ConfigManager;
  readonly args: readonly string[];
  readonly values: CliValues;
}

type Command = (call: Call) => Promise<CommandResult>;

/** The commands by name. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  get: async ({ config, args, values }) => {
    const root: unknown = values.reveal === true ? config.snapshot() : config.masked();
    const [path] = args;
    if (path === undefined) return { text: JSON.stringify(root, null, 2), data: root };
    const value = valueAt(root, parsePath(path));
    if (value === undefined) throw new ConfigKeyError(path);
    return { text: typeof value === 'string' ? value : JSON.stringify(value, null, 2), data: value };
  },
  set: async ({ config, args, values }) => {
    const [path, text] = two(args, 'set <path> <value>');
    return changed(await config.set(path, parseValue(text), writeOptions(values)));
  },
  unset: async ({ config, args, values }) =>
    changed(await config.unset(one(args, 'unset <path>'), writeOptions(values))),
  rollback: async ({ config, args, values }) =>
    changed(await config.rollback(toVersion(one(args, 'rollback <version>')), writeOptions(values))),
  diff: async ({ config, args }) => {
    const [from, to] = two(args, 'diff <from> <to>');
    const changes = await config.diff(toVersion(from), toVersion(to));
    const lines = changes.map(({ path, previous, value }) => `${path}: ${show(previous)} -> ${show(value)}`);
    return { text: lines.join('\n') || 'no difference', data: changes };
  },
  history: async ({ config }) => {
    const history = await config.history();
    const lines = history.map(({ version, at, kind, author = '-', reason = '', paths }) =>
      [version, new Date(at).toISOString(), kind, author, paths.join(','), reason].join('  ').trimEnd(),
    );
    return { text: lines.join('\n') || 'no versions', data: history };
  },
  validate: async ({ config }) => {
    await config.reload();
    const sources = config.stats().sources.map(({ name }) => name);
    return { text: 'valid', data: { valid: true, version: config.version, sources } };
  },
  explain: async ({ config, args }) => {
    const found = config.explain(one(args, 'explain <path>'));
    return { text: describe(found), data: found };
  },
  export: async ({ config, values }) => {
    const data = values.reveal === true ? config.runtimeValues() : maskAll(config);
    return { text: JSON.stringify(data, null, 2), data };
  },
  import: async ({ config, args, values }) => {
    const file = one(args, 'import <file>');
    const entries = await readEntries(file, values.format);
    return changed(await config.setMany(entries, writeOptions(values)));
  },
};

function maskAll(config: ConfigManager): Record<string, unknown> {
  const paths = Object.keys(config.runtimeValues());
  return Object.fromEntries(paths.map((path) => [path, config.explain(path).value]));
}

/** The leaves of a document as entries; a key may itself be a path, as `export` writes them. */
async function readEntries(file: string, format: string | undefined): Promise<[string, unknown][]> {
  const known = format ?? formatOfFile(file);
  if (known !== 'json' && known !== 'yaml' && known !== 'toml')
    throw new UsageError('import reads json, yaml or toml');
  const bytes = await readFile(file).catch(() => {
    throw new UsageError(`${file} cannot be read`);
  });
  const { values } = parseDocumentText(decodeText(bytes, file), known, file);
  const entries = Object.entries(values).flatMap(([key, value]) => leaves(value, key));
  if (entries.some(([, value]) => value === MASK)) throw new UsageError(`${file} holds masked secrets`);
  return entries;
}

function leaves(value: unknown, path: string): [string, unknown][] {
  if (!isPlainObject(value) || Object.keys(value).length === 0) return [[path, value]];
  return Object.entries(value).flatMap(([key, item]) => leaves(item, `${path}.${formatPath([key])}`));
}

function describe(found: Explanation): string {
  const where = found.winner;
  const line = where?.line === undefined ? '' : `:${where.line}`;
  const head = `${found.path} = ${show(found.value)} (${found.type})`;
  const winner =
    where === undefined ? '  from the schema, or nowhere' : `  from ${where.layer} ${where.source}${line}`;
  const raw = found.raw === undefined ? [] : [`  written as ${found.raw}`];
  const hidden = found.shadowed.map(
    ({ layer, source, value }) => `  hides ${layer} ${source} = ${show(value)}`,
  );
  return [head, winner, ...raw, ...hidden].join('\n');
}

function changed(version: number): CommandResult {
  return { text: `version ${version}`, data: { version } };
}

function show(value: unknown): string {
  return value === undefined ? '(nothing)' : JSON.stringify(value);
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function toVersion(text: string): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`"${text}" is no version`);
  return Number(text);
}

function one(args: readonly string[], usage: string): string {
  const [first] = args;
  if (first === undefined || args.length !== 1) throw new UsageError(`Use: ${usage}`);
  return first;
}

function two(args: readonly string[], usage: string): [string, string] {
  const [first, second] = args;
  if (first === undefined || second === undefined || args.length !== 2) throw new UsageError(`Use: ${usage}`);
  return [first, second];
}

function writeOptions(values: CliValues): { author?: string; reason?: string; ifVersion?: number } {
  const { author, reason, 'if-version': version } = values;
  return {
    ...(author === undefined ? {} : { author }),
    ...(reason === undefined ? {} : { reason }),
    ...(version === undefined ? {} : { ifVersion: toVersion(version) }),
  };
}
