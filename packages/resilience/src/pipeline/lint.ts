import type { Policy, PolicyKind } from '../engine/policy.ts';

/** An order of policies that does something else than it seems to. */
export interface LintWarning {
  readonly rule:
    | 'bulkhead-outside-retry'
    | 'breaker-outside-retry'
    | 'limit-outside-fallback'
    | 'two-retries'
    | 'collapse-inside-retry'
    | 'hedge-outside-retry'
    | 'attempt-timeout-too-long'
    | 'no-timeout';
  readonly message: string;
}

/** Finds orders that are likely mistakes. `policies` are outermost first. */
export function lintPolicies(policies: readonly Policy<unknown>[]): readonly LintWarning[] {
  const kinds = policies.map((policy) => policy.kind);
  const retry = kinds.indexOf('retry');
  const found: LintWarning[] = [];
  const warn = (rule: LintWarning['rule'], message: string): void => void found.push({ rule, message });
  const outside = (kind: PolicyKind): boolean => retry > 0 && kinds.slice(0, retry).includes(kind);
  if (outside('bulkhead') || outside('adaptiveConcurrency'))
    warn('bulkhead-outside-retry', 'A place is held while a retry waits; put the bulkhead inside the retry.');
  if (outside('circuitBreaker'))
    warn('breaker-outside-retry', 'The circuit sees calls, not attempts; put it inside the retry.');
  if (outside('hedge'))
    warn('hedge-outside-retry', 'Every hedge retries by itself; put the hedge inside the retry.');
  if (kinds.filter((kind) => kind === 'retry').length > 1)
    warn('two-retries', 'Two retries multiply their attempts; keep one.');
  if (retry !== -1 && kinds.slice(retry).includes('collapse'))
    warn('collapse-inside-retry', 'Collapsed calls retry apart; put collapse outside the retry.');
  if (kinds.slice(1).includes('fallback'))
    warn('limit-outside-fallback', 'What is outside the fallback never sees a failure; put it first.');
  lintTimeouts(policies, retry, warn);
  return found;
}

function lintTimeouts(
  policies: readonly Policy<unknown>[],
  retry: number,
  warn: (rule: LintWarning['rule'], message: string) => void,
): void {
  const limits = policies.map((policy) => timeoutOf(policy));
  if (retry !== -1 && limits.every((limit) => limit === undefined))
    warn('no-timeout', 'Without a timeout one hung attempt is the whole call; add one inside the retry.');
  const total = limits.slice(0, Math.max(0, retry)).find((limit) => limit !== undefined);
  const attempt = limits.slice(retry + 1).find((limit) => limit !== undefined);
  if (total !== undefined && attempt !== undefined && attempt >= total)
    warn('attempt-timeout-too-long', 'One attempt may use up the whole time; make its timeout shorter.');
}

function timeoutOf(policy: Policy<unknown>): number | undefined {
  if (policy.kind !== 'timeout') return undefined;
  const stats = policy.stats();
  return 'timeoutMs' in stats && typeof stats.timeoutMs === 'number' ? stats.timeoutMs : undefined;
}
