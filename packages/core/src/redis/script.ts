import { createHash } from 'node:crypto';
import type { RedisArgument, RedisLike } from './redis-like.ts';

/**
 * A Lua script: sent as its hash, and as text only when the server does not know it yet (also after `SCRIPT FLUSH`, a
 * restart or a failover). It must be safe to repeat, since a reply can be lost after the script ran.
 */
export class RedisScript {
  readonly source: string;
  readonly sha: string;

  constructor(source: string) {
    this.source = source;
    this.sha = createHash('sha1').update(source).digest('hex');
  }

  /** Runs it with declared `keys`, all in one slot. Resolves to the raw reply. */
  async run(
    client: RedisLike,
    keys: readonly string[],
    args: readonly RedisArgument[] = [],
  ): Promise<unknown> {
    try {
      return await client.evalsha(this.sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!isNoScript(error)) throw error;
      return await client.call('EVAL', this.source, keys.length, ...keys, ...args);
    }
  }

  /** As {@link run}, with bulk replies as Buffers. */
  async runBuffer(
    client: RedisLike,
    keys: readonly string[],
    args: readonly RedisArgument[] = [],
  ): Promise<unknown> {
    try {
      return await client.callBuffer('EVALSHA', this.sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!isNoScript(error)) throw error;
      return await client.callBuffer('EVAL', this.source, keys.length, ...keys, ...args);
    }
  }
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
