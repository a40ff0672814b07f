import {
  InvalidOptionError,
  noopMetrics,
  silentLogger,
  systemClock,
  systemRandom,
  toMilliseconds,
  type Clock,
  type Duration,
  type Logger,
  type MetricsSink,
  type Random,
} from '@xiaoke/core';
import type { CheckSnapshot } from './snapshot.ts';

/** The groups a probe asks for; further ones can be made up. */
export type HealthGroup = 'liveness' | 'readiness' | 'startup' | (string & {});

/** What to do about a check that stays unhealthy. */
export interface RecoveryConfig {
  /** Tries to mend it; `signal` fires when the manager closes or the check is well again. */
  readonly action: (check: CheckSnapshot, signal: AbortSignal) => unknown;
  /** Runs in a row that must have failed. @default the failure threshold */
  readonly after?: number;
  /** The pause after the first try, doubled after each further one up to ten minutes. @default '10s' */
  readonly backoff?: Duration;
  /** Tries until the check is well again. @default 5 */
  readonly maxAttempts?: number;
}

/** How one check is run and what it counts for. */
export interface HealthCheckConfig {
  /** Between two runs. @default '30s' */
  readonly interval?: Duration;
  /** Between two runs from the first failure until it is over. @default 5 s, or `interval` if that is shorter */
  readonly failingInterval?: Duration;
  /** How long one run may take; it is enforced. @default '10s', or `interval` if that is shorter */
  readonly timeout?: Duration;
  /** Failed runs in a row until a check that was well is unhealthy. A first result counts at once. @default 3 */
  readonly failureThreshold?: number;
  /** Good runs in a row until an unhealthy check is well. @default 1 */
  readonly successThreshold?: number;
  /** Whether its failure makes a group unhealthy; an optional check only makes it degraded. @default true */
  readonly critical?: boolean;
  /** @default ['readiness'] */
  readonly groups?: readonly HealthGroup[];
  /** A result older than this is `unknown`. @default three intervals and the timeout */
  readonly maxAge?: Duration;
  /** How much of an interval is left to chance, so that a fleet does not check in step. @default 0.1 */
  readonly jitter?: number;
  /** Checks without which this one is not run: while one of them is unhealthy it is `unknown`, code `PARENT_DOWN`. */
  readonly dependsOn?: readonly string[];
  readonly recover?: RecoveryConfig;
  /** Runs remembered. @default 128 */
  readonly history?: number;
  /** A check that keeps changing is `degraded`, code `FLAPPING`, until it settles. `false` turns this off. @default true */
  readonly flapDetection?: boolean;
}

/** How a manager is made. */
export interface HealthCheckManagerOptions {
  /** The configuration of a check, where it says nothing itself. */
  readonly defaults?: HealthCheckConfig;
  /** How long `start()` waits for first results. @default '5s' */
  readonly startTimeout?: Duration;
  readonly logger?: Logger;
  readonly metrics?: MetricsSink;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** {@link HealthCheckManagerOptions} with every default filled in. */
export interface ResolvedManagerOptions {
  readonly defaults: HealthCheckConfig;
  readonly startTimeoutMs: number;
  readonly logger: Logger;
  readonly metrics: MetricsSink;
  readonly clock: Clock;
  readonly random: Random;
}

/** {@link HealthCheckConfig} with every default filled in; times in milliseconds. */
export interface ResolvedConfig {
  readonly intervalMs: number;
  readonly failingIntervalMs: number;
  readonly timeoutMs: number;
  readonly failureThreshold: number;
  readonly successThreshold: number;
  readonly critical: boolean;
  readonly groups: readonly HealthGroup[];
  readonly maxAgeMs: number;
  readonly jitter: number;
  readonly dependsOn: readonly string[];
  readonly recover: ResolvedRecovery | undefined;
  readonly history: number;
  readonly flapDetection: boolean;
}

/** {@link RecoveryConfig} with every default filled in. */
export interface ResolvedRecovery {
  readonly action: RecoveryConfig['action'];
  readonly after: number;
  readonly backoffMs: number;
  readonly maxAttempts: number;
}

/** Fills in what a manager was not told. */
export function resolveManagerOptions(options: HealthCheckManagerOptions = {}): ResolvedManagerOptions {
  resolveConfig({}, options.defaults ?? {}, 'defaults');
  return Object.freeze({
    defaults: options.defaults ?? {},
    startTimeoutMs: toMilliseconds(options.startTimeout ?? '5s', 'startTimeout'),
    logger: options.logger ?? silentLogger,
    metrics: options.metrics ?? noopMetrics,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
  });
}

const MAX_HISTORY = 10_000;

/** Validates one check's configuration. @param path - names the option in an error */
export function resolveConfig(
  defaults: HealthCheckConfig,
  config: HealthCheckConfig,
  path = 'config',
): ResolvedConfig {
  const given = { ...defaults, ...config };
  const intervalMs = toMilliseconds(given.interval ?? '30s', `${path}.interval`, { min: 1 });
  const timeoutMs = toMilliseconds(given.timeout ?? Math.min(10_000, intervalMs), `${path}.timeout`, {
    min: 1,
  });
  const failureThreshold = whole(given.failureThreshold ?? 3, `${path}.failureThreshold`, 1, 1_000);
  return Object.freeze({
    intervalMs,
    timeoutMs,
    failureThreshold,
    failingIntervalMs: toMilliseconds(
      given.failingInterval ?? Math.min(5_000, intervalMs),
      `${path}.failingInterval`,
      {
        min: 1,
      },
    ),
    successThreshold: whole(given.successThreshold ?? 1, `${path}.successThreshold`, 1, 1_000),
    critical: flag(given.critical ?? true, `${path}.critical`),
    groups: names(given.groups ?? ['readiness'], `${path}.groups`),
    maxAgeMs: toMilliseconds(given.maxAge ?? 3 * intervalMs + timeoutMs, `${path}.maxAge`, { min: 1 }),
    jitter: fraction(given.jitter ?? 0.1, `${path}.jitter`),
    dependsOn: names(given.dependsOn ?? [], `${path}.dependsOn`, 0),
    recover:
      given.recover === undefined
        ? undefined
        : resolveRecovery(given.recover, failureThreshold, `${path}.recover`),
    history: whole(given.history ?? 128, `${path}.history`, 1, MAX_HISTORY),
    flapDetection: flag(given.flapDetection ?? true, `${path}.flapDetection`),
  });
}

function resolveRecovery(recover: RecoveryConfig, threshold: number, path: string): ResolvedRecovery {
  if (typeof recover.action !== 'function')
    throw new InvalidOptionError(`${path}.action`, 'must be a function');
  return {
    action: recover.action,
    after: whole(recover.after ?? threshold, `${path}.after`, 1, 10_000),
    backoffMs: toMilliseconds(recover.backoff ?? '10s', `${path}.backoff`, { min: 1 }),
    maxAttempts: whole(recover.maxAttempts ?? 5, `${path}.maxAttempts`, 1, 1_000_000),
  };
}

function whole(value: unknown, option: string, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new InvalidOptionError(option, `must be a whole number from ${min} to ${max}`);
}

function fraction(value: unknown, option: string): number {
  if (typeof value === 'number' && value >= 0 && value <= 1) return value;
  throw new InvalidOptionError(option, 'must lie between 0 and 1');
}

function flag(value: unknown, option: string): boolean {
  if (typeof value === 'boolean') return value;
  throw new InvalidOptionError(option, 'must be true or false');
}

function names(value: unknown, option: string, least = 1): readonly string[] {
  const valid =
    Array.isArray(value) &&
    value.length >= least &&
    value.every((name) => typeof name === 'string' && name !== '');
  if (!valid) throw new InvalidOptionError(option, 'must be a list of names');
  return Object.freeze([...new Set(value as string[])]);
}
