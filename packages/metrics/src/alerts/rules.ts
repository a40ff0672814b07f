import { InvalidOptionError } from '@xiaoke/core';
import { checkLabelName, checkMetricName } from '../names.ts';
import { Query } from '../store/promql/query.ts';
import { parseDuration } from '../store/promql/durations.ts';
import { compileTemplate, type Template } from './template.ts';

/** A series computed from others, under a name of its own. */
export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** A condition, and what to say when it holds. */
export interface AlertingRule {
  readonly alert: string;
  readonly expr: string;
  /** How long it has to hold, in Prometheus's form: `5m`, `1h30m`. @default '0s' */
  readonly for?: string;
  /** How long it goes on firing after it stopped to hold. @default '0s' */
  readonly keep_firing_for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A rule, as in a Prometheus rule file. */
export type Rule = RecordingRule | AlertingRule;

/** Rules that are evaluated in order, together. */
export interface RuleGroup {
  readonly name: string;
  /** @default the manager's */
  readonly interval?: string;
  readonly rules: readonly Rule[];
}

/** A rule that was checked and compiled. */
export interface CompiledRule {
  readonly rule: Rule;
  readonly query: Query;
  /** Milliseconds. */
  readonly holdFor: number;
  readonly keepFiringFor: number;
  readonly labels: readonly (readonly [string, Template])[];
  readonly annotations: readonly (readonly [string, Template])[];
}

/** A group that was checked and compiled. */
export interface CompiledGroup {
  readonly name: string;
  /** Milliseconds, where it has its own. */
  readonly interval: number | undefined;
  readonly rules: readonly CompiledRule[];
}

/**
 * Checks and compiles rules.
 *
 * @throws `INVALID_OPTION`, or `PROMQL_SYNTAX` and `PROMQL_UNSUPPORTED` for an expression
 */
export function compileGroups(groups: readonly RuleGroup[]): readonly CompiledGroup[] {
  if (!Array.isArray(groups)) throw new InvalidOptionError('rules', 'must be a list of groups');
  const names = new Set<string>();
  return (groups as readonly RuleGroup[]).map((group, i) => {
    const option = `rules[${i}]`;
    if (typeof group.name !== 'string' || group.name === '' || names.has(group.name)) {
      throw new InvalidOptionError(`${option}.name`, 'must be a name that no other group has');
    }
    names.add(group.name);
    if (!Array.isArray(group.rules)) throw new InvalidOptionError(`${option}.rules`, 'must be a list');
    const interval = group.interval === undefined ? undefined : parseDuration(group.interval);
    const rules = (group.rules as readonly Rule[]).map((rule, j) =>
      compileRule(rule, `${option}.rules[${j}]`),
    );
    return { name: group.name, interval, rules };
  });
}

function compileRule(rule: Rule, option: string): CompiledRule {
  const alerting = 'alert' in rule;
  const name = alerting ? rule.alert : rule.record;
  if (typeof name !== 'string' || name === '') throw new InvalidOptionError(option, 'needs alert or record');
  if (!alerting) checkMetricName(name, `${option}.record`);
  const query = new Query(rule.expr);
  if (query.type !== 'vector' && query.type !== 'scalar') {
    throw new InvalidOptionError(`${option}.expr`, 'must give a vector or a scalar');
  }
  const templates = (of: Readonly<Record<string, string>> = {}, what: string): CompiledRule['labels'] =>
    Object.entries(of).map(([key, text]) => {
      checkLabelName(key, `${option}.${what}.${key}`);
      return [key, compileTemplate(text, `${option}.${what}.${key}`)] as const;
    });
  return {
    rule,
    query,
    holdFor: alerting && rule.for !== undefined ? parseDuration(rule.for) : 0,
    keepFiringFor: alerting && rule.keep_firing_for !== undefined ? parseDuration(rule.keep_firing_for) : 0,
    labels: templates(rule.labels, 'labels'),
    annotations: templates(alerting ? rule.annotations : {}, 'annotations'),
  };
}
