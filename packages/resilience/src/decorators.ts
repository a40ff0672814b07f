import { createDecorator, InvalidOptionError, type Decorator, type UnknownFunction } from '@xiaoke/core';
import type { WrapOptions } from './engine/policy.ts';
import { getResilienceManager, type ResilienceManager } from './manager/resilience-manager.ts';
import { retry } from './retry/retry.ts';
import type { RetryOptions } from './retry/retry-options.ts';

/**
 * Retries a method or function; see {@link retry} for the options. All instances of a class share the budget.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { retryable } from '@xiaoke/resilience';
 * let runs = 0;
 * const load = retryable({ attempts: 3, baseDelay: 1 })(async () => {
 *   runs += 1;
 *   if (runs < 3) throw new Error('not yet');
 *   return runs;
 * });
 * console.log(await load()); // => 3
 * ```
 */
export function retryable(options: RetryOptions = {}): Decorator {
  return retry(options).decorate;
}

/** Options of {@link protectedBy}. */
export interface ProtectedByOptions extends WrapOptions {
  /** Where the policy is found. @default the manager of this process */
  readonly manager?: ResilienceManager | (() => ResilienceManager) | undefined;
}

/**
 * Runs a method or function under the manager's policy of this name. The policy is looked up at each call, so it may be
 * defined later and changed at any time; a call before that rejects with `UNKNOWN_POLICY`.
 *
 * @throws InvalidOptionError without a name
 */
export function protectedBy(name: string, options: ProtectedByOptions = {}): Decorator {
  if (typeof name !== 'string' || name === '')
    throw new InvalidOptionError('name', 'must be a non-empty string');
  const { manager = getResilienceManager, ...wrapOptions } = options;
  return createDecorator((fn) => {
    let wrapped: { readonly policy: unknown; readonly run: UnknownFunction } | undefined;
    return async function (this: unknown, ...args: unknown[]) {
      const policy = (typeof manager === 'function' ? manager() : manager).get(name);
      if (wrapped?.policy !== policy)
        wrapped = { policy, run: policy.wrap(fn, wrapOptions) as UnknownFunction };
      return await wrapped.run.apply(this, args);
    };
  });
}
