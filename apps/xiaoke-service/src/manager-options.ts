/** What each manager is made from: its section of the configuration, in the words of its package. */
import type { CacheOptions } from '@xiaoke/cache';
import type { LockManagerOptions } from '@xiaoke/lock';
import type { QueueManagerOptions } from '@xiaoke/queue';
import type { PolicyDefinition } from '@xiaoke/resilience';
import type { Settings } from './settings.ts';

/** Keeps the keys of this service apart from those of others on the same Redis. */
export const NAMESPACE = 'xiaoke-service';

export function lockOptions({ distributed_lock: lock }: Settings): LockManagerOptions {
  return {
    redis: lock.redis_url,
    namespace: NAMESPACE,
    defaultTtl: lock.default_timeout,
    autoExtend: lock.auto_extend,
  };
}

export function cacheOptions({ cache }: Settings): CacheOptions {
  return {
    name: 'users',
    redis: cache.redis_url,
    namespace: NAMESPACE,
    strategy: cache.strategy,
    maxEntries: cache.max_entries,
    ttl: cache.ttl,
    staleFor: cache.stale_for,
  };
}

export function queueOptions({ messaging }: Settings): QueueManagerOptions {
  const { queue_type: type, redis, rabbitmq, workers } = messaging;
  return {
    namespace: NAMESPACE,
    queues: workers.queues,
    lease: workers.lease,
    ...(type === '' ? {} : { type }),
    // An empty type means Redis when a Redis URL is set, else memory; RabbitMQ only when it is asked for.
    ...(redis.url === undefined || type === 'memory' ? {} : { redis: redis.url }),
    ...(type === 'rabbitmq' && rabbitmq.url !== undefined ? { rabbitmq: rabbitmq.url } : {}),
  };
}

export function databasePolicy({ resilience: { database } }: Settings): PolicyDefinition {
  return {
    retry: { attempts: database.attempts, baseDelay: database.base_delay },
    circuitBreaker: {
      failureRate: database.failure_rate,
      minimumCalls: database.minimum_calls,
      openFor: database.open_for,
    },
    timeout: database.timeout,
  };
}
