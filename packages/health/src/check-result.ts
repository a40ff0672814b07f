import type { HealthStatus } from '@xiaoke/core';

/** What a check saw, in full. */
export interface CheckOutcome {
  readonly status: HealthStatus;
  /** A stable word for what is wrong, such as `TIMEOUT`; the only thing a public report says. */
  readonly code?: string | undefined;
  /** Numbers and words for a detailed report. Never put a secret or a driver's message here. */
  readonly observed?: Readonly<Record<string, number | string | boolean>> | undefined;
}

/** What a check may give: an outcome, a status, or whether it is well; nothing means well. To throw means unhealthy. */
export type CheckResult = CheckOutcome | HealthStatus | boolean | void;

const HEALTHY: CheckOutcome = Object.freeze({ status: 'healthy' });
const STATUSES: ReadonlySet<unknown> = new Set(['healthy', 'degraded', 'unhealthy', 'unknown']);
const CODE = /^[A-Za-z0-9_.-]{1,64}$/;

/** Turns what a check gave into an outcome; what makes no sense is an unhealthy one with the code `BAD_RESULT`. */
export function toOutcome(result: unknown): CheckOutcome {
  if (result === undefined || result === true) return HEALTHY;
  if (result === false) return { status: 'unhealthy', code: 'FAILED' };
  if (isStatus(result)) return { status: result };
  if (typeof result !== 'object' || result === null || !('status' in result) || !isStatus(result.status)) {
    return { status: 'unhealthy', code: 'BAD_RESULT' };
  }
  const { status } = result;
  const code =
    'code' in result && typeof result.code === 'string' && CODE.test(result.code) ? result.code : undefined;
  return { status, code, observed: 'observed' in result ? observedOf(result.observed) : undefined };
}

/** What a check that threw comes to: the code that it threw if that is a short word, never its message. */
export function failureOf(error: unknown): CheckOutcome {
  const code: unknown =
    typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return { status: 'unhealthy', code: typeof code === 'string' && CODE.test(code) ? code : 'FAILED' };
}

function isStatus(value: unknown): value is HealthStatus {
  return STATUSES.has(value);
}

const OBSERVED_LIMIT = 20;
const TEXT_LIMIT = 200;

function observedOf(value: unknown): CheckOutcome['observed'] {
  if (typeof value !== 'object' || value === null) return undefined;
  const kept = Object.entries(value)
    .filter(
      ([, entry]) => typeof entry === 'number' || typeof entry === 'boolean' || typeof entry === 'string',
    )
    .slice(0, OBSERVED_LIMIT)
    .map(
      ([name, entry]) =>
        [name, typeof entry === 'string' ? entry.slice(0, TEXT_LIMIT) : (entry as number)] as const,
    );
  return Object.fromEntries(kept);
}
