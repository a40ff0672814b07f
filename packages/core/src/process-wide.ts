/** What {@link processWide} needs to know of a manager: whether it can still be handed out. */
export interface Closable {
  readonly closed: boolean;
}

type Registry = Map<string, unknown>;

/**
 * Makes a `getXManager`: the first call for some arguments makes the manager, later ones get the same, and once it is
 * closed the next call makes a new one. The registry belongs to the process, so two copies of a package share it.
 *
 * @param name - unique per factory, such as `@xiaoke/lock`
 * @param make - makes a manager; one that rejects is forgotten, so that the next call tries again
 */
export function processWide<Args extends readonly unknown[], M extends Closable>(
  name: string,
  make: (...args: Args) => Promise<M>,
): (...args: Args) => Promise<M> {
  return async (...args) => {
    const registry = registryOf(name) as Map<string, Promise<M>>;
    const key = identify(args);
    const existing = registry.get(key);
    if (existing !== undefined) {
      const manager = await existing;
      if (!manager.closed) return manager;
      if (registry.get(key) !== existing) return await processWide(name, make)(...args);
    }
    const made = make(...args);
    registry.set(key, made);
    try {
      return await made;
    } catch (error) {
      if (registry.get(key) === made) registry.delete(key);
      throw error;
    }
  };
}

/** {@link processWide} for a manager that is made synchronously. */
export function processWideSync<Args extends readonly unknown[], M extends Closable>(
  name: string,
  make: (...args: Args) => M,
): (...args: Args) => M {
  return (...args) => {
    const registry = registryOf(name) as Map<string, M>;
    const key = identify(args);
    const existing = registry.get(key);
    if (existing !== undefined && !existing.closed) return existing;
    const made = make(...args);
    registry.set(key, made);
    return made;
  };
}

function registryOf(name: string): Registry {
  const symbol = Symbol.for(`${name}/process-wide`);
  const holder = globalThis as { [symbol]?: Registry };
  return (holder[symbol] ??= new Map());
}

const identities = new WeakMap<object, number>();
let lastIdentity = 0;

/** Plain data is compared by value, everything else (clients, functions, schemas) by identity. */
function identify(args: readonly unknown[]): string {
  const trimmed = [...args];
  while (trimmed.length > 0 && trimmed.at(-1) === undefined) trimmed.pop();
  return JSON.stringify(trimmed.map(describe));
}

function describe(value: unknown): unknown {
  if (typeof value === 'function') return { identity: identityOf(value) };
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
  if (typeof value !== 'object' || value === null) return value === undefined ? { undefined: true } : value;
  if (Array.isArray(value)) return value.map(describe);
  const proto: unknown = Object.getPrototypeOf(value);
  if (proto !== Object.prototype && proto !== null) return { identity: identityOf(value) };
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, entry]) => [key, describe(entry)]),
  );
}

function identityOf(value: object): number {
  const known = identities.get(value);
  if (known !== undefined) return known;
  lastIdentity += 1;
  identities.set(value, lastIdentity);
  return lastIdentity;
}
