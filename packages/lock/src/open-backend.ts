import { InvalidOptionError, type RedisOption } from '@xiaoke/core';
import { openRedis, type RedisConnection } from '@xiaoke/core/redis';
import type { LockBackend } from './backend.ts';
import { MemoryBackend } from './memory/memory-backend.ts';
import type { QuorumOption, ResolvedOptions } from './options.ts';
import { QuorumBackend } from './quorum/quorum-backend.ts';
import { RedisBackend } from './redis/redis-backend.ts';
import { RedisVoter } from './redis/redis-voter.ts';

/** Chooses the backend; what it needs is loaded only now. */
export async function openBackend(options: ResolvedOptions): Promise<LockBackend> {
  const { redis, clock, namespace } = options;
  if (redis === undefined) return new MemoryBackend(clock, namespace);
  if (isQuorum(redis)) return await openQuorum(redis, options);
  return new RedisBackend(await connect(redis, 'redis', options), options);
}

/** Below three servers, a majority is all of them: nothing could fail. */
const MIN_VOTERS = 3;

async function openQuorum({ quorum, ...rest }: QuorumOption, options: ResolvedOptions): Promise<LockBackend> {
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    throw new InvalidOptionError(`redis.${unknown}`, 'is no option: a majority is always needed');
  }
  if (quorum.length < MIN_VOTERS) {
    throw new InvalidOptionError('redis.quorum', `must be a list of at least ${MIN_VOTERS} servers`);
  }
  const connections = await Promise.all(
    quorum.map((redis, index) => connect(redis, `redis.quorum[${index}]`, options)),
  );
  const voters = connections.map((connection) => new RedisVoter(connection, options));
  return new QuorumBackend(voters, { ...options, lease: options.defaults.ttl });
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
