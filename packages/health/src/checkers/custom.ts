import { InvalidOptionError } from '@xiaoke/core';
import type { CheckResult } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';

/** A check of your own. */
export class CustomHealthChecker implements HealthChecker {
  readonly kind: HealthChecker['kind'];
  readonly #check: (context: CheckContext) => CheckResult | Promise<CheckResult>;

  /** @param kind - `dependency` keeps it out of liveness. @default 'process' */
  constructor(
    check: (context: CheckContext) => CheckResult | Promise<CheckResult>,
    kind: HealthChecker['kind'] = 'process',
  ) {
    if (typeof check !== 'function') throw new InvalidOptionError('check', 'must be a function');
    this.kind = kind;
    this.#check = check;
  }

  check(context: CheckContext): CheckResult | Promise<CheckResult> {
    return this.#check(context);
  }
}
