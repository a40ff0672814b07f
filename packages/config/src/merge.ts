import type { ConfigIssue } from './errors.ts';
import { wordOf, type Layer, type Override } from './layer.ts';
import { formatPath } from './path.ts';
import type { PlainValue } from './plain-value.ts';
import { isDraftObject, TextLeaf, type Draft, type DraftObject } from './text-leaf.ts';

/** How lists of two layers meet: replaced by the higher one, or joined. */
export type ListMerge = 'replace' | 'append' | 'prepend' | 'unique';

/** The layers made one, and what did not fit. */
export interface Merged {
  readonly draft: DraftObject;
  readonly issues: readonly ConfigIssue[];
}

/**
 * Merges layers, lowest first: mappings deep, everything else replaced, lists as `lists` says for their path. A mapping
 * over a scalar, or the other way round, is an issue that names both layers; `null` over anything is a value.
 */
export function mergeLayers(
  layers: readonly Layer[],
  lists: ReadonlyMap<string, ListMerge> = new Map(),
): Merged {
  const merger = new Merger(lists);
  for (const layer of layers) merger.add(layer);
  return { draft: merger.draft, issues: merger.issues };
}

class Merger {
  readonly draft: DraftObject = {};
  readonly issues: ConfigIssue[] = [];
  readonly #lists: ReadonlyMap<string, ListMerge>;
  readonly #added: Layer[] = [];

  constructor(lists: ReadonlyMap<string, ListMerge>) {
    this.#lists = lists;
  }

  add(layer: Layer): void {
    if (layer.values !== undefined) this.#object(this.draft, layer.values, [], layer);
    for (const override of layer.overrides ?? []) this.#override(override, layer);
    this.#added.push(layer);
  }

  #object(
    target: DraftObject,
    source: Record<string, PlainValue>,
    path: readonly string[],
    layer: Layer,
  ): void {
    for (const [key, value] of Object.entries(source)) {
      const at = [...path, key];
      const next = toDraft(value, layer);
      const old = Object.hasOwn(target, key) ? target[key] : undefined;
      if (isDraftObject(old) && isPlain(value)) this.#object(old, value, at, layer);
      else if (this.#clashes(old, next)) this.#clash(at, layer);
      else target[key] = this.#replace(old, next, at);
    }
  }

  #clashes(old: Draft | undefined, next: Draft): boolean {
    if (old === undefined || old === null || next === null) return false;
    // Text may still become a mapping, when the schema wants one.
    if (old instanceof TextLeaf || next instanceof TextLeaf) return false;
    return isDraftObject(old) !== isDraftObject(next);
  }

  #clash(path: readonly string[], layer: Layer): void {
    const below = this.#ownerOf(path);
    const message = `a mapping and a plain value meet: ${below} and ${layer.name}`;
    this.issues.push({ kind: 'clash', path: formatPath(path), message, source: layer.name });
  }

  #replace(old: Draft | undefined, next: Draft, path: readonly string[]): Draft {
    if (next instanceof TextLeaf) next.below = old instanceof TextLeaf ? old.below : old;
    if (!Array.isArray(old) || !Array.isArray(next)) return next;
    const rule = this.#lists.get(formatPath(path));
    if (rule === undefined || rule === 'replace') return next;
    if (rule === 'prepend') return [...next, ...old];
    if (rule === 'append') return [...old, ...next];
    const seen = new Set(old.map((item) => JSON.stringify(item)));
    return [...old, ...next.filter((item) => !seen.has(JSON.stringify(item)))];
  }

  #override(override: Override, layer: Layer): void {
    let target: DraftObject | Draft[] = this.draft;
    const { parts } = override;
    for (const [depth, part] of parts.slice(0, -1).entries()) {
      const child: Draft | undefined = read(target, part);
      if (isDraftObject(child) || Array.isArray(child)) target = child;
      else if (child === undefined || child === null) {
        const made: DraftObject = {};
        if (!write(target, part, made)) return this.#clash(parts, layer);
        target = made;
      } else return this.#clash(parts.slice(0, depth + 1), layer);
    }
    const last = parts.at(-1) ?? '';
    const next = overrideDraft(override, layer);
    if (next instanceof TextLeaf) next.below = read(target, last);
    if (!write(target, last, next)) this.#clash(parts, layer);
  }

  /** Who put there what does not fit, told only when it is asked for. */
  #ownerOf(path: readonly string[]): string {
    return this.#added.findLast((layer) => wordOf(layer, path) !== undefined)?.name ?? 'a lower layer';
  }
}

function isPlain(value: PlainValue): value is Record<string, PlainValue> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function toDraft(value: PlainValue, layer: Layer): Draft {
  if (typeof value === 'string') {
    if (layer.templates === undefined || layer.templates === false || !value.includes('${')) return value;
    return new TextLeaf(value, layer, { template: true, coerced: false });
  }
  if (Array.isArray(value)) return value.map((item) => toDraft(item, layer));
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toDraft(item, layer)]));
}

function overrideDraft(override: Override, layer: Layer): Draft {
  const { value, by, line } = override;
  if (override.text === true && typeof value === 'string') {
    return new TextLeaf(value, layer, { template: override.template === true, coerced: true }, { by, line });
  }
  return toDraft(value, layer);
}

function read(target: DraftObject | Draft[], part: string): Draft | undefined {
  if (Array.isArray(target)) return /^\d+$/.test(part) ? target[Number(part)] : undefined;
  return Object.hasOwn(target, part) ? target[part] : undefined;
}

/** Puts a value in; a list takes an index it has or the next one, and nothing else. */
function write(target: DraftObject | Draft[], part: string, value: Draft): boolean {
  if (!Array.isArray(target)) {
    target[part] = value;
    return true;
  }
  const index = /^\d+$/.test(part) ? Number(part) : -1;
  if (index < 0 || index > target.length) return false;
  target[index] = value;
  return true;
}
