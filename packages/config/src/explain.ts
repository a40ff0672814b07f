import type { Built } from './build.ts';
import { positionIn, wordOf, type Layer, type LayerKind, type LayerWord } from './layer.ts';
import { formatPath, valueAt } from './path.ts';
import { isSecretName, maskUrls, MASK, type SecretRules } from './secrets.ts';
import type { Snapshot } from './snapshot.ts';

/** What one layer says about a path. */
export interface ExplainedLayer {
  readonly layer: LayerKind;
  /** The file, URL, store or variable. */
  readonly source: string;
  /** What it says, masked; as written, so `${...}` is not expanded. */
  readonly value: unknown;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
}

/** Where a value comes from. */
export interface Explanation {
  readonly path: string;
  readonly found: boolean;
  /** The value in force, masked. */
  readonly value: unknown;
  readonly type: string;
  readonly secret: boolean;
  /** The run-time version it is part of. */
  readonly version: number;
  /** The layer that won; `undefined` when the schema itself gave the value, or there is none. */
  readonly winner?: ExplainedLayer;
  /** What the winner hid, highest first. */
  readonly shadowed: readonly ExplainedLayer[];
  /** The text as written, when something was expanded or coerced. */
  readonly raw?: string;
  /** The variables that went into it. */
  readonly variables?: readonly string[];
  /** The type its text was coerced to. */
  readonly coercedTo?: string;
}

/** Explains the value at `parts`. */
export function explainPath(
  parts: readonly string[],
  built: Built,
  snapshot: Snapshot,
  secrets: SecretRules,
): Explanation {
  const value = valueAt(snapshot.value, parts);
  const words = built.layers.flatMap((layer) => wordOf(layer, parts) ?? []).reverse();
  const [winner, ...hidden] = words.map((word) => explainWord(word, parts, secrets));
  const trace = built.traces.get(parts.join('\0'));
  const secret = secrets.isSecret(parts) || (trace?.variables ?? []).some(isSecretName);
  const raw = trace && (secret ? MASK : maskUrls(trace.raw));
  return {
    path: formatPath(parts),
    found: value !== undefined,
    value: value === undefined ? undefined : secret ? MASK : secrets.mask(value, parts),
    type: typeOf(value),
    secret,
    version: snapshot.version,
    ...(winner === undefined ? {} : { winner }),
    shadowed: hidden,
    ...(trace === undefined || raw === undefined ? {} : { raw, variables: trace.variables }),
    ...(trace?.coercedTo === undefined ? {} : { coercedTo: trace.coercedTo }),
  };
}

function explainWord(word: LayerWord, parts: readonly string[], secrets: SecretRules): ExplainedLayer {
  const { layer, override } = word;
  const position = positionIn(layer, parts);
  const file = isFileLayer(layer) ? { file: layer.name } : {};
  const source = override?.by ?? layer.name;
  const value = secrets.isSecret(parts) ? MASK : secrets.mask(word.value, parts);
  return { layer: layer.kind, source, value, ...file, ...position };
}

function isFileLayer(layer: Layer): boolean {
  return ['base', 'overlay', 'local', 'dotenv'].includes(layer.kind);
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
