import type { Closeable, HealthIndicator, HealthStatus, IsolatedEmitter, Duration } from '@xiaoke/core';
import type { CheckResult } from './check-result.ts';
import type { CheckContext, HealthChecker } from './checker.ts';
import type { DatabaseCheckerOptions, DatabaseTarget } from './checkers/database.ts';
import type { HttpCheckerOptions } from './checkers/http.ts';
import type { RedisCheckerOptions, RedisTarget } from './checkers/redis.ts';
import type { HealthEvents } from './events.ts';
import type { HealthCheckConfig } from './options.ts';
import type { HealthReport } from './report.ts';
import type { CheckRecord, CheckSnapshot, StatusChange, Uptime } from './snapshot.ts';

/** The configuration of a check where its registration takes nothing else. */
export interface CheckOptions {
  readonly config?: HealthCheckConfig;
}

/** Narrows a status callback to one group or one check. */
export interface StatusFilter {
  readonly group?: string;
  readonly check?: string;
}

/** Called when a status changed. */
export type StatusCallback = (
  oldStatus: HealthStatus,
  newStatus: HealthStatus,
  change: StatusChange,
) => unknown;

/** What this process did. */
export interface HealthStats {
  readonly checks: number;
  readonly runs: number;
  readonly failures: number;
  readonly timeouts: number;
  readonly changes: number;
  readonly callbackErrors: number;
}

/**
 * Runs checks in the background and answers from memory.
 *
 * No check runs longer than its timeout or beside itself, and reading a status never runs one. A result that is older than
 * its `maxAge` is `unknown`.
 */
export interface HealthCheckManager
  extends Closeable, Pick<IsolatedEmitter<HealthEvents>, 'on' | 'once' | 'off' | 'listenerCount'> {
  /** `postgresql://`, `mongodb://` or `mysql://`, on a connection of the check's own; or a client of yours. */
  registerDatabaseChecker(
    name: string,
    target: DatabaseTarget,
    options?: DatabaseCheckerOptions & CheckOptions,
  ): this;
  registerRedisChecker(name: string, target: RedisTarget, options?: RedisCheckerOptions & CheckOptions): this;
  registerHttpChecker(name: string, url: string | URL, options?: HttpCheckerOptions & CheckOptions): this;
  registerCustomChecker(
    name: string,
    check: (context: CheckContext) => CheckResult | Promise<CheckResult>,
    options?: CheckOptions & { readonly kind?: HealthChecker['kind'] },
  ): this;
  registerChecker(name: string, checker: HealthChecker, options?: CheckOptions): this;
  /** Under the checker's own name. */
  registerChecker(checker: HealthChecker, options?: CheckOptions): this;
  /** What every `@xiaoke` manager with a connection offers by `healthIndicator()`. */
  registerIndicator(indicator: HealthIndicator, options?: CheckOptions): this;
  /** Stops and forgets a check. */
  unregister(name: string): boolean;

  /** Called when the overall status changed, or that of one group or check. Returns the function that ends it. */
  addStatusChangeCallback(callback: StatusCallback, filter?: StatusFilter): () => void;

  /** Begins to run the checks; resolves when each has run once, or after `startTimeout`. */
  start(): Promise<void>;
  /** Runs one check now, or joins the run under way. */
  check(name: string): Promise<CheckSnapshot>;
  /** Of all checks, or of a group; from memory. */
  status(group?: string): HealthStatus;
  report(group?: string, options?: { readonly details?: boolean }): HealthReport;
  /** The remembered runs of a check, the oldest first. */
  history(name: string): CheckRecord[];
  uptime(name: string, window: Duration): Uptime;
  snapshots(): readonly CheckSnapshot[];
  stats(): HealthStats;
  /** Makes readiness unhealthy, code `SHUTTING_DOWN`, whatever the checks say: the first step of a shutdown. */
  shutDown(): void;
  readonly closed: boolean;
}
