import { InvalidOptionError, type Clock } from '@xiaoke/core';
import { CallMeter, type CallCounts } from '../engine/call-meter.ts';
import type { Part } from '../engine/compile.ts';
import { aroundWith } from '../engine/foreign.ts';
import { BasePolicy, policyName, type Policy, type PolicyStats } from '../engine/policy.ts';
import type { Outcome } from '../engine/scope.ts';
import { checkObject } from '../options.ts';
import { lintPolicies, type LintWarning } from './lint.ts';

/** Options of {@link pipeline}. */
export interface PipelineOptions {
  readonly name?: string | undefined;
  /** Called when a call ends, for metrics; one that throws changes nothing. */
  readonly onCall?: ((outcome: Outcome, durationMs: number) => void) | undefined;
}

/** What a {@link pipeline} saw. */
export interface PipelineStats extends PolicyStats, CallCounts {
  readonly kind: 'pipeline';
  /** Of its policies, outermost first. */
  readonly policies: readonly PolicyStats[];
}

/** A {@link pipeline}. */
export interface Pipeline<Alt = never> extends Policy<Alt> {
  readonly kind: 'pipeline';
  readonly policies: readonly Policy<unknown>[];
  /** Orders that are likely mistakes; empty when there are none. */
  readonly warnings: readonly LintWarning[];
  stats(): PipelineStats;
}

/** What a policy may give instead of a result. */
export type AlternativeOf<P> = P extends { readonly alternative?: infer Alt } ? Alt : never;

/**
 * Several policies as one, outermost first. They are compiled into one asynchronous function, so that a call through many
 * costs little more than one through few.
 *
 * A good order: `fallback`, `collapse`, total `timeout`, `rateLimit`, `retry`, `hedge`, `circuitBreaker`, `bulkhead`, `timeout` of
 * an attempt. `warnings` names likely mistakes.
 *
 * @throws InvalidOptionError without a policy, or for policies on different clocks
 * @example
 * ```ts run
 * import { bulkhead, circuitBreaker, pipeline, retry, timeout } from '@xiaoke/resilience';
 * const policy = pipeline(retry(), circuitBreaker(), bulkhead({ concurrency: 10 }), timeout('2s'));
 * console.log(await policy.execute(async () => 'ok'), policy.stats().calls); // => ok 1
 * ```
 */
export function pipeline<const P extends readonly Policy<unknown>[]>(
  ...policies: P
): Pipeline<AlternativeOf<P[number]>>;
export function pipeline<const P extends readonly Policy<unknown>[]>(
  options: PipelineOptions,
  ...policies: P
): Pipeline<AlternativeOf<P[number]>>;
export function pipeline(...args: readonly (Policy<unknown> | PipelineOptions)[]): Pipeline<unknown> {
  const [first] = args;
  const named = first !== undefined && !isPolicy(first);
  const policies = (named ? args.slice(1) : args).map((policy, index) => {
    if (isPolicy(policy)) return policy;
    throw new InvalidOptionError(`policies[${index}]`, 'must be a policy');
  });
  const options = named ? first : {};
  checkObject('', options, ['name', 'onCall']);
  const name = policyName('pipeline', options.name);
  return new PolicyPipeline(name, policies, new CallMeter(name, options.onCall));
}

/** A pipeline whose counts may outlive it. */
export class PolicyPipeline extends BasePolicy<unknown, object> implements Pipeline<unknown> {
  readonly kind = 'pipeline';
  readonly policies: readonly Policy<unknown>[];
  readonly #meter: CallMeter;

  constructor(name: string, policies: readonly Policy<unknown>[], meter: CallMeter) {
    const clocks = new Set(policies.map((policy) => clockOf(policy)).filter((clock) => clock !== undefined));
    super(name, [...clocks][0]);
    if (policies.length === 0) throw new InvalidOptionError('policies', 'must hold at least one policy');
    if (clocks.size > 1)
      throw new InvalidOptionError('clock', 'must be the same for all policies of a pipeline');
    this.policies = policies;
    this.#meter = meter;
  }

  get warnings(): readonly LintWarning[] {
    return lintPolicies(this.policies);
  }

  parts(): readonly Part[] {
    return this.policies.flatMap((policy) => {
      // A pipeline keeps a frame of its own, since it counts its own calls.
      if (policy instanceof BasePolicy && !(policy instanceof PolicyPipeline)) return policy.parts();
      return [{ type: 'around', clock: undefined, around: (inner) => aroundWith(policy, inner) }];
    });
  }

  stats(): PipelineStats {
    return {
      kind: this.kind,
      name: this.name,
      ...this.#meter.counts(),
      policies: this.policies.map((policy) => policy.stats()),
    };
  }

  protected override meter(): CallMeter {
    return this.#meter;
  }
}

function clockOf(policy: Policy<unknown>): Clock | undefined {
  return policy instanceof BasePolicy && !policy.timeless ? policy.clock : undefined;
}

function isPolicy(value: unknown): value is Policy<unknown> {
  return (
    typeof value === 'object' && value !== null && 'execute' in value && typeof value.execute === 'function'
  );
}
