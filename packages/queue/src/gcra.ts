import type { RateRule } from './backend.ts';

/**
 * The generic cell rate algorithm with a burst of `limit`: one number, the theoretical arrival time of the next task,
 * is its whole memory. Over any span `t` it lets through at most `limit + limit · t / per`.
 */
export function gcraAllowance(rule: RateRule, tat: number, now: number): { allowed: number; nextMs: number } {
  const interval = rule.per / rule.limit;
  const room = now + rule.per - Math.max(tat, now);
  // The quotient of two floats can fall a hair short of a whole number.
  const allowed = Math.floor(room / interval + 1e-6);
  return { allowed, nextMs: allowed > 0 ? 0 : Math.max(1, Math.ceil(interval - room)) };
}

/** The memory after `count` tasks were let through. */
export function gcraTake(rule: RateRule, tat: number, now: number, count: number): number {
  return Math.max(tat, now) + (count * rule.per) / rule.limit;
}

/** The time at which the next task may pass. */
export function gcraSlot(rule: RateRule, tat: number, now: number): number {
  return Math.max(now, Math.ceil(Math.max(tat, now) + rule.per / rule.limit - rule.per));
}
