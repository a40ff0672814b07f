import { InvalidOptionError } from '@xiaoke/core';
import { parse } from 'yaml';
import type { Rule, RuleGroup } from './rules.ts';

/** Reads a Prometheus rule file. */
export function parseRules(yaml: string): readonly RuleGroup[] {
  let document: unknown;
  try {
    document = parse(yaml, { maxAliasCount: 100 });
  } catch (cause) {
    throw new InvalidOptionError('rules', 'is no YAML', { cause });
  }
  const groups =
    typeof document === 'object' && document !== null && 'groups' in document ? document.groups : undefined;
  if (!Array.isArray(groups)) throw new InvalidOptionError('rules', 'must have a list of groups');
  return groups as readonly RuleGroup[];
}

/** Writes a Prometheus rule file; expressions come out as they went in. */
export function printRules(groups: readonly RuleGroup[]): string {
  let text = 'groups:\n';
  for (const group of groups) {
    text += `  - name: ${quote(group.name)}\n`;
    if (group.interval !== undefined) text += `    interval: ${group.interval}\n`;
    text += '    rules:\n';
    for (const rule of group.rules) text += printRule(rule);
  }
  return text;
}

function printRule(rule: Rule): string {
  const alerting = 'alert' in rule;
  let text = alerting ? `      - alert: ${quote(rule.alert)}\n` : `      - record: ${quote(rule.record)}\n`;
  text += printExpr(rule.expr);
  if (alerting && rule.for !== undefined) text += `        for: ${rule.for}\n`;
  if (alerting && rule.keep_firing_for !== undefined)
    text += `        keep_firing_for: ${rule.keep_firing_for}\n`;
  text += printMap('labels', rule.labels);
  return alerting ? text + printMap('annotations', rule.annotations) : text;
}

function printExpr(expr: string): string {
  // A block keeps several lines readable; text that a block would change is quoted.
  if (!expr.includes('\n') || /^\s|\r|\t|[ \n]$/.test(expr)) return `        expr: ${quote(expr)}\n`;
  return `        expr: |-\n${expr.replaceAll(/^(?=.)/gm, '          ')}\n`;
}

function printMap(name: string, values: Readonly<Record<string, string>> | undefined): string {
  const entries = Object.entries(values ?? {});
  if (entries.length === 0) return '';
  return `        ${name}:\n${entries.map(([key, value]) => `          ${key}: ${quote(value)}\n`).join('')}`;
}

// JSON's strings are YAML's double-quoted ones.
function quote(text: string): string {
  return JSON.stringify(text);
}
