import { InvalidOptionError } from '@xiaoke/core';
import { RedisScript, type RedisArgument, type RedisLike } from '@xiaoke/core/redis';
import { StaleTokenError } from '../errors.ts';
import { fenceScript } from '../redis/scripts.generated.ts';
import { checkResource, tokenOf, type TokenSource } from './token.ts';

/** A command with its key: `['SET', 'order:1', 'paid']`. */
export type FencedCommand = readonly [command: string, key: string, ...args: RedisArgument[]];

/** Refuses writers of the past, in Redis. */
export interface RedisFence {
  /**
   * Runs `commands` in order and alone if no newer token was seen for `resource`, else none of them.
   * In a Cluster the keys have to share the slot of `{resource}`.
   *
   * @throws {@link StaleTokenError} when a newer holder was there
   * @returns the reply of each command
   */
  write(
    resource: string,
    token: TokenSource,
    commands: readonly FencedCommand[],
  ): Promise<readonly unknown[]>;
}

const script = new RedisScript(fenceScript.source);

/**
 * Makes a fence on an ioredis client of yours.
 *
 * @param options - `prefix` of the keys that remember the largest token, by default `xiaoke:fence:`
 */
export function redisFence(client: RedisLike, options: { readonly prefix?: string } = {}): RedisFence {
  const { prefix = 'xiaoke:fence:' } = options;
  return {
    write: async (resource, source, commands) => {
      checkResource(resource);
      const token = tokenOf(source);
      if (commands.length === 0) throw new InvalidOptionError('commands', 'must not be empty');
      const keys = [`${prefix}{${resource}}`, ...commands.map(([, key]) => key)];
      const args: RedisArgument[] = [token];
      for (const [command, , ...rest] of commands) args.push(command, rest.length, ...rest);
      const reply = (await script.run(client, keys, args)) as [number, unknown];
      if (reply[0] === 0) throw new StaleTokenError(resource, token, Number(reply[1]));
      return reply[1] as unknown[];
    },
  };
}
