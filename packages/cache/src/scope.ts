import type { CachedNames } from './cached.ts';
import { Counter } from './counters.ts';
import { Details, Facts, type Validity } from './stored.ts';
import type { Lifetime } from './lifetime.ts';

/** Stands between a namespace and a key inside the process; keys cannot hold it. */
const SEPARATOR = '\u001F';

/**
 * A namespace: the prefix of its keys, the counter that clears it, and the {@link Validity} its entries must carry. Clearing
 * replaces the validity, here and in the namespaces below, so that every entry is gone at once.
 */
export class Scope {
  /** Names from the root down, joined by `/`; empty for the root. */
  readonly path: string;
  /** What stands before a key in the first tier. */
  readonly prefix: string;
  /** The counters of this namespace and of those above it. */
  readonly generations: readonly Counter[];
  readonly #children = new Map<string, Scope>();
  readonly #lifetime: Lifetime;
  /** The functions whose results are kept here without a key template of their own. */
  readonly cachedNames: CachedNames = new Map();
  validity!: Validity;
  /** The details shared by all entries that nothing special was said about. */
  plain!: Details;
  /** The same, for those that were read once with a promise. */
  warm!: Details;

  constructor(lifetime: Lifetime, path = '', parents: readonly Counter[] = []) {
    this.#lifetime = lifetime;
    this.path = path;
    this.prefix = path === '' ? '' : path + SEPARATOR;
    this.generations = [...parents, new Counter(`g${path}`)];
    this.renew();
  }

  /** This namespace's own counter. */
  get generation(): Counter {
    return this.generations[this.generations.length - 1] as Counter;
  }

  child(name: string): Scope {
    let child = this.#children.get(name);
    if (child === undefined) {
      // Encoded, so that neither a slash nor a colon in a name can make two namespaces one.
      const encoded = encodeURIComponent(name);
      const path = this.path === '' ? encoded : `${this.path}/${encoded}`;
      child = new Scope(this.#lifetime, path, this.generations);
      this.#children.set(name, child);
    }
    return child;
  }

  /** This namespace and all below it that were used. */
  *family(): Generator<Scope> {
    yield this;
    for (const child of this.#children.values()) yield* child.family();
  }

  /** The namespace at `path`, if it was used. */
  find(path: string): Scope | undefined {
    for (const scope of this.family()) if (scope.path === path) return scope;
    return undefined;
  }

  /** Makes every entry of this namespace, and of those below, invalid at once. */
  invalidate(): void {
    this.generation.seen += 1;
    for (const scope of this.family()) scope.renew();
  }

  /** As {@link invalidate}, because messages may have been missed: the shared versions have to be asked for again. */
  suspect(): void {
    for (const scope of this.family()) {
      scope.generation.shared = undefined;
      scope.renew();
    }
  }

  renew(): void {
    this.validity = {};
    const facts = new Facts(this, this.validity, this.#lifetime);
    this.plain = new Details(this.validity, facts);
    this.warm = new Details(this.validity, facts);
  }
}
