import { InvalidOptionError } from '@xiaoke/core';
import type { Operation } from '../operation.ts';
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
    const errors = (window: string): string =>
      `(sum by (service) (rate(${name}_processed_total{outcome="error"}[${window}])) / ` +
      `sum by (service) (rate(${name}_processed_total{outcome!="rejected"}[${window}])))`;
    return BURNS.map((burn): AlertingRule => {
      const limit = `(${burn.factor} * ${Number((1 - slo.objective).toPrecision(6))})`;
      return {
        alert: `${title}ErrorBudgetBurn`,
        expr: `${errors(burn.long)} > ${limit} and ${errors(burn.short)} > ${limit}`,
        for: burn.for,
        labels: { severity: burn.severity, component: 'business', window: burn.long },
        annotations: {
          summary: `${name} of {{ $labels.service }} burns its error budget ${burn.factor} times too fast`,
        },
      };
    });
  });
  return { name: 'slo', rules };
}
