import { marksSecret, schemasAt, type JsonSchema } from './json-schema.ts';
import { isPlainObject } from './plain-value.ts';

/** What stands in the place of a secret. */
export const MASK = '***';

const SECRET_NAME =
  /passw(?:or)?d|passphrase|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|credential|authorization|cookie|(?:^|[-_])(?:dsn|pwd|pass)(?:$|[-_])/i;
const USER_INFO = /([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi;

/** Whether a name alone, of a key or a variable, says that its value is secret. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}

/** Hides the user and password of every URL in `text`. */
export function maskUrls(text: string): string {
  return text.replaceAll(USER_INFO, `$1${MASK}@`);
}

/**
 * Knows which paths are secret: those declared (`*` is one part, `**` any number), those the schema marks, those whose
 * name says so, and those a secret was interpolated into.
 */
export class SecretRules {
  readonly #patterns: readonly (readonly string[])[];
  readonly #schema: JsonSchema | undefined;
  #tainted: ReadonlySet<string> = new Set();

  constructor(patterns: readonly string[] = [], schema?: JsonSchema) {
    this.#patterns = patterns.map((pattern) => pattern.split('.'));
    this.#schema = schema;
  }

  /** Replaces the paths that a secret was interpolated into. */
  taint(paths: ReadonlySet<string>): void {
    this.#tainted = paths;
  }

  /** Whether the value at `path`, or anything around it, is secret. */
  isSecret(path: readonly string[]): boolean {
    for (let length = 1; length <= path.length; length += 1) {
      const at = path.slice(0, length);
      if (isSecretName(at.at(-1) ?? '') || this.#tainted.has(at.join('\0'))) return true;
      if (this.#patterns.some((pattern) => matches(pattern, at))) return true;
      if (marksSecret(schemasAt(this.#schema, at))) return true;
    }
    return false;
  }

  /** Whether anything at or under `path` is secret. */
  holdsSecret(value: unknown, path: readonly string[]): boolean {
    if (this.isSecret(path)) return true;
    if (typeof value !== 'object' || value === null) return false;
    return Object.entries(value).some(([key, item]) => this.holdsSecret(item, [...path, key]));
  }

  /** A copy of `value` to show, with every secret in it masked. */
  mask(value: unknown, path: readonly string[] = []): unknown {
    if (path.length > 0 && value !== undefined && value !== null && this.isSecret(path)) return MASK;
    if (typeof value === 'string') return maskUrls(value);
    if (Array.isArray(value)) return value.map((item, index) => this.mask(item, [...path, String(index)]));
    if (!isPlainObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, this.mask(item, [...path, key])]),
    );
  }
}

/** Takes every string of `values` out of `text`: validators like to quote what they refuse. */
export function scrub(text: string, values: readonly unknown[]): string {
  const words = values.flatMap((value) => leavesOf(value)).sort((a, b) => b.length - a.length);
  let clean = text;
  for (const word of words) clean = clean.replaceAll(word, MASK);
  return maskUrls(clean);
}

function leavesOf(value: unknown): string[] {
  if (typeof value === 'string') {
    return value.length < 3 ? [] : [value, JSON.stringify(value).slice(1, -1)];
  }
  if (typeof value === 'number') return String(value).length < 3 ? [] : [String(value)];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap((item) => leavesOf(item));
}

function matches(pattern: readonly string[], path: readonly string[]): boolean {
  const [head, ...rest] = pattern;
  if (head === undefined) return path.length === 0;
  if (head === '**') return matches(rest, path) || (path.length > 0 && matches(pattern, path.slice(1)));
  return path.length > 0 && (head === '*' || head === path[0]) && matches(rest, path.slice(1));
}
