import {
  createHealthCheckManager,
  EventLoopHealthChecker,
  MemoryHealthChecker,
  type HealthCheckManager,
} from '@xiaoke/health';
import type { Platform } from './platform.ts';
import type { Settings } from './settings.ts';

/** The parts that are looked at. */
export type HealthParts = Pick<
  Platform,
  'config' | 'database' | 'queue' | 'locks' | 'cache' | 'registry' | 'metrics' | 'logger'
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
  registry,
  metrics,
  logger,
}: HealthParts): HealthCheckManager {
  const settings = config.snapshot();
  const { global, database: databaseCheck, redis: redisCheck } = settings.health_check;
  const health = createHealthCheckManager({ defaults: { interval: global.check_interval }, metrics, logger });
  // Nothing is looked at, so nothing is wrong: the probes say that the process answers.
  if (!global.enabled) return health;
  health.registerChecker('event_loop', new EventLoopHealthChecker(), { config: { groups: ['liveness'] } });
  health.registerChecker('memory', new MemoryHealthChecker(), { config: { critical: false } });
  if (databaseCheck.enabled) {
    const url = settings.service.database_url;
    if (url === undefined)
      health.registerCustomChecker('database', async () => void (await database.query('SELECT 1')));
    else health.registerDatabaseChecker('database', url);
  }
  if (redisCheck.enabled) {
    for (const [name, url] of redisServers(settings)) health.registerRedisChecker(name, url);
  }
  health.registerIndicator(queue.healthIndicator());
  health.registerIndicator(locks.healthIndicator());
  health.registerIndicator(cache.healthIndicator(), { config: { critical: false } });
  health.registerIndicator(registry.healthIndicator(), { config: { critical: false } });
  health.registerIndicator(config.healthIndicator(), { config: { critical: false } });
  return health;
}

/** Every Redis the service uses, once: `redis` where one serves all, else named after who uses it. */
function redisServers({
  messaging,
  distributed_lock,
  cache,
  dynamic_config,
  discovery,
}: Settings): Map<string, string> {
  const users = Object.entries({
    queue: messaging.redis.url,
    locks: distributed_lock.redis_url,
    cache: cache.redis_url,
    config: dynamic_config.redis_url,
    discovery: discovery.redis_url,
  }).flatMap(([user, url]) => (url === undefined ? [] : [[user, url] as const]));
  const urls = new Set(users.map(([, url]) => url));
  if (urls.size <= 1) return new Map([...urls].map((url) => ['redis', url]));
  const names = [...urls].map((url) => users.filter(([, own]) => own === url).map(([user]) => user));
  return new Map([...urls].map((url, index) => [`redis_${names[index]?.join('_') ?? ''}`, url]));
}
