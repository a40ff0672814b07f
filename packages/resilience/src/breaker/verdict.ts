import type { Clock } from '@xiaoke/core';
import type { Scope } from '../engine/scope.ts';
import { isThrottle } from '../retry/retry-after.ts';
import type { ResolvedBreakerOptions } from './breaker-options.ts';

/** What a call says about the dependency. */
export type Verdict = 'success' | 'failure' | 'ignored';

/**
 * Judges a call that ended. Aborts by the caller and refusals of policies further in say nothing; a limit of time that
 * passed is a failure. A predicate that throws does not change the default.
 */
export function verdictOn(scope: Scope, options: ResolvedBreakerOptions, clock: Clock): Verdict {
  const { outcome, settled } = scope;
  if (outcome === 'success') return verdictOnResult(settled, options, clock);
  if (outcome !== 'failure') return 'ignored';
  if (ask(options.ignoreIf, settled, false)) return 'ignored';
  if (!options.countThrottles && isThrottle(settled, clock.now())) return 'ignored';
  return ask(options.failureIf, settled, true) ? 'failure' : 'success';
}

function verdictOnResult(result: unknown, options: ResolvedBreakerOptions, clock: Clock): Verdict {
  if (!ask(options.failureIfResult, result, false)) return 'success';
  return !options.countThrottles && isThrottle(result, clock.now()) ? 'ignored' : 'failure';
}

function ask(
  predicate: ((value: unknown) => boolean) | undefined,
  value: unknown,
  otherwise: boolean,
): boolean {
  if (predicate === undefined) return otherwise;
  try {
    return predicate(value);
  } catch {
    return otherwise;
  }
}
