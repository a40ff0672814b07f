import { InvalidOptionError } from '@xiaoke/core';
import type { CheckResult } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';

type CheckFunction = (context: CheckContext) => CheckResult | Promise<CheckResult>;

/** A check of your own. */
export class CustomHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind: 'dependency' | 'process';
  readonly #check: CheckFunction;

  /** @param kind - `dependency` keeps it out of liveness. @default 'process' */
  constructor(check: CheckFunction, kind?: HealthChecker['kind']);
  constructor(name: string, check: CheckFunction, kind?: HealthChecker['kind']);
  constructor(...args: readonly unknown[]) {
    const [name, check, kind] = typeof args[0] === 'string' ? args : ['custom', ...args];
    if (typeof check !== 'function') throw new InvalidOptionError('check', 'must be a function');
    this.name = name as string;
    this.kind = kind === 'dependency' ? 'dependency' : 'process';
    this.#check = check as CheckFunction;
  }

  check(context: CheckContext): CheckResult | Promise<CheckResult> {
    return this.#check(context);
  }
}
