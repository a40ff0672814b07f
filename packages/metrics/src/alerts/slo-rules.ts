import { InvalidOptionError } from '@xiaoke/core';
import { formatValue } from '../names.ts';
import { durationName, type Operation, type SloDefinition } from '../operation.ts';
import type { Rule, RuleGroup } from './rules.ts';

/** How fast a budget is spent, over a long window and a short one that shows whether it goes on. */
const BURNS = [
  { factor: 14.4, long: '1h', short: '5m', for: '2m', severity: 'critical' },
  { factor: 6, long: '6h', short: '30m', for: '15m', severity: 'warning' },
] as const;

/**
 * Rules for the objectives of operations: how many times too fast their error budget burns, and their latency budget where
 * they have one (`operation:slo_burn:rate<window>`, 1 spends exactly the budget), and alerts for when it is too fast in two
 * windows at once (Google's SRE workbook, chapter 5).
 */
export function sloRules(operations: readonly Pick<Operation, 'name' | 'slo'>[]): RuleGroup {
  const rules = operations.flatMap(({ name, slo }) => {
    if (slo === undefined)
      throw new InvalidOptionError('operations', `has "${name}", which has no objective`);
    const errors: Budget = {
      operation: name,
      budget: 'errors',
      alert: 'ErrorBudgetBurn',
      objective: slo.objective,
      ratio: (window) => errorRatio(name, window),
    };
    if (slo.latency === undefined) return rulesOf(errors);
    const { latency } = slo;
    const slow: Budget = {
      operation: name,
      budget: 'latency',
      alert: 'LatencyBudgetBurn',
      objective: latency.objective,
      ratio: (window) => slowRatio(name, latency, window),
    };
    return [...rulesOf(errors), ...rulesOf(slow)];
  });
  return { name: 'slo', rules };
}

interface Budget {
  readonly operation: string;
  readonly budget: 'errors' | 'latency';
  readonly alert: string;
  readonly objective: number;
  /** The share that spends the budget, over a window. */
  readonly ratio: (window: string) => string;
}

function rulesOf({ operation, budget, alert, objective, ratio }: Budget): readonly Rule[] {
  const allowed = Number((1 - objective).toPrecision(6));
  const windows = BURNS.flatMap(({ long, short }) => [short, long]);
  const recordings = windows.map((window) => ({
    record: `operation:slo_burn:rate${window}`,
    expr: `${ratio(window)} / ${allowed}`,
    labels: { operation, budget },
  }));
  const title = operation.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const alerts = BURNS.map(({ factor, long, short, severity, for: holdFor }) => ({
    alert: `${title}${alert}`,
    expr: `${ratio(long)} > (${factor} * ${allowed}) and ${ratio(short)} > (${factor} * ${allowed})`,
    for: holdFor,
    labels: { severity, component: 'business', window: long },
    annotations: {
      summary: `${operation} of {{ $labels.service }} burns its ${budget === 'errors' ? 'error' : budget} budget ${factor} times too fast`,
    },
  }));
  return [...recordings, ...alerts];
}

function errorRatio(name: string, window: string): string {
  return (
    `(sum by (service) (rate(${name}_processed_total{outcome="error"}[${window}])) / ` +
    `sum by (service) (rate(${name}_processed_total{outcome!="rejected"}[${window}])))`
  );
}

function slowRatio(name: string, latency: NonNullable<SloDefinition['latency']>, window: string): string {
  const seconds = durationName(name);
  const bound = formatValue(latency.threshold);
  // Scraped as OpenMetrics or protobuf, a whole number has a fraction.
  const le = /^\d+$/.test(bound) ? `le=~"${bound}|${bound}[.]0"` : `le="${bound}"`;
  return (
    `(1 - sum by (service) (rate(${seconds}_bucket{${le}}[${window}])) / ` +
    `sum by (service) (rate(${seconds}_count[${window}])))`
  );
}
