/**
 * The one place where the packages meet. Everything else of the service is handed what it needs from here.
 *
 * Each manager is made from its section of the configuration, reports through one metrics collector and one logger, and is
 * closed in the reverse order of its making.
 */
import { createCacheManager, type CacheManager } from '@xiaoke/cache';
import type { ConfigManager } from '@xiaoke/config';
import type { Closeable, Logger } from '@xiaoke/core';
import type { HealthCheckManager } from '@xiaoke/health';
import { createServiceRegistry, type ServiceRegistry } from '@xiaoke/health/discovery';
import { createLockManager, type LockManager } from '@xiaoke/lock';
import { createMetricsCollector, type MetricsCollector } from '@xiaoke/metrics';
import type { AlertManager } from '@xiaoke/metrics/alerts';
import { createTimeSeriesStore, fileStorage, type TimeSeriesStore } from '@xiaoke/metrics/store';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '@xiaoke/queue';
import { createResilienceManager, type Policy, type ResilienceManager } from '@xiaoke/resilience';
import { createAlerting } from './alerting.ts';
import { loadConfiguration, type Environment } from './configuration.ts';
import type { Database } from './database/database.ts';
import { openDatabase } from './database/open-database.ts';
import type { Tasks } from './requests/intake.ts';
import { createServiceHealth } from './service-health.ts';
import type { Settings } from './settings.ts';
import type { User } from './users.ts';

/** What the platform is made from. */
export interface PlatformOptions {
  readonly env: Environment;
  readonly configFile?: string | undefined;
  readonly logger: Logger;
}

/** All managers of the service. */
export interface Platform {
  readonly logger: Logger;
  readonly metrics: MetricsCollector;
  /** Remembers the metrics, for the operator's page, PromQL and the alerts. */
  readonly store: TimeSeriesStore;
  /** The rules of the suite, evaluated over the store and told in the log and to whoever is configured. */
  readonly alerts: AlertManager;
  readonly config: ConfigManager<Settings>;
  readonly database: Database;
  readonly resilience: ResilienceManager;
  /** Guards the calls of the database that nobody waits for. */
  readonly databasePolicy: Policy;
  readonly locks: LockManager;
  readonly cache: CacheManager<User>;
  readonly queue: QueueManager<Tasks>;
  readonly health: HealthCheckManager;
  /** Where the instances of this service are found. */
  readonly registry: ServiceRegistry;
  /** Closes everything, the last made first, each within its share of the time. */
  close(): Promise<void>;
}

/** Makes every manager. When one cannot be made, those before it are closed again. */
export async function createPlatform({ env, configFile, logger }: PlatformOptions): Promise<Platform> {
  const made: { readonly name: string; readonly close: () => Promise<void> }[] = [];
  const keep = <M extends Pick<Closeable, 'close'>>(name: string, manager: M): M => {
    made.unshift({ name, close: () => manager.close() });
    return manager;
  };
  const close = async (): Promise<void> => {
    for (const part of made.splice(0)) {
      await part
        .close()
        .catch((error: unknown) => logger.error({ err: error, part: part.name }, 'closing failed'));
    }
  };
  try {
    const metrics = keep('metrics', createMetricsCollector({ logger }));
    const config = keep('config', await loadConfiguration({ env, file: configFile, logger, metrics }));
    const settings = config.snapshot();
    if (settings.metrics.runtime) metrics.runtime();
    const { directory } = settings.metrics.store;
    const store = keep(
      'store',
      createTimeSeriesStore({
        logger,
        ...(directory === undefined ? {} : { storage: fileStorage(directory) }),
      }),
    );
    store.attach(metrics);
    const alerts = keep('alerts', createAlerting({ settings, store, metrics, logger }));

    const database = keep('database', await openDatabase(settings.service.database_url, { logger, metrics }));
    const resilience = keep('resilience', createResilienceManager({ logger, metrics }));
    const databasePolicy = resilience.policy('database', databaseDefinition(settings));
    config.subscribe('resilience', () =>
      resilience.update('database', databaseDefinition(config.snapshot())),
    );

    const locks = keep(
      'locks',
      await createLockManager({
        redis: settings.distributed_lock.redis_url,
        namespace: 'xiaoke-service',
        defaultTtl: settings.distributed_lock.default_timeout,
        autoExtend: settings.distributed_lock.auto_extend,
        logger,
        metrics,
      }),
    );
    const cache = keep(
      'cache',
      createCacheManager<User>({
        name: 'users',
        redis: settings.cache.redis_url,
        namespace: 'xiaoke-service',
        strategy: settings.cache.strategy,
        maxEntries: settings.cache.max_entries,
        ttl: settings.cache.ttl,
        staleFor: settings.cache.stale_for,
        logger,
        metrics,
      }),
    );
    const queue = keep(
      'queue',
      await createQueueManager<Tasks>({ ...queueOptions(settings), logger, metrics }),
    );
    const registry = keep(
      'registry',
      createServiceRegistry({
        redis: settings.discovery.redis_url,
        namespace: 'xiaoke-service',
        logger,
        metrics,
      }),
    );
    const parts = {
      alerts,
      logger,
      metrics,
      store,
      config,
      database,
      resilience,
      databasePolicy,
      locks,
      cache,
      queue,
      registry,
    };
    const health = keep('health', createServiceHealth(parts));
    return { ...parts, health, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function queueOptions({ messaging }: Settings): QueueManagerOptions {
  const { queue_type: type, redis, rabbitmq, workers } = messaging;
  return {
    namespace: 'xiaoke-service',
    queues: workers.queues,
    lease: workers.lease,
    ...(type === '' ? {} : { type }),
    // An empty type means Redis when a Redis URL is set, else memory; RabbitMQ only when it is asked for.
    ...(redis.url === undefined || type === 'memory' ? {} : { redis: redis.url }),
    ...(type === 'rabbitmq' && rabbitmq.url !== undefined ? { rabbitmq: rabbitmq.url } : {}),
  };
}

function databaseDefinition({
  resilience: { database },
}: Settings): Parameters<ResilienceManager['policy']>[1] {
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
