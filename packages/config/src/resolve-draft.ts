import { coerceText, readingsOf, schemaTypes } from './coerce.ts';
import type { ConfigIssue } from './errors.ts';
import { expandTemplate, type VariableLookup } from './interpolate.ts';
import type { JsonSchema } from './json-schema.ts';
import { positionIn } from './layer.ts';
import { formatPath } from './path.ts';
import type { PlainValue } from './plain-value.ts';
import { isSecretName } from './secrets.ts';
import { TextLeaf, type Draft } from './text-leaf.ts';

/** How one value came about, for `explain`. */
export interface LeafTrace {
  /** The text as written, `${...}` and all. */
  readonly raw: string;
  /** The variables that went into it. */
  readonly variables: readonly string[];
  /** The type it was coerced to, when it was. */
  readonly coercedTo?: string;
}

/** Text whose type only the schema's verdict can tell. */
export interface OpenText {
  readonly parts: readonly string[];
  readonly readings: readonly PlainValue[];
}

/** A draft without text leaves. */
export interface ResolvedDraft {
  readonly value: PlainValue;
  readonly issues: readonly ConfigIssue[];
  readonly traces: ReadonlyMap<string, LeafTrace>;
  /** The paths a secret went into, their parts joined by NUL. */
  readonly tainted: ReadonlySet<string>;
  readonly open: readonly OpenText[];
}

/** Expands and coerces every text leaf; everything that is wrong is reported together. */
export function resolveDraft(
  draft: Draft,
  lookup: VariableLookup,
  schema: JsonSchema | undefined,
): ResolvedDraft {
  const resolver = new Resolver(lookup, schema);
  const value = resolver.resolve(draft, []) ?? null;
  return {
    value,
    issues: resolver.issues,
    traces: resolver.traces,
    tainted: resolver.tainted,
    open: resolver.open,
  };
}

class Resolver {
  readonly issues: ConfigIssue[] = [];
  readonly traces = new Map<string, LeafTrace>();
  readonly tainted = new Set<string>();
  readonly open: OpenText[] = [];
  readonly #lookup: VariableLookup;
  readonly #schema: JsonSchema | undefined;

  constructor(lookup: VariableLookup, schema: JsonSchema | undefined) {
    this.#lookup = lookup;
    this.#schema = schema;
  }

  resolve(draft: Draft, path: readonly string[]): PlainValue | undefined {
    if (draft instanceof TextLeaf) return this.#leaf(draft, path);
    if (Array.isArray(draft)) {
      return draft.map((item, index) => this.resolve(item, [...path, String(index)]) ?? null);
    }
    if (typeof draft !== 'object' || draft === null) return draft;
    const entries = Object.entries(draft).map(
      ([key, item]) => [key, this.resolve(item, [...path, key])] as const,
    );
    return Object.fromEntries(
      entries.filter((entry): entry is readonly [string, PlainValue] => entry[1] !== undefined),
    );
  }

  #leaf(leaf: TextLeaf, path: readonly string[]): PlainValue | undefined {
    const key = path.join('\0');
    const { text, whole, names, problems } = leaf.template
      ? expandTemplate(leaf.text, this.#lookupFor(leaf))
      : { text: leaf.text, whole: false, names: [], problems: [] };
    for (const { kind, message } of problems) this.#issue(leaf, path, kind, message);
    if (names.some(isSecretName) || isSecretName(leaf.by ?? '')) this.tainted.add(key);
    if (problems.length > 0) return null;
    const value = leaf.coerced || whole ? this.#coerce(text, leaf, path) : text;
    const coerced = typeof value === 'string' || value === undefined ? {} : { coercedTo: kindOf(value) };
    this.traces.set(key, { raw: leaf.text, variables: names, ...coerced });
    return value;
  }

  #lookupFor({ layer: { templates } }: TextLeaf): VariableLookup {
    if (typeof templates !== 'object') return this.#lookup;
    return (name) => (templates.has(name) ? this.#lookup(name) : undefined);
  }

  #coerce(text: string, leaf: TextLeaf, path: readonly string[]): PlainValue | undefined {
    if (schemaTypes(this.#schema, path).size === 0) {
      const readings = readingsOf(text, leaf.below);
      this.open.push({ parts: path, readings });
      return readings[0];
    }
    const result = coerceText(text, this.#schema, path);
    if (result.outcome === 'value') return result.value;
    if (result.outcome === 'refused') this.#issue(leaf, path, 'type', `${result.expected} was expected`);
    return undefined;
  }

  #issue(leaf: TextLeaf, path: readonly string[], kind: ConfigIssue['kind'], message: string): void {
    const position = leaf.line === undefined ? positionIn(leaf.layer, path) : { line: leaf.line };
    const source = leaf.by ?? leaf.layer.name;
    this.issues.push({ kind, path: formatPath(path), message, source, ...position });
  }
}

function kindOf(value: PlainValue): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
