import { processWideSync } from '@xiaoke/core';
import { HealthManager } from './health-manager.ts';
import type { HealthCheckManager } from './manager.ts';
import { resolveManagerOptions, type HealthCheckManagerOptions } from './options.ts';

/**
 * Makes a manager. Nothing runs before `start()`.
 *
 * @throws `INVALID_OPTION`
 *
 * @example
 * ```ts
 * import { createHealthCheckManager } from '@xiaoke/health';
 * const health = createHealthCheckManager();
 * health.registerCustomChecker('disk', () => ({ status: 'degraded', code: 'FILLING_UP' }), { config: { critical: false } });
 * await health.start();
 * console.log(health.status('readiness')); // => degraded
 * await health.close();
 * ```
 */
export function createHealthCheckManager(options?: HealthCheckManagerOptions): HealthCheckManager {
  return new HealthManager(resolveManagerOptions(options));
}

/** The process-wide manager, made on first use and again after it was closed. */
export const getHealthCheckManager: () => HealthCheckManager = processWideSync('@xiaoke/health', () =>
  createHealthCheckManager(),
);
