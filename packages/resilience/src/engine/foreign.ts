import { onAbort } from '@xiaoke/core';
import type { Runner } from './frame.ts';
import { BasePolicy, type Policy } from './policy.ts';
import { Attempt } from './scope.ts';

/** `policy` around `inner`. One that was made elsewhere brings a context of its own, which is joined to our scopes. */
export function aroundWith(policy: Policy<unknown>, inner: Runner): Runner {
  if (policy instanceof BasePolicy) return policy.around(inner);
  return {
    run: (scope, operation) =>
      policy.execute(
        async ({ signal, attempt: number }) => {
          const attempt = new Attempt(scope, number, 0);
          attempt.cancellable = true;
          const unlink = onAbort(signal, (reason) => attempt.cancel(reason, 'caller', false));
          try {
            return await inner.run(attempt, operation);
          } finally {
            unlink();
          }
        },
        { ...scope.call.options, signal: scope.signal },
      ),
  };
}
