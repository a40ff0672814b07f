/**
 * The one place where the packages meet. Everything else of the service is handed what it needs from here.
 *
 * Each manager is made from its section of the configuration, reports through one metrics collector and one logger, and is
 * closed in the reverse order of its making.
 */
import { createCacheManager, type CacheManager } from '@xiaoke/cache';
import type { ConfigManager } from '@xiaoke/config';
import type { Logger } from '@xiaoke/core';
import type { HealthCheckManager } from '@xiaoke/health';
import { createServiceRegistry, type ServiceRegistry } from '@xiaoke/health/discovery';
import { createLockManager, type LockManager } from '@xiaoke/lock';
import { createMetricsCollector, type MetricsCollector } from '@xiaoke/metrics';
import type { AlertManager } from '@xiaoke/metrics/alerts';
import { createTimeSeriesStore, fileStorage, type TimeSeriesStore } from '@xiaoke/metrics/store';
import { createQueueManager, type QueueManager } from '@xiaoke/queue';
import { createResilienceManager, type Policy, type ResilienceManager } from '@xiaoke/resilience';
import { createAlerting } from './alerting.ts';
import { ClosingOrder } from './closing-order.ts';
import { loadConfiguration, type Environment } from './configuration.ts';
import type { Database } from './database/database.ts';
import { openDatabase } from './database/open-database.ts';
import { cacheOptions, databasePolicy, lockOptions, NAMESPACE, queueOptions } from './manager-options.ts';
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
  const order = new ClosingOrder(logger);
  try {
    const metrics = order.keep('metrics', createMetricsCollector({ logger }));
    const reporting = { logger, metrics };
    const config = order.keep('config', await loadConfiguration({ env, file: configFile, ...reporting }));
    const settings = config.snapshot();
    if (settings.metrics.runtime) metrics.runtime();
    const { directory } = settings.metrics.store;
    const storage = directory === undefined ? {} : { storage: fileStorage(directory) };
    const store = order.keep('store', createTimeSeriesStore({ logger, ...storage }));
    store.attach(metrics);
    const alerts = order.keep('alerts', createAlerting({ settings, store, ...reporting }));

    const url = settings.service.database_url;
    const database = order.keep('database', await openDatabase(url, reporting));
    const resilience = order.keep('resilience', createResilienceManager(reporting));
    const policy = resilience.policy('database', databasePolicy(settings));
    config.subscribe('resilience', () => resilience.update('database', databasePolicy(config.snapshot())));

    const locks = order.keep('locks', await createLockManager({ ...lockOptions(settings), ...reporting }));
    const cache = order.keep('cache', createCacheManager<User>({ ...cacheOptions(settings), ...reporting }));
    const queue = order.keep(
      'queue',
      await createQueueManager<Tasks>({ ...queueOptions(settings), ...reporting }),
    );
    const redis = settings.discovery.redis_url;
    const registry = order.keep(
      'registry',
      createServiceRegistry({ redis, namespace: NAMESPACE, ...reporting }),
    );
    const parts = {
      ...reporting,
      store,
      alerts,
      config,
      database,
      resilience,
      locks,
      cache,
      queue,
      registry,
    };
    const health = order.keep('health', createServiceHealth(parts));
    return { ...parts, databasePolicy: policy, health, close: () => order.close() };
  } catch (error) {
    await order.close();
    throw error;
  }
}
