import type { HealthStatus } from '@xiaoke/core';
import type { CheckSnapshot } from './snapshot.ts';

/** One check in a report. What is public is a status and a code; the rest only stands in a detailed report. */
export interface ReportedCheck {
  readonly status: HealthStatus;
  readonly code?: string;
  readonly critical: boolean;
  readonly ageSeconds?: number;
  readonly durationMs?: number;
  readonly since?: string;
  readonly flapping?: boolean;
  readonly consecutiveFailures?: number;
  readonly observed?: Readonly<Record<string, number | string | boolean>>;
}

/** The status of a group and of its checks, from memory. */
export interface HealthReport {
  readonly status: HealthStatus;
  readonly group?: string;
  readonly checks: Readonly<Record<string, ReportedCheck>>;
}

/** Puts a report together. */
export function makeReport(
  status: HealthStatus,
  group: string | undefined,
  checks: readonly CheckSnapshot[],
  details: boolean,
): HealthReport {
  const entries = checks.map((check) => [check.name, details ? detailed(check) : brief(check)] as const);
  return { status, ...(group === undefined ? {} : { group }), checks: Object.fromEntries(entries) };
}

function brief({ status, code, critical }: CheckSnapshot): ReportedCheck {
  return { status, ...(code === undefined ? {} : { code }), critical };
}

function detailed(check: CheckSnapshot): ReportedCheck {
  const { ageSeconds, durationMs, since, flapping, consecutiveFailures, observed } = check;
  return {
    ...brief(check),
    ...(ageSeconds === undefined ? {} : { ageSeconds: Math.round(ageSeconds * 1_000) / 1_000 }),
    ...(durationMs === undefined ? {} : { durationMs: Math.round(durationMs * 1_000) / 1_000 }),
    ...(since === undefined ? {} : { since: new Date(since).toISOString() }),
    ...(observed === undefined ? {} : { observed }),
    flapping,
    consecutiveFailures,
  };
}
