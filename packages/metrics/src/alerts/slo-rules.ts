import { InvalidOptionError } from '@xiaoke/core';
import { formatValue } from '../names.ts';
import { durationName, type Operation, type SloDefinition } from '../operation.ts';
import type { AlertingRule, RuleGroup } from './rules.ts';

/** How fast a budget is spent, over a long window and a short one that shows whether it goes on. */
const BURNS = [
  { factor: 14.4, long: '1h', short: '5m', for: '2m', severity: 'critical' },
  { factor: 6, long: '6h', short: '30m', for: '15m', severity: 'warning' },
] as const;

/**
 * Alerts for the objectives of operations: their error budget, and their latency budget where they have one, burning too
 * fast in two windows at once (Google's SRE workbook, chapter 5).
 */
export function sloRules(operations: readonly Pick<Operation, 'name' | 'slo'>[]): RuleGroup {
  const rules = operations.flatMap(({ name, slo }) => {
    if (slo === undefined)
      throw new InvalidOptionError('operations', `has "${name}", which has no objective`);
    const title = name.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const errors = burnRules(`${title}ErrorBudgetBurn`, `${name} of {{ $labels.service }} burns its error`, {
      objective: slo.objective,
      ratio: (window) => errorRatio(name, window),
    });
    if (slo.latency === undefined) return errors;
    const latency = slo.latency;
    const slow = burnRules(
      `${title}LatencyBudgetBurn`,
      `${name} of {{ $labels.service }} burns its latency`,
      {
        objective: latency.objective,
        ratio: (window) => slowRatio(name, latency, window),
      },
    );
    return [...errors, ...slow];
  });
  return { name: 'slo', rules };
}

interface Budget {
  readonly objective: number;
  /** The share that spends the budget, over a window. */
  readonly ratio: (window: string) => string;
}

function burnRules(alert: string, summary: string, { objective, ratio }: Budget): readonly AlertingRule[] {
  return BURNS.map((burn) => {
    const limit = `(${burn.factor} * ${Number((1 - objective).toPrecision(6))})`;
    return {
      alert,
      expr: `${ratio(burn.long)} > ${limit} and ${ratio(burn.short)} > ${limit}`,
      for: burn.for,
      labels: { severity: burn.severity, component: 'business', window: burn.long },
      annotations: { summary: `${summary} budget ${burn.factor} times too fast` },
    };
  });
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
