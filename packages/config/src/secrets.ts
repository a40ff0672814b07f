import { marksSecret, schemasAt, type JsonSchema } from './json-schema.ts';
import { isPlainObject } from './plain-value.ts';

/** What stands in the place of a secret. */
export const MASK = '***';

const SECRET_NAME =
  /passw(?:or)?d|passphrase|secret|token|(?:api|private|access|encryption|signing|master|shared)[-_]?key|credential|authorization|cookie|(?:^|[-_])(?:dsn|pwd|pass|jwt)(?:$|[-_])/i;
const SECRET_PART = /[a-z\d](?:Dsn|DSN|Pwd|PWD|Pass|Jwt|JWT)(?:$|[-_A-Z])/;
const MAX_VERDICTS = 10_000;
// Up to the last "@" before the path; and where a password itself holds a "/", up to the last "@" of all.
const USER_INFO = /([a-z][a-z0-9+.-]*:\/\/)(?:[^\s/?#"']+@|[^\s/?#@:"']*:(?!\d+[/?#])[^\s"']+@)/gi;
const SECRET_QUERY = /([?&;]([^\s=&;?#]+)=)([^\s&;#"']+)/g;
const TEMPLATE_NAME = /\$\{([A-Za-z_]\w*)/g;
const RECENT = 8;

/** Whether a name alone, of a key or a variable, says that its value is secret. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) || SECRET_PART.test(name);
}

/** Hides the user and password of every URL in `text`, and the parameters whose name says that they are secret. */
export function maskUrls(text: string): string {
  if (!text.includes('://')) return text;
  return text
    .replaceAll(USER_INFO, `$1${MASK}@`)
    .replaceAll(SECRET_QUERY, (whole, head: string, name: string) =>
      isSecretName(name) ? head + MASK : whole,
    );
}

/** Hides what is secret in a text as it was written: a template whose variable is secret may hold a default. */
function maskText(text: string): string {
  const names = [...text.matchAll(TEMPLATE_NAME)].map(([, name = '']) => name);
  return names.some(isSecretName) ? MASK : maskUrls(text);
}

/**
 * Knows which paths are secret: those declared (`*` is one part, `**` any number), those the schema marks, those whose
 * name says so, and those a secret was interpolated into.
 */
export class SecretRules {
  readonly #patterns: readonly (readonly string[])[];
  /** What the schema says, which may mark paths as secret. */
  readonly schema: JsonSchema | undefined;
  // Names and schemas do not change, and one change asks about the same paths several times.
  readonly #verdicts = new Map<string, boolean>();
  #tainted: ReadonlySet<string> = new Set();
  // The configurations whose secrets may still turn up in what somebody says.
  readonly #recent: unknown[] = [];

  constructor(patterns: readonly string[] = [], schema?: JsonSchema) {
    this.#patterns = patterns.map((pattern) => pattern.split('.'));
    this.schema = schema;
  }

  /** Replaces the paths that a secret was interpolated into. */
  taint(paths: ReadonlySet<string>): void {
    this.#tainted = paths;
  }

  /** Remembers a configuration, so that {@link SecretRules.clean} knows its secrets. */
  notice(root: unknown): void {
    if (this.#recent.at(-1) === root) return;
    this.#recent.push(root);
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  /** Takes the secrets of the last configurations out of what others say: a guard, a callback, a validator. */
  clean(text: string): string {
    return scrubWords(
      text,
      this.#recent.flatMap((root) => this.#secretsIn(root, [])),
    );
  }

  #secretsIn(value: unknown, path: readonly string[]): string[] {
    if (path.length > 0 && this.isSecret(path)) return leavesOf(value);
    if (typeof value === 'string') return passwordsIn(value);
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value).flatMap(([key, item]) => this.#secretsIn(item, [...path, key]));
  }

  /** Whether the value at `path`, or anything around it, is secret. */
  isSecret(path: readonly string[]): boolean {
    for (let length = 1; length <= path.length; length += 1) {
      const at = path.slice(0, length);
      const key = at.join('\0');
      if (this.#tainted.has(key)) return true;
      const secret = this.#verdicts.get(key) ?? this.#judge(at);
      if (this.#verdicts.size < MAX_VERDICTS) this.#verdicts.set(key, secret);
      if (secret) return true;
    }
    return false;
  }

  #judge(path: readonly string[]): boolean {
    return (
      isSecretName(path.at(-1) ?? '') ||
      this.#patterns.some((pattern) => matches(pattern, path)) ||
      marksSecret(schemasAt(this.schema, path))
    );
  }

  /** Whether anything at or under `path` is secret. */
  holdsSecret(value: unknown, path: readonly string[]): boolean {
    if (this.isSecret(path)) return true;
    if (typeof value === 'string') return maskText(value) !== value;
    if (typeof value !== 'object' || value === null) return false;
    return Object.entries(value).some(([key, item]) => this.holdsSecret(item, [...path, key]));
  }

  /** A copy of `value` to show, with every secret in it masked. */
  mask(value: unknown, path: readonly string[] = []): unknown {
    if (path.length > 0 && value !== undefined && value !== null && this.isSecret(path)) return MASK;
    if (typeof value === 'string') return maskText(value);
    if (Array.isArray(value)) return value.map((item, index) => this.mask(item, [...path, String(index)]));
    if (!isPlainObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, this.mask(item, [...path, key])]),
    );
  }
}

/** Takes every string of `values` out of `text`: validators like to quote what they refuse. */
export function scrub(text: string, values: readonly unknown[]): string {
  return scrubWords(
    text,
    values.flatMap((value) => leavesOf(value)),
  );
}

function scrubWords(text: string, words: readonly string[]): string {
  let clean = text;
  const longestFirst = [...new Set(words)].sort((a, b) => b.length - a.length);
  for (const word of longestFirst) clean = clean.replaceAll(word, MASK);
  return maskUrls(clean);
}

/** The passwords in the URLs of a text. */
function passwordsIn(text: string): string[] {
  const found = text.includes('://') ? [...text.matchAll(USER_INFO)] : [];
  return found.flatMap(([whole, scheme = '']) => {
    const info = whole.slice(scheme.length, -1);
    const password = info.slice(info.indexOf(':') + 1);
    return password.length < 3 ? [] : [password];
  });
}

function leavesOf(value: unknown): string[] {
  if (typeof value === 'string') {
    return value.length < 3 ? [] : [value, JSON.stringify(value).slice(1, -1), ...passwordsIn(value)];
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
