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
  const tally = new Tally();
  for (const { status, critical } of checks) tally.add(status, critical);
  return tally.status;
}

/** {@link aggregate} of a set that changes, without looking at all of it again. */
export class Tally {
  #down = 0;
  #unknown = 0;
  #impaired = 0;

  get status(): HealthStatus {
    if (this.#down > 0) return 'unhealthy';
    if (this.#unknown > 0) return 'unknown';
    return this.#impaired > 0 ? 'degraded' : 'healthy';
  }

  /** Counts a check in, or with -1 out. */
  add(status: HealthStatus, critical: boolean, times: 1 | -1 = 1): void {
    if (status === 'healthy') return;
    this.#impaired += times;
    if (critical && status === 'unhealthy') this.#down += times;
    if (critical && status === 'unknown') this.#unknown += times;
  }
}
