import { formatValue } from '../names.ts';
import type { Alert, RuleState } from './rule-state.ts';
import type { CompiledRule } from './rules.ts';

/** A rule as it is evaluated; a recording rule has no state. */
export interface EvaluatedRule {
  readonly compiled: CompiledRule;
  readonly state: RuleState | undefined;
}

/** A group as it is evaluated; the interval is in milliseconds. */
export interface EvaluatedGroup {
  readonly name: string;
  readonly interval: number;
  readonly rules: readonly EvaluatedRule[];
}

/** A group as `/api/v1/rules` shows it. */
export function groupApi({ name, interval, rules }: EvaluatedGroup): object {
  return { name, file: 'xiaoke', interval: interval / 1_000, rules: rules.map(ruleApi) };
}

/** An alert as `/api/v1/alerts` shows it. */
export function alertApi({ labels, annotations, state, activeAt, value }: Alert): object {
  return {
    labels,
    annotations,
    state,
    activeAt: new Date(activeAt).toISOString(),
    value: formatValue(value),
  };
}

function ruleApi({ compiled, state }: EvaluatedRule): object {
  const { rule } = compiled;
  const shown = {
    name: 'alert' in rule ? rule.alert : rule.record,
    query: rule.expr,
    labels: rule.labels ?? {},
    health: state?.lastError === undefined ? 'ok' : 'err',
    ...(state?.lastError === undefined ? {} : { lastError: state.lastError }),
  };
  if (state === undefined) return { ...shown, type: 'recording' };
  return {
    ...shown,
    type: 'alerting',
    state: worst(state.alerts),
    duration: compiled.holdFor / 1_000,
    keepFiringFor: compiled.keepFiringFor / 1_000,
    annotations: ('annotations' in rule && rule.annotations) || {},
    alerts: state.alerts.filter((alert) => alert.state !== 'resolved').map(alertApi),
  };
}

function worst(alerts: readonly Alert[]): 'firing' | 'pending' | 'inactive' {
  if (alerts.some(({ state }) => state === 'firing')) return 'firing';
  return alerts.some(({ state }) => state === 'pending') ? 'pending' : 'inactive';
}

/** How many alerts of a name and severity are in which state. */
export interface StateCount {
  readonly alert: string;
  readonly severity: string;
  pending: number;
  firing: number;
}

/** Counts alerts by name, severity and state; rules that hold for nothing count 0. */
export function countStates(states: readonly RuleState[]): Iterable<StateCount> {
  const counts = new Map<string, StateCount>();
  for (const { name, compiled, alerts } of states) {
    const severity = compiled.rule.labels?.['severity'] ?? '';
    const key = `${name} ${severity}`;
    const count = counts.get(key) ?? { alert: name, severity, pending: 0, firing: 0 };
    for (const { state } of alerts) if (state !== 'resolved') count[state] += 1;
    counts.set(key, count);
  }
  return counts.values();
}
