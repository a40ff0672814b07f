import { createConfigManager, type ConfigManager } from '@xiaoke/config';
import type { Logger, MetricsSink } from '@xiaoke/core';
import { NAMESPACE } from './manager-options.ts';
import { settingsSchema, type Settings } from './settings.ts';

/** The environment, as `process.env` has it. */
export type Environment = Readonly<Record<string, string | undefined>>;

const FILE = new URL('../config/optimized_config.yaml', import.meta.url).pathname;

/** What loading the configuration needs. */
export interface ConfigurationOptions {
  readonly env: Environment;
  /** @default the file shipped with the service */
  readonly file?: string | undefined;
  readonly logger: Logger;
  readonly metrics: MetricsSink;
}

/**
 * Loads the configuration: the YAML file with its overlays, `XIAOKE_<PATH>` over it, and on a Redis, if one is
 * configured, the values that were set at run time. What does not validate as a whole is refused.
 */
export async function loadConfiguration(options: ConfigurationOptions): Promise<ConfigManager<Settings>> {
  const { env, file = FILE, logger, metrics } = options;
  const common = {
    schema: settingsSchema,
    environment: env['ENVIRONMENT'] ?? 'development',
    env: {
      prefix: 'XIAOKE_',
      map: {
        MESSAGE_WORKERS: 'messaging.workers.count',
        HEALTH_CHECK_ENABLED: 'health_check.global.enabled',
        PORT: 'service.port',
      },
      variables: env,
    },
    logger,
  };
  // Where run-time values live is itself configuration, so the file is read once without them.
  const first = await createConfigManager<Settings>(common);
  await first.addFileSource(file, undefined, { watch: false });
  const { redis_url: redis, max_versions: maxVersions } = first.snapshot().dynamic_config;
  await first.close();
  const config = await createConfigManager<Settings>({
    ...common,
    maxVersions,
    metrics,
    // A Redis that is away at the start must not keep the service from starting; health shows it.
    requireStore: false,
    ...(redis === undefined ? {} : { redis, namespace: NAMESPACE }),
  });
  await config.addFileSource(file);
  return config;
}
