import { systemRandom, toMilliseconds, type Clock, type Duration, type Random } from '@xiaoke/core';
import type { Part } from '../engine/compile.ts';
import type { Operation } from '../engine/context.ts';
import type { Runner } from '../engine/frame.ts';
import { BasePolicy, policyName, type Policy, type PolicyStats } from '../engine/policy.ts';
import { abortableSleep } from '../engine/scope-sleep.ts';
import type { Scope } from '../engine/scope.ts';
import { checkFunction, checkNumber, checkObject } from '../options.ts';

/** Options of {@link faultInjection}. */
export interface FaultInjectionOptions {
  readonly name?: string | undefined;
  /** Whether faults are made now; asked for every call. @default true */
  readonly enabled?: boolean | (() => boolean) | undefined;
  /** Share of the calls that are delayed, and for how long. */
  readonly latency?: { readonly rate: number; readonly delay: Duration } | undefined;
  /** Share of the calls that fail instead of running, and with what. */
  readonly error?: { readonly rate: number; readonly make?: (() => unknown) | undefined } | undefined;
  /** Share of the calls that are answered instead of running, and with what. */
  readonly result?: { readonly rate: number; readonly make: () => unknown } | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** What a {@link faultInjection} did. */
export interface FaultInjectionStats extends PolicyStats {
  readonly kind: 'faultInjection';
  readonly calls: number;
  readonly delayed: number;
  readonly failed: number;
  readonly answered: number;
}

/** A {@link faultInjection}. */
export interface FaultInjectionPolicy extends Policy {
  readonly kind: 'faultInjection';
  stats(): FaultInjectionStats;
}

/**
 * Makes faults on purpose, to see what the policies around it do. Put it innermost.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { faultInjection, pipeline, retry } from '@xiaoke/resilience';
 * const faults = faultInjection({ error: { rate: 1, make: () => new Error('injected') } });
 * const policy = pipeline(retry({ attempts: 2, baseDelay: 1 }), faults);
 * console.log(await policy.execute(() => 'ok').catch((error) => error.message)); // => injected
 * ```
 */
export function faultInjection(options: FaultInjectionOptions): FaultInjectionPolicy {
  return new FaultInjection(options);
}

class FaultInjection extends BasePolicy<never, object> implements FaultInjectionPolicy {
  readonly kind = 'faultInjection';
  readonly #options: FaultInjectionOptions;
  readonly #delay: number;
  readonly #random: Random;
  readonly #counts = { calls: 0, delayed: 0, failed: 0, answered: 0 };

  constructor(options: FaultInjectionOptions) {
    checkObject('', options, ['name', 'enabled', 'latency', 'error', 'result', 'clock', 'random']);
    super(policyName('faultInjection', options.name), options.clock);
    for (const fault of ['latency', 'error', 'result'] as const)
      checkNumber(`${fault}.rate`, options[fault]?.rate ?? 0, { min: 0, max: 1 });
    checkFunction('error.make', options.error?.make);
    checkFunction('result.make', options.result?.make);
    this.#delay = toMilliseconds(options.latency?.delay ?? 0, 'latency.delay');
    this.#options = options;
    this.#random = options.random ?? systemRandom;
  }

  parts(): readonly Part[] {
    const around = (inner: Runner): Runner => ({
      run: (scope, operation) => this.#run(inner, scope, operation),
    });
    return [{ type: 'around', around, clock: this.clock }];
  }

  stats(): FaultInjectionStats {
    return { kind: this.kind, name: this.name, ...this.#counts };
  }

  async #run(inner: Runner, scope: Scope, operation: Operation<unknown>): Promise<unknown> {
    const { enabled = true, latency, error, result } = this.#options;
    this.#counts.calls += 1;
    if (!(typeof enabled === 'function' ? enabled() : enabled)) return await inner.run(scope, operation);
    if (this.#strikes(latency?.rate)) {
      this.#counts.delayed += 1;
      await abortableSleep(scope, this.#delay, this.clock);
    }
    if (this.#strikes(error?.rate)) {
      this.#counts.failed += 1;
      const fault: unknown = error?.make === undefined ? new Error('A fault was injected') : error.make();
      throw fault;
    }
    if (result !== undefined && this.#strikes(result.rate)) {
      this.#counts.answered += 1;
      return result.make();
    }
    return await inner.run(scope, operation);
  }

  #strikes(rate = 0): boolean {
    return rate > 0 && this.#random() < rate;
  }
}
