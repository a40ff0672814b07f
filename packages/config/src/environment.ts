import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { ConfigSourceError, type ConfigIssue } from './errors.ts';
import {
  mapVariables,
  type EnvEntry,
  type KnownKeys,
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
  const composed = layers.map((layer): Layer => {
    if (layer.kind !== 'dotenv' || layer.document === undefined) return layer;
    const mapped = mapVariables(layer.document.variables, { mapping, known, source: layer.name, literal });
    issues.push(...mapped.issues);
    return { ...layer, overrides: mapped.overrides };
  });
  const environment = mapVariables(entriesOf(mapping), {
    mapping,
    known,
    source: 'environment variable',
    literal: false,
    readFile: readSecretFile,
  });
  issues.push(...environment.issues);
  const layer: Layer = { kind: 'environment', name: 'environment', overrides: environment.overrides };
  return {
    layers: [...composed, layer],
    issues,
    lookup: lookupIn(layers, mapping),
    unknown: environment.unknown,
  };
}

function entriesOf(mapping: ResolvedEnvMapping): EnvEntry[] {
  return Object.entries(mapping.variables).flatMap(([name, value]) =>
    value === undefined ? [] : [{ name, value, template: false }],
  );
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
