import { decodeTag, encodeTag } from '@xiaoke/core/redis';
import type { Resource } from '../backend.ts';

const SPECIAL = /[%{}]/;

/** The names of everything this package keeps in Redis. The layout is described in `lua/include/state.lua`. */
export class RedisKeys {
  readonly #locks: string;
  readonly #semaphores: string;
  readonly #fence: string | undefined;
  /** What a process id is appended to. */
  readonly channelPrefix: string;

  /** @param fencePerKey - in a Cluster, where one counter for all keys would have to live in all slots */
  constructor(namespace: string, fencePerKey: boolean) {
    this.#locks = `${namespace}:lock:{`;
    this.#semaphores = `${namespace}:semaphore:{`;
    this.#fence = fencePerKey ? undefined : `${namespace}:lock-fence`;
    this.channelPrefix = `${namespace}:lock-process:`;
  }

  /** The counter of all keys together; in a Cluster there is one for each. */
  get globalFence(): string | undefined {
    return this.#fence;
  }

  /** The six keys of the scripts: x, s, h, q, w, t. */
  all(resource: Resource): [string, string, string, string, string, string] {
    const base = this.base(resource);
    return [`${base}x`, `${base}s`, `${base}h`, `${base}q`, `${base}w`, this.#fence ?? `${base}t`];
  }

  one(resource: Resource, suffix: 'x' | 's' | 'h' | 'b' | 't' | 'i'): string {
    const base = this.base(resource);
    return suffix === 't' && this.#fence !== undefined ? this.#fence : base + suffix;
  }

  /** What a SCAN has to match to find every resource that is held or waited for. */
  patterns(): readonly string[] {
    return [this.#locks, this.#semaphores].flatMap((base) => [
      `${escapeGlob(base)}*}:x`,
      `${escapeGlob(base)}*}:q`,
    ]);
  }

  /** The resource that a key found by {@link patterns} belongs to. */
  parse(key: string): Resource | undefined {
    const kind = key.startsWith(this.#locks) ? 'lock' : 'semaphore';
    const base = kind === 'lock' ? this.#locks : this.#semaphores;
    const end = key.lastIndexOf('}:');
    return key.startsWith(base) && end > 0
      ? { kind, key: decodeTag(key.slice(base.length, end)) }
      : undefined;
  }

  /** What the names of one resource's keys begin with. */
  base({ kind, key }: Resource): string {
    const tag = SPECIAL.test(key) ? encodeTag(key) : key;
    return `${kind === 'lock' ? this.#locks : this.#semaphores}${tag}}:`;
  }
}

function escapeGlob(text: string): string {
  return text.replaceAll(/[*?[\]\\^]/g, '\\$&');
}
