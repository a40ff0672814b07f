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

/** The public report: statuses and codes. It is frozen, since everybody who asks gets the same one until a word changes. */
export function makePublicReport(
  status: HealthStatus,
  group: string | undefined,
  checks: readonly PublicCheck[],
): HealthReport {
  const entries = checks.map(({ name, critical, outcome: { status: of, code } }) => {
    const reported = { status: of, ...(code === undefined ? {} : { code }), critical };
    return [name, Object.freeze(reported)] as const;
  });
  return makeReport(status, group, entries);
}

/** What a public report says of a check. */
export interface PublicCheck {
  readonly name: string;
  readonly critical: boolean;
  readonly outcome: { readonly status: HealthStatus; readonly code?: string | undefined };
}

/** A report that says everything. */
export function makeDetailedReport(
  status: HealthStatus,
  group: string | undefined,
  checks: readonly CheckSnapshot[],
): HealthReport {
  return makeReport(
    status,
    group,
    checks.map((check) => [check.name, detailed(check)] as const),
  );
}

function makeReport(
  status: HealthStatus,
  group: string | undefined,
  entries: readonly (readonly [string, ReportedCheck])[],
): HealthReport {
  const checks = Object.freeze(Object.fromEntries(entries));
  return Object.freeze({ status, ...(group === undefined ? {} : { group }), checks });
}

function detailed(check: CheckSnapshot): ReportedCheck {
  const { status, code, critical, ageSeconds, durationMs, since, flapping, consecutiveFailures, observed } =
    check;
  return {
    status,
    ...(code === undefined ? {} : { code }),
    critical,
    ...(ageSeconds === undefined ? {} : { ageSeconds: Math.round(ageSeconds * 1_000) / 1_000 }),
    ...(durationMs === undefined ? {} : { durationMs: Math.round(durationMs * 1_000) / 1_000 }),
    ...(since === undefined ? {} : { since: new Date(since).toISOString() }),
    ...(observed === undefined ? {} : { observed }),
    flapping,
    consecutiveFailures,
  };
}
