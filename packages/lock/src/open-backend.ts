import { InvalidOptionError, type RedisOption } from '@xiaoke/core';
import { openRedis, type RedisConnection } from '@xiaoke/core/redis';
import type { LockBackend } from './backend.ts';
import { UnsupportedError } from './errors.ts';
import { MemoryBackend } from './memory/memory-backend.ts';
import type { QuorumOption, ResolvedOptions } from './options.ts';
import { RedisBackend } from './redis/redis-backend.ts';

/** Chooses the backend; what it needs is loaded only now. */
export async function openBackend(options: ResolvedOptions): Promise<LockBackend> {
  const { redis, clock, namespace } = options;
  if (redis === undefined) return new MemoryBackend(clock, namespace);
  if (isQuorum(redis)) throw new UnsupportedError('Quorum locks are not there yet');
  return new RedisBackend(await connect(redis, 'redis', options), options);
}

function isQuorum(redis: RedisOption | QuorumOption): redis is QuorumOption {
  if (typeof redis !== 'object' || redis === null || !('quorum' in redis)) return false;
  if (!Array.isArray(redis.quorum)) throw new InvalidOptionError('redis.quorum', 'must be a list of servers');
  return true;
}

function connect(
  redis: RedisOption,
  option: string,
  { logger, random }: ResolvedOptions,
): Promise<RedisConnection> {
  return openRedis(redis, {
    load: () => import('ioredis'),
    // A command that cannot be sent now fails now: every question of ours is asked again by its own rules, and one that
    // was sent later, on its own, could bring back a hold that nobody wants any more.
    overrides: {
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      noDelay: true,
    },
    logger,
    option,
    random,
  });
}
