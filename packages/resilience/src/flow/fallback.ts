import { InvalidOptionError } from '@xiaoke/core';
import type { Part } from '../engine/compile.ts';
import type { Operation, OperationContext } from '../engine/context.ts';
import type { Runner } from '../engine/frame.ts';
import { BasePolicy, policyName, type Listenable, type Policy, type PolicyStats } from '../engine/policy.ts';
import { Attempt, type Scope } from '../engine/scope.ts';
import { checkFunction, checkObject } from '../options.ts';

/** Makes a substitute for a failed call. */
export type FallbackHandler<V> = (error: unknown, context: OperationContext) => V | PromiseLike<V>;

/** A substitute, or how to make one. A function is always called, never the substitute itself. */
export type FallbackStep<V> = V | FallbackHandler<V>;

/** Options of {@link fallbackWhen}. */
export interface FallbackOptions {
  readonly name?: string | undefined;
  /** Which errors are substituted. @default all */
  readonly when?: ((error: unknown) => boolean) | undefined;
}

/** What a {@link fallback} saw. */
export interface FallbackStats extends PolicyStats {
  readonly kind: 'fallback';
  readonly calls: number;
  readonly used: number;
  /** `usedStep[n]` calls were answered by step `n`. */
  readonly usedStep: readonly number[];
  /** Calls for which every step failed. */
  readonly exhausted: number;
}

/** The events of a {@link fallback}. */
export interface FallbackEvents {
  fallback: [event: { readonly policy: string; readonly step: number; readonly error: unknown }];
}

/** A {@link fallback}. */
export interface FallbackPolicy<V> extends Policy<V>, Listenable<FallbackEvents> {
  readonly kind: 'fallback';
  stats(): FallbackStats;
}

/**
 * Answers for a call that failed: with the first step, or, when that throws, with the next. When all fail, the error of
 * the last step is thrown. An abort by the caller is never answered.
 *
 * @example
 * ```ts run
 * import { fallback } from '@xiaoke/resilience';
 * const cache = new Map([['rate', 7]]);
 * const policy = fallback(() => cache.get('rate') ?? Promise.reject(new Error('not cached')), 1);
 * console.log(await policy.execute(() => Promise.reject(new Error('down')))); // => 7
 * ```
 */
export function fallback<V>(
  ...steps: readonly [FallbackStep<V>, ...(readonly FallbackStep<V>[])]
): FallbackPolicy<V> {
  return new Fallback<V>({}, steps);
}

/**
 * {@link fallback} for some errors only.
 *
 * @throws InvalidOptionError for a bad option, or without a step
 */
export function fallbackWhen<V>(
  options: FallbackOptions,
  ...steps: readonly FallbackStep<V>[]
): FallbackPolicy<V> {
  return new Fallback<V>(options, steps);
}

class Fallback<V> extends BasePolicy<V, FallbackEvents> implements FallbackPolicy<V> {
  readonly kind = 'fallback';
  override readonly timeless = true;
  readonly #steps: readonly FallbackStep<V>[];
  readonly #when: (error: unknown) => boolean;
  #calls = 0;
  #exhausted = 0;
  readonly #usedStep: number[];

  constructor(options: FallbackOptions, steps: readonly FallbackStep<V>[]) {
    checkObject('', options, ['name', 'when']);
    super(policyName('fallback', options.name), undefined);
    if (steps.length === 0) throw new InvalidOptionError('steps', 'must hold at least one substitute');
    this.#when = checkFunction('when', options.when) ?? (() => true);
    this.#steps = steps;
    this.#usedStep = steps.map(() => 0);
  }

  parts(): readonly Part[] {
    const around = (inner: Runner): Runner => ({
      run: (scope, operation) => this.#run(inner, scope, operation),
    });
    return [{ type: 'around', around, clock: undefined }];
  }

  stats(): FallbackStats {
    const used = this.#usedStep.reduce((sum, count) => sum + count, 0);
    return {
      kind: this.kind,
      name: this.name,
      calls: this.#calls,
      used,
      usedStep: [...this.#usedStep],
      exhausted: this.#exhausted,
    };
  }

  async #run(inner: Runner, scope: Scope, operation: Operation<unknown>): Promise<unknown> {
    this.#calls += 1;
    try {
      return await inner.run(scope, operation);
    } catch (error) {
      if (scope.cause !== 'none' || !this.#when(error)) throw error;
      return await this.#substitute(error, scope);
    }
  }

  async #substitute(error: unknown, scope: Scope): Promise<unknown> {
    const context = new Attempt(scope, scope.attempt, scope.hedge);
    let seen = error;
    for (const [step, substitute] of this.#steps.entries()) {
      try {
        const value: unknown =
          typeof substitute === 'function'
            ? await (substitute as FallbackHandler<V>)(seen, context)
            : substitute;
        this.#usedStep[step] = (this.#usedStep[step] ?? 0) + 1;
        this.emit('fallback', { policy: this.name, step, error });
        return value;
      } catch (failure) {
        seen = failure;
      }
    }
    this.#exhausted += 1;
    throw seen;
  }
}
