import type { HealthStatus } from '@xiaoke/core';

/** What aggregation needs to know of a check. */
export interface AggregatedCheck {
  readonly status: HealthStatus;
  readonly critical: boolean;
}

/**
 * The status of several checks: unhealthy if a critical one is, else unknown if a critical one is, else degraded if
 * anything is not healthy. Nothing to look at is healthy.
 */
export function aggregate(checks: Iterable<AggregatedCheck>): HealthStatus {
  let unknown = false;
  let impaired = false;
  for (const { status, critical } of checks) {
    if (status === 'healthy') continue;
    if (critical && status === 'unhealthy') return 'unhealthy';
    if (critical && status === 'unknown') unknown = true;
    impaired = true;
  }
  if (unknown) return 'unknown';
  return impaired ? 'degraded' : 'healthy';
}
