import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { ConfigSourceError, type ConfigIssue } from './errors.ts';
import {
  mapVariables,
  type EnvEntry,
  type KnownKeys,
  type MapOptions,
  type MappedVariables,
  type ResolvedEnvMapping,
} from './env-mapping.ts';
import type { Variable, VariableLookup } from './interpolate.ts';
import type { JsonSchema } from './json-schema.ts';
import type { Layer } from './layer.ts';

const MAX_SECRET_FILE = 65_536;

/** The layers with their variables mapped, and what `${NAME}` means. */
export interface Composed {
  readonly layers: readonly Layer[];
  readonly issues: readonly ConfigIssue[];
  readonly lookup: VariableLookup;
  readonly unknown: MappedVariables['unknown'];
}

/**
 * The variables that may be configuration, as they were when they were read: at the start and at each reload. Going
 * through those of the process takes longer than the rest of an update, and none of them changes by itself.
 */
export class EnvironmentVariables {
  readonly entries: readonly EnvEntry[];
  // What the files of `NAME_FILE` hold, by path; which variables name files is known only with the other layers.
  readonly #files = new Map<string, string>();

  constructor(mapping: ResolvedEnvMapping) {
    this.entries = candidatesOf(mapping).flatMap((name) => {
      const value = mapping.variables[name];
      return value === undefined ? [] : [{ name, value, template: false }];
    });
  }

  /** The files that were read. */
  get files(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** Reads what `NAME_FILE` names, once. */
  readFile(path: string, name: string): string {
    const text = this.#files.get(path) ?? readSecretFile(path, name);
    this.#files.set(path, text);
    return text;
  }
}

/** Whether two readings say the same, the files that variables name included. */
export function sameEnvironment(now: EnvironmentVariables, before: EnvironmentVariables): boolean {
  if (!isDeepStrictEqual(now.entries, before.entries)) return false;
  try {
    return before.files.every((path) => now.readFile(path, path) === before.readFile(path, path));
  } catch {
    return false;
  }
}

/** The layer of the environment as it is now. */
export function readEnvironment(mapping: ResolvedEnvMapping): Layer {
  return { kind: 'environment', name: 'environment', environment: new EnvironmentVariables(mapping) };
}

/** The names that the mapping could take. */
function candidatesOf({ prefix, map, variables }: ResolvedEnvMapping): readonly string[] {
  if (prefix === undefined && map.size === 0) return [];
  const listed = [...map.keys()].flatMap((name) => [name, `${name}_FILE`]);
  if (prefix === undefined) return listed.filter((name) => Object.hasOwn(variables, name));
  const names = new Set(listed);
  return Object.keys(variables).filter((name) => name.startsWith(prefix) || names.has(name));
}

/** Gives `.env` layers and the environment their paths, which depend on what the other layers and the schema know. */
export function composeLayers(
  layers: readonly Layer[],
  mapping: ResolvedEnvMapping,
  jsonSchema: JsonSchema | undefined,
): Composed {
  const roots = layers.flatMap((layer) => (layer.values === undefined ? [] : [layer.values]));
  const known: KnownKeys = { roots, schema: jsonSchema };
  const literal = mapping.prefix === undefined && mapping.map.size === 0;
  const issues: ConfigIssue[] = [];
  const unknown: MappedVariables['unknown'][number][] = [];
  const map = (
    layer: Layer,
    entries: readonly EnvEntry[],
    more: Omit<MapOptions, 'mapping' | 'known'>,
  ): Layer => {
    const mapped = mapVariables(entries, { mapping, known, ...more });
    issues.push(...mapped.issues);
    unknown.push(...(layer.kind === 'environment' ? mapped.unknown : []));
    return { ...layer, overrides: mapped.overrides };
  };
  const composed = layers.map((layer): Layer => {
    const { environment, document } = layer;
    if (environment !== undefined) {
      const readFile = (path: string, name: string): string => environment.readFile(path, name);
      return map(layer, environment.entries, { source: 'environment variable', literal: false, readFile });
    }
    if (layer.kind !== 'dotenv' || document === undefined) return layer;
    return map(layer, document.variables, { source: layer.name, literal });
  });
  return { layers: composed, issues, lookup: lookupIn(layers, mapping), unknown };
}

/** The process's variables win over those of `.env` files, as everywhere. */
function lookupIn(layers: readonly Layer[], mapping: ResolvedEnvMapping): VariableLookup {
  const files = new Map<string, Variable>();
  for (const layer of layers) {
    for (const { name, value, template } of layer.document?.variables ?? [])
      files.set(name, { value, template });
  }
  return (name) => {
    const own = Object.hasOwn(mapping.variables, name) ? mapping.variables[name] : undefined;
    return own === undefined ? files.get(name) : { value: own, template: false };
  };
}

/** Reads what `NAME_FILE` names, as container platforms mount secrets: a regular file, small, one line break cut off. */
export function readSecretFile(path: string, name: string): string {
  if (!isAbsolute(path)) throw new ConfigSourceError(name, 'must name an absolute path');
  let file: number | undefined;
  try {
    // Without O_NONBLOCK, opening a pipe would wait for its other end.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new ConfigSourceError(name, 'must name a regular file');
    if (stat.size > MAX_SECRET_FILE)
      throw new ConfigSourceError(name, `names a file over ${MAX_SECRET_FILE} bytes`);
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    if (error instanceof ConfigSourceError) throw error;
    throw new ConfigSourceError(name, 'names a file that cannot be read', codeOf(error));
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** The system's code of an error, such as `ENOENT`. */
export function codeOf(error: unknown): string {
  const code: unknown =
    typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'UNKNOWN';
}
