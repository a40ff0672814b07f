import {
  createHealthCheckManager,
  EventLoopHealthChecker,
  MemoryHealthChecker,
  type HealthCheckManager,
} from '@xiaoke/health';
import type { Platform } from './platform.ts';

/** The parts that are looked at. */
export type HealthParts = Pick<
  Platform,
  'config' | 'database' | 'queue' | 'locks' | 'cache' | 'metrics' | 'logger'
>;

/**
 * Registers every check of the service. The database, the queue and the locks are critical: without one of them no request
 * can be taken in. The cache and the shared configuration are not: the service goes on without them.
 */
export function createServiceHealth({
  config,
  database,
  queue,
  locks,
  cache,
  metrics,
  logger,
}: HealthParts): HealthCheckManager {
  const settings = config.snapshot();
  const { global, database: databaseCheck, redis: redisCheck } = settings.health_check;
  const health = createHealthCheckManager({ defaults: { interval: global.check_interval }, metrics, logger });
  health.registerChecker('event_loop', new EventLoopHealthChecker(), { config: { groups: ['liveness'] } });
  health.registerChecker('memory', new MemoryHealthChecker(), { config: { critical: false } });
  if (databaseCheck.enabled) {
    const url = settings.service.database_url;
    if (url === undefined)
      health.registerCustomChecker('database', async () => void (await database.query('SELECT 1')));
    else health.registerDatabaseChecker('database', url);
  }
  const redis =
    settings.messaging.redis.url ?? settings.distributed_lock.redis_url ?? settings.cache.redis_url;
  if (redisCheck.enabled && redis !== undefined) health.registerRedisChecker('redis', redis);
  health.registerIndicator(queue.healthIndicator());
  health.registerIndicator(locks.healthIndicator());
  health.registerIndicator(cache.healthIndicator(), { config: { critical: false } });
  health.registerIndicator(config.healthIndicator(), { config: { critical: false } });
  return health;
}
