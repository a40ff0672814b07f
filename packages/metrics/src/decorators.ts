import { createDecorator, type Decorator } from '@xiaoke/core';

/** How a decorated method is measured. */
export interface MeasureOptions {
  readonly help?: string;
  /** Seconds, for `timed`. */
  readonly buckets?: readonly number[];
}

type Ended = (outcome: 'ok' | 'error') => void;

/** Makes a decorator that calls `begin` before the method, and what that gives when it has returned, settled or thrown. */
export function measuring(begin: () => Ended): Decorator<unknown> {
  return createDecorator<unknown>(
    (fn) =>
      function measured(this: unknown, ...args: unknown[]): unknown {
        const ended = begin();
        let result: unknown;
        try {
          result = fn.apply(this, args);
        } catch (error) {
          ended('error');
          throw error;
        }
        if (!isThenable(result)) {
          ended('ok');
          return result;
        }
        return result.then(
          (value: unknown) => {
            ended('ok');
            return value;
          },
          (error: unknown) => {
            ended('error');
            throw error;
          },
        );
      },
  );
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
