import type { CircuitBreakerStats } from '../breaker/breaker-stats.ts';
import type { HedgeStats } from '../flow/hedge.ts';
import type { PipelineStats } from '../pipeline/pipeline.ts';
import type { PolicyStats } from '../engine/policy.ts';
import type { RetryStats } from '../retry/retry-stats.ts';
import type { TimeoutStats } from '../timeout/timeout.ts';

/** One piece of advice. */
export interface Finding {
  readonly policy: string;
  readonly code:
    | 'LATE_ATTEMPTS_USELESS'
    | 'AMPLIFICATION'
    | 'BUDGET_EXHAUSTED'
    | 'BREAKER_NEVER_TRIPPED'
    | 'BREAKER_FLAPS'
    | 'TIMEOUT_TOO_SHORT'
    | 'TIMEOUT_TOO_LONG'
    | 'LATE_SUCCESSES'
    | 'HEDGES_USELESS'
    | 'FIRST_RETRY_EFFECTIVE'
    | 'BULKHEAD_REJECTS';
  /** 0 to 1: how much it matters. */
  readonly severity: number;
  /** What was seen, with numbers, and what to do. */
  readonly advice: string;
  readonly numbers: Readonly<Record<string, number>>;
}

// Fewer calls say nothing.
const ENOUGH = 100;

/** What the statistics of one pipeline say. */
export function findingsOf(policy: string, stats: PipelineStats): readonly Finding[] {
  if (stats.calls < ENOUGH) return [];
  return stats.policies.flatMap((part) => {
    if (isKind<RetryStats>(part, 'retry')) return adviseOnRetry(policy, part);
    if (isKind<CircuitBreakerStats>(part, 'circuitBreaker')) return adviseOnBreaker(policy, part);
    if (isKind<TimeoutStats>(part, 'timeout')) return adviseOnTimeout(policy, part, stats);
    if (isKind<HedgeStats>(part, 'hedge')) return adviseOnHedge(policy, part);
    return [];
  });
}

function isKind<S extends PolicyStats>(stats: PolicyStats, kind: S['kind']): stats is S {
  return stats.kind === kind;
}

function adviseOnRetry(policy: string, retry: RetryStats): readonly Finding[] {
  return [
    lateAttempts(policy, retry),
    amplification(policy, retry),
    budget(policy, retry),
    firstRetry(policy, retry),
  ].flat();
}

function lateAttempts(
  policy: string,
  { successAfter, attemptHistogram, attempts }: RetryStats,
): readonly Finding[] {
  for (let attempt = 3; attempt <= attemptHistogram.length; attempt += 1) {
    const reached = sum(attemptHistogram.slice(attempt - 1));
    const helped = sum(successAfter.slice(attempt - 1));
    if (reached < ENOUGH / 5 || helped / reached >= 0.05) continue;
    const made = attemptHistogram.reduce(
      (all, count, index) => all + count * Math.max(0, index + 2 - attempt),
      0,
    );
    const load = made / attempts;
    return [
      {
        policy,
        code: 'LATE_ATTEMPTS_USELESS',
        severity: Math.min(1, 0.3 + load * 2),
        advice: `Attempt ${attempt} and later succeed in ${percent(helped / reached)} of ${reached} cases and are ${percent(load)} of the load: set attempts to ${attempt - 1}.`,
        numbers: { attempt, reached, helped, loadShare: load },
      },
    ];
  }
  return [];
}

function amplification(
  policy: string,
  { worstAmplification, amplification: usual, budgetBalance }: RetryStats,
): readonly Finding[] {
  if (worstAmplification < 1.3) return [];
  const remedy = budgetBalance === undefined ? 'give the retry a budget' : 'lower the budget or attempts';
  return [
    {
      policy,
      code: 'AMPLIFICATION',
      severity: Math.min(1, worstAmplification / 3),
      advice: `In the worst minute each call made ${worstAmplification.toFixed(2)} attempts: ${remedy}.`,
      numbers: { worstAmplification, amplification: usual },
    },
  ];
}

function budget(policy: string, { gaveUp, calls }: RetryStats): readonly Finding[] {
  const share = gaveUp.budget / calls;
  if (share < 0.01) return [];
  return [
    {
      policy,
      code: 'BUDGET_EXHAUSTED',
      severity: 0.5,
      advice: `The budget refused a retry to ${gaveUp.budget} calls (${percent(share)}): the dependency was failing as a whole; a circuit breaker refuses such calls sooner.`,
      numbers: { refused: gaveUp.budget, share },
    },
  ];
}

function firstRetry(
  policy: string,
  { successAfter, attemptHistogram, delayMs, attempts, calls }: RetryStats,
): readonly Finding[] {
  const retried = sum(attemptHistogram.slice(1));
  const helped = successAfter[1] ?? 0;
  const retries = attempts - calls;
  if (retried < ENOUGH / 5 || helped / retried < 0.9 || delayMs / retries < 40) return [];
  return [
    {
      policy,
      code: 'FIRST_RETRY_EFFECTIVE',
      severity: 0.2,
      advice: `The first retry succeeds in ${percent(helped / retried)} of cases after ${(delayMs / retries).toFixed(0)} ms on average: baseDelay can be 20 ms.`,
      numbers: { retried, helped, averageDelayMs: delayMs / retries },
    },
  ];
}

function adviseOnBreaker(policy: string, breaker: CircuitBreakerStats): readonly Finding[] {
  const { opened, worstFailureRate, minimumCalls, admitted } = breaker;
  const numbers = { opened, worstFailureRate, minimumCalls, admitted };
  if (opened === 0 && worstFailureRate >= 0.7) {
    const advice = `It never opened while the failure rate was ${percent(worstFailureRate)}: minimumCalls (${minimumCalls}) is more than the window sees.`;
    return [{ policy, code: 'BREAKER_NEVER_TRIPPED', severity: 0.8, advice, numbers }];
  }
  if (opened >= 5 && opened > admitted / 200) {
    const advice = `It opened ${opened} times in ${admitted} calls: let openFor grow, or ask for more halfOpenCalls.`;
    return [{ policy, code: 'BREAKER_FLAPS', severity: 0.6, advice, numbers }];
  }
  return [];
}

function adviseOnTimeout(
  policy: string,
  timeout: TimeoutStats,
  { latencyMs }: PipelineStats,
): readonly Finding[] {
  const { timeoutMs, timedOut, calls, lateSuccesses } = timeout;
  const share = timedOut / Math.max(1, calls);
  const numbers = { timeoutMs, timedOut, calls, lateSuccesses, p99: latencyMs.p99 };
  const found: Finding[] = [];
  if (share > 0.05) {
    const advice = `${percent(share)} of the calls run into the timeout of ${timeoutMs} ms, so it is p${Math.floor((1 - share) * 100)}: raise it, or refuse earlier.`;
    found.push({ policy, code: 'TIMEOUT_TOO_SHORT', severity: Math.min(1, 0.4 + share), advice, numbers });
  }
  if (timedOut > 0 && lateSuccesses / timedOut > 0.5) {
    const advice = `${lateSuccesses} of ${timedOut} calls that timed out succeeded later: work is thrown away; raise the timeout or let the operation heed its signal.`;
    found.push({ policy, code: 'LATE_SUCCESSES', severity: 0.5, advice, numbers });
  }
  if (timedOut === 0 && latencyMs.p99 > 0 && timeoutMs > latencyMs.p99 * 20) {
    const advice = `p99 is ${latencyMs.p99.toFixed(0)} ms, the timeout ${timeoutMs} ms: a hung call holds its place twenty times too long.`;
    found.push({ policy, code: 'TIMEOUT_TOO_LONG', severity: 0.2, advice, numbers });
  }
  return found;
}

function adviseOnHedge(policy: string, { started, won, afterMs }: HedgeStats): readonly Finding[] {
  if (started < ENOUGH / 5 || won / started >= 0.1) return [];
  const advice = `${percent(won / started)} of ${started} hedges won: start them later than after ${afterMs.toFixed(0)} ms.`;
  return [{ policy, code: 'HEDGES_USELESS', severity: 0.4, advice, numbers: { started, won, afterMs } }];
}

function sum(counts: readonly number[]): number {
  return counts.reduce((all, count) => all + count, 0);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}
