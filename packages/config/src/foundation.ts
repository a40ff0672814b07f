import type { LeafTrace } from './resolve-draft.ts';
import type { Layer, Override } from './layer.ts';
import { isWithin } from './path.ts';
import type { PlainObject, PlainValue } from './plain-value.ts';

/**
 * What all layers but the run-time values come to, ready to be validated. A commit changes a few paths of it, and need not
 * merge, expand and coerce everything else again.
 */
export interface Foundation {
  /** With their variables mapped, lowest first. */
  readonly layers: readonly Layer[];
  readonly value: PlainObject;
  readonly traces: ReadonlyMap<string, LeafTrace>;
  readonly tainted: ReadonlySet<string>;
}

/** A foundation with run-time values on it. */
export interface Raised {
  readonly value: PlainObject;
  readonly layers: readonly Layer[];
  readonly traces: ReadonlyMap<string, LeafTrace>;
  readonly tainted: ReadonlySet<string>;
}

/**
 * Puts the run-time layer on its foundation, copying only what lies on the way to what changes. `undefined` when that would
 * not be the same as merging all layers: where the environment pins the same path, where text stands in the way, or where
 * a mapping and a plain value meet. Then they are merged, which also tells what is wrong.
 */
export function raise(foundation: Foundation, runtime: Layer | undefined): Raised | undefined {
  const overrides = runtime?.overrides ?? [];
  if (runtime === undefined || overrides.length === 0) return foundation;
  const pins = foundation.layers.flatMap(({ kind, overrides: own = [] }) =>
    kind === 'environment' ? own : [],
  );
  if (overrides.some(({ parts }) => isBarred(parts, foundation, pins))) return undefined;
  const value = withOverrides(foundation.value, overrides);
  if (value === undefined) return undefined;
  const hidden = overrides.map(({ parts }) => parts.join('\0'));
  const shows = (key: string): boolean => !hidden.some((path) => key === path || key.startsWith(`${path}\0`));
  const { traces, tainted } = foundation;
  const above = foundation.layers.findIndex(({ kind }) => kind === 'environment');
  const at = above < 0 ? foundation.layers.length : above;
  return {
    value,
    layers: [...foundation.layers.slice(0, at), runtime, ...foundation.layers.slice(at)],
    traces: traces.size === 0 ? traces : new Map([...traces].filter(([key]) => shows(key))),
    tainted: tainted.size === 0 ? tainted : new Set([...tainted].filter(shows)),
  };
}

function isBarred(parts: readonly string[], { traces }: Foundation, pins: readonly Override[]): boolean {
  if (pins.some((pin) => isWithin(pin.parts, parts) || isWithin(parts, pin.parts))) return true;
  if (traces.size === 0) return false;
  return parts.some((_, depth) => depth > 0 && traces.has(parts.slice(0, depth).join('\0')));
}

/** A copy of `root` with `overrides` in it; what they do not touch is shared. `undefined` where one leads nowhere. */
export function withOverrides(root: PlainObject, overrides: readonly Override[]): PlainObject | undefined {
  const own = new Set<object>();
  const result = copyOf(root, own);
  for (const { parts, value } of overrides) {
    let target: PlainObject | PlainValue[] = result;
    for (const part of parts.slice(0, -1)) {
      const child: PlainValue | undefined = read(target, part);
      if (child !== undefined && child !== null && typeof child !== 'object') return undefined;
      const next: PlainObject | PlainValue[] = own.has(child ?? {})
        ? (child as PlainObject)
        : copyOf(child ?? {}, own);
      if (!write(target, part, next)) return undefined;
      target = next;
    }
    const last = parts.at(-1) ?? '';
    if (!write(target, last, value)) return undefined;
  }
  return result as PlainObject;
}

function copyOf(value: PlainObject | PlainValue[], own: Set<object>): PlainObject | PlainValue[] {
  const copy = Array.isArray(value) ? [...value] : { ...value };
  own.add(copy);
  return copy;
}

function read(target: PlainObject | PlainValue[], part: string): PlainValue | undefined {
  if (Array.isArray(target)) return /^\d+$/.test(part) ? target[Number(part)] : undefined;
  return Object.hasOwn(target, part) ? target[part] : undefined;
}

/** Puts a value in; a list takes an index it has or the next one, and nothing else. */
function write(target: PlainObject | PlainValue[], part: string, value: PlainValue): boolean {
  if (!Array.isArray(target)) {
    target[part] = value;
    return true;
  }
  const index = /^\d+$/.test(part) ? Number(part) : -1;
  if (index < 0 || index > target.length) return false;
  target[index] = value;
  return true;
}
