import { expectTypeOf } from 'vitest';
import {
  circuitBreaker,
  fallback,
  pipeline,
  protectedBy,
  retry,
  retryable,
  timeout,
  type Policy,
} from '@xiaoke/resilience';

// A policy keeps the type of the operation, and a fallback widens it.
const plain = retry().execute(async () => 42);
expectTypeOf(plain).toEqualTypeOf<Promise<number>>();
const widened = fallback<string>('none').execute(async () => 42);
expectTypeOf(widened).toEqualTypeOf<Promise<number | string>>();
const both = pipeline(fallback(null), retry(), timeout('1s')).execute(() => 'text');
expectTypeOf(both).toEqualTypeOf<Promise<string | null>>();

// A wrapped function keeps its arguments.
const wrapped = circuitBreaker().wrap(async (a: string, b: number) => a.length + b);
expectTypeOf(wrapped).toEqualTypeOf<(a: string, b: number) => Promise<number>>();
// @ts-expect-error the second argument is a number
void wrapped('a', 'b');

// Any pipeline is a policy.
export const policy: Policy<null> = pipeline(fallback(null), retry());
// @ts-expect-error this one may give null
export const strict: Policy = pipeline(fallback(null), retry());

export class Decorated {
  @retryable()
  async load(id: string): Promise<number> {
    return id.length;
  }

  // @ts-expect-error a method that is not asynchronous cannot be retried in place
  @protectedBy('p')
  synchronous(): number {
    return 1;
  }
}
