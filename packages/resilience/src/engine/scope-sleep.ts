import type { Clock } from '@xiaoke/core';
import type { Scope } from './scope.ts';

/** Waits inside a scope; when the scope is given up, it rejects with the reason at once and leaves no timer. */
export function abortableSleep(scope: Scope, delay: number, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => {
      scope.child = undefined;
      resolve();
    }, delay);
    scope.child = {
      cancel(reason) {
        timer.cancel();
        reject(reason);
      },
    };
  });
}
