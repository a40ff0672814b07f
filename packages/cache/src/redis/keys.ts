import { createHash } from 'node:crypto';
import { encodeTag, keyspace } from '@xiaoke/core/redis';
import type { Place } from '../capture.ts';

// A longer key is replaced by its hash; the stored value repeats the key, so a collision would be a miss.
const MAX_KEY_LENGTH = 256;
const SPECIAL = /[%{}]/;

/** An entry and the lease on it, in one slot. */
export interface EntryKeys {
  readonly entry: string;
  readonly lease: string;
}

/** The names of everything a cache keeps in Redis; docs/adr has the whole layout. */
export class RedisKeys {
  readonly sequence: string;
  readonly channel: string;
  readonly #prefix: string;
  // The path of the last key, and what stands before the keys of that path: every read asks, and nearly always for the same.
  #path: string | undefined;
  #before = '';

  constructor(namespace: string) {
    this.#prefix = `xc:${namespace}`;
    this.sequence = keyspace(this.#prefix, 'seq')('n');
    this.channel = `${this.#prefix}:bp`;
  }

  of(place: Place): EntryKeys {
    const base = this.#base(place);
    return { entry: `${base}v`, lease: `${base}l` };
  }

  entry(place: Place): string {
    return `${this.#base(place)}v`;
  }

  counter(id: string): string {
    return keyspace(`${this.#prefix}:c`, id)('n');
  }

  // keyspace() of core, without its closure and, for most keys, without a replacement: every read makes one.
  #base({ scope, key }: Place): string {
    if (key.length > MAX_KEY_LENGTH) {
      const hash = createHash('sha256').update(key).digest('base64url');
      return `${this.#prefix}:h:${scope.path}:{${hash}}:`;
    }
    if (scope.path !== this.#path) {
      this.#path = scope.path;
      this.#before = `${this.#prefix}:e:${scope.path}:{`;
    }
    return `${this.#before}${SPECIAL.test(key) ? encodeTag(key) : key}}:`;
  }
}
