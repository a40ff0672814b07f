import type { EnvironmentVariables } from './environment.ts';
import type { Position } from './errors.ts';
import { locate, type ParsedDocument } from './parse/parse-document.ts';
import { isWithin, valueAt } from './path.ts';
import type { PlainObject, PlainValue } from './plain-value.ts';

/** The kinds of layers, lowest precedence first. */
export const LAYER_KINDS = [
  'defaults',
  'base',
  'overlay',
  'local',
  'dotenv',
  'source',
  'remote',
  'runtime',
  'environment',
] as const;

/** Where in the order of precedence a layer stands. */
export type LayerKind = (typeof LAYER_KINDS)[number];

/** One value put at one path, replacing whatever stood there. */
export interface Override {
  readonly parts: readonly string[];
  readonly value: PlainValue;
  /** Born as text, to be coerced to the type the schema wants. */
  readonly text?: boolean;
  /** Whether `${...}` in it is expanded. */
  readonly template?: boolean;
  /** What put it there, such as `environment variable APP_PORT`. */
  readonly by?: string;
  readonly line?: number;
}

/** What one source contributes: a document merged deep, or single overrides. */
export interface Layer {
  readonly kind: LayerKind;
  readonly name: string;
  readonly values?: PlainObject;
  readonly overrides?: readonly Override[];
  /** Whether `${...}` in the strings of `values` is expanded; or for which names alone. */
  readonly templates?: boolean | ReadonlySet<string>;
  /** The text behind `values`, to tell lines. */
  readonly document?: ParsedDocument;
  /** The variables of the process; their paths depend on the other layers. */
  readonly environment?: EnvironmentVariables;
}

/** What a layer says about one path. */
export interface LayerWord {
  readonly layer: Layer;
  readonly value: unknown;
  readonly override?: Override;
}

/** What `layer` itself says about `path`, if it says anything about it or something around it. */
export function wordOf(layer: Layer, path: readonly string[]): LayerWord | undefined {
  for (const override of layer.overrides ?? []) {
    if (isWithin(path, override.parts)) {
      const value = valueAt(override.value, path.slice(override.parts.length));
      return { layer, value, override };
    }
  }
  const inner = (layer.overrides ?? []).filter(({ parts }) => isWithin(parts, path));
  const [override] = inner;
  if (override !== undefined) return { layer, value: treeUnder(path, inner), override };
  const value = layer.values === undefined ? undefined : valueAt(layer.values, path);
  return value === undefined ? undefined : { layer, value };
}

/** What overrides under `path` come to, as one mapping. */
function treeUnder(path: readonly string[], overrides: readonly Override[]): PlainObject {
  const tree: PlainObject = {};
  for (const { parts, value } of overrides) {
    let target = tree;
    for (const part of parts.slice(path.length, -1)) {
      const next = target[part];
      const known = typeof next === 'object' && next !== null && !Array.isArray(next);
      const made: PlainObject = known ? { ...next } : {};
      target[part] = made;
      target = made;
    }
    target[parts.at(-1) ?? ''] = value;
  }
  return tree;
}

/** The line on which a layer says something about `path`. */
export function positionIn(layer: Layer, path: readonly string[]): Position | undefined {
  const line = wordOf(layer, path)?.override?.line;
  if (line !== undefined) return { line, column: 1 };
  return layer.document && locate(layer.document, path);
}
