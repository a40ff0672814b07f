import { InvalidOptionError } from '@xiaoke/core';
import { parseRules } from './rule-yaml.ts';
import type { Rule, RuleGroup } from './rules.ts';

/** Rules as they may be given: groups, rules without a group, the content of a rule file, or its text. */
export type RuleInput =
  | readonly RuleGroup[]
  | readonly Rule[]
  | { readonly groups: readonly RuleGroup[] }
  | string;

/** Rules in groups. */
export function groupsOf(rules: RuleInput): readonly RuleGroup[] {
  if (typeof rules === 'string') return parseRules(rules);
  if (typeof rules === 'object' && rules !== null && 'groups' in rules) return groupsOf(rules.groups);
  if (!Array.isArray(rules))
    throw new InvalidOptionError('rules', 'must be groups, rules, or the text of a rule file');
  const single = (rules as readonly (Rule | RuleGroup)[]).filter(
    (one): one is Rule => typeof one === 'object' && one !== null && ('alert' in one || 'record' in one),
  );
  if (single.length === 0) return rules as readonly RuleGroup[];
  const groups = (rules as readonly (Rule | RuleGroup)[]).filter(
    (one): one is RuleGroup => !single.includes(one as Rule),
  );
  return [...groups, { name: 'rules', rules: single }];
}
