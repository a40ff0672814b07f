import type { HealthStatus } from '@xiaoke/core';
import type { CheckOutcome } from './check-result.ts';

/** A check as it stands now. */
export interface CheckSnapshot {
  readonly name: string;
  /** After thresholds, flap detection, age and parents. */
  readonly status: HealthStatus;
  readonly code?: string | undefined;
  readonly critical: boolean;
  readonly groups: readonly string[];
  /** When the last run ended, in milliseconds since the epoch; `undefined` before the first. */
  readonly checkedAt: number | undefined;
  /** Seconds since the last run ended. */
  readonly ageSeconds: number | undefined;
  /** Of the last run, in milliseconds. */
  readonly durationMs: number | undefined;
  /** When the status last changed. */
  readonly since: number | undefined;
  readonly consecutiveFailures: number;
  readonly flapping: boolean;
  readonly observed?: CheckOutcome['observed'];
}

/** One run that has ended. */
export interface CheckRecord {
  /** When it ended, in milliseconds since the epoch. */
  readonly at: number;
  readonly durationMs: number;
  /** What the run itself found, before thresholds. */
  readonly status: HealthStatus;
  readonly code?: string | undefined;
}

/** How much of a window a check was up. */
export interface Uptime {
  /** The share of the time, 0 to 1, in which it was healthy or degraded; `undefined` when nothing is known. */
  readonly ratio: number | undefined;
  readonly downMs: number;
  /** How much of the window is known. */
  readonly knownMs: number;
  readonly samples: number;
  /** Durations of the remembered runs, in milliseconds. */
  readonly latencyMs: {
    readonly p50: number;
    readonly p95: number;
    readonly p99: number;
    readonly max: number;
  };
}

/** A change of a status, for callbacks. */
export interface StatusChange {
  readonly at: number;
  /** The group whose status changed; `undefined` for the overall status and for one check. */
  readonly group?: string | undefined;
  /** The check whose status changed. */
  readonly check?: string | undefined;
  readonly from: HealthStatus;
  readonly to: HealthStatus;
  readonly code?: string | undefined;
  /** The checks that are not healthy now. */
  readonly failing: readonly string[];
}
