import { isDeepStrictEqual } from 'node:util';
import { formatPath } from './path.ts';
import { isPlainObject } from './plain-value.ts';
import { MASK, type SecretRules } from './secrets.ts';

/**
 * One value that is different. The values of a secret are there for code, but not enumerable: neither a logger nor
 * `JSON.stringify` sees them.
 */
export interface Change {
  readonly path: string;
  readonly kind: 'added' | 'removed' | 'changed';
  /** The value now; `undefined` when removed. */
  readonly value: unknown;
  /** The value before; `undefined` when added. */
  readonly previous: unknown;
}

/** A difference before it is dressed as a {@link Change}. */
export interface Difference {
  readonly parts: readonly string[];
  readonly before: unknown;
  readonly after: unknown;
}

/** The differences of two trees, by leaf; a list is one leaf. Subtrees with the same identity are not looked into. */
export function differences(before: unknown, after: unknown, path: readonly string[] = []): Difference[] {
  if (Object.is(before, after)) return [];
  if (canDescend(before, after)) {
    const [old, now] = [isPlainObject(before) ? before : {}, isPlainObject(after) ? after : {}];
    const keys = Object.keys(now).concat(Object.keys(old).filter((key) => !Object.hasOwn(now, key)));
    // Most keys hold what they held; only the others cost anything.
    const changed = keys.filter((key) => !Object.is(own(old, key), own(now, key)));
    return changed.flatMap((key) => differences(own(old, key), own(now, key), [...path, key]));
  }
  return isDeepStrictEqual(before, after) ? [] : [{ parts: path, before, after }];
}

/** Whether both are mappings, or one is and the other is not there at all. An empty mapping that came or went is a leaf. */
function canDescend(before: unknown, after: unknown): boolean {
  if (isPlainObject(before) && isPlainObject(after)) return true;
  const [present, absent] = before === undefined ? [after, before] : [before, after];
  return absent === undefined && isPlainObject(present) && Object.keys(present).length > 0;
}

function own(value: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

/** Dresses differences for the application's own code. */
export function toChanges(found: readonly Difference[], secrets: SecretRules): Change[] {
  return found.map(({ parts, before, after }) => {
    const change = { path: formatPath(parts), kind: kindOf(before, after) };
    const enumerable = !secrets.holdsSecret(before, parts) && !secrets.holdsSecret(after, parts);
    Object.defineProperties(change, {
      value: { value: after, enumerable },
      previous: { value: before, enumerable },
    });
    return Object.freeze(change) as Change;
  });
}

/** Dresses differences to be shown, with every secret masked. */
export function toMaskedChanges(found: readonly Difference[], secrets: SecretRules): Change[] {
  return found.map(({ parts, before, after }) => {
    const secret = secrets.isSecret(parts);
    const show = (value: unknown): unknown =>
      value === undefined ? undefined : secret ? MASK : secrets.mask(value, parts);
    return Object.freeze({
      path: formatPath(parts),
      kind: kindOf(before, after),
      value: show(after),
      previous: show(before),
    });
  });
}

function kindOf(before: unknown, after: unknown): Change['kind'] {
  if (before === undefined) return 'added';
  return after === undefined ? 'removed' : 'changed';
}
