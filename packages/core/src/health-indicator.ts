/**
 * How well something is: `degraded` still serves, `unhealthy` does not, `unknown` has not been seen or not for too long.
 */
export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy' | 'unknown';

/** What one check found. */
export interface HealthIndication {
  readonly status: HealthStatus;
  /** A stable word for what is wrong, safe to publish. */
  readonly code?: string;
}

/** What every manager with a connection offers to `@xiaoke/health`. */
export interface HealthIndicator {
  readonly name: string;
  /** Looks once. It must settle soon after `signal` fires. */
  check(context: { readonly signal: AbortSignal }): Promise<HealthIndication>;
}
