import { createHash } from 'node:crypto';
import { keyspace } from '@xiaoke/core/redis';
import type { Place } from '../capture.ts';

// A longer key is replaced by its hash; the stored value repeats the key, so a collision would be a miss.
const MAX_KEY_LENGTH = 256;

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

  constructor(namespace: string) {
    this.#prefix = `xc:${namespace}`;
    this.sequence = keyspace(this.#prefix, 'seq')('n');
    this.channel = `${this.#prefix}:bp`;
  }

  of({ scope, key }: Place): EntryKeys {
    const long = key.length > MAX_KEY_LENGTH;
    const tag = long ? createHash('sha256').update(key).digest('base64url') : key;
    const name = keyspace(`${this.#prefix}:${long ? 'h' : 'e'}:${scope.path}`, tag);
    return { entry: name('v'), lease: name('l') };
  }

  counter(id: string): string {
    return keyspace(`${this.#prefix}:c`, id)('n');
  }
}
