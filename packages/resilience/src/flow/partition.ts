import { InvalidOptionError } from '@xiaoke/core';
import type { Part } from '../engine/compile.ts';
import { aroundWith } from '../engine/foreign.ts';
import type { Runner } from '../engine/frame.ts';
import { BasePolicy, policyName, type Policy, type PolicyStats } from '../engine/policy.ts';
import { checkNumber, checkObject } from '../options.ts';

/** Options of {@link partition}. */
export interface PartitionOptions {
  readonly name?: string | undefined;
  /** Policies that are kept; beyond, the one that was not used for longest is forgotten. @default 1000 */
  readonly max?: number | undefined;
}

/** What a {@link partition} saw. */
export interface PartitionStats extends PolicyStats {
  readonly kind: 'partition';
  readonly keys: number;
  /** Policies that were forgotten for want of room. */
  readonly forgotten: number;
  readonly policies: Readonly<Record<string, PolicyStats>>;
}

/** A {@link partition}. */
export interface PartitionPolicy<Alt> extends Policy<Alt> {
  readonly kind: 'partition';
  /** The policy of a key, made if there is none. */
  of(key: string): Policy<Alt>;
  stats(): PartitionStats;
}

/**
 * A policy of its own for each `key` of the calls, so that one bad tenant, host or shard opens no circuit for the others.
 * Calls without a key share one.
 *
 * @throws InvalidOptionError for a bad option
 * @example
 * ```ts run
 * import { circuitBreaker, partition } from '@xiaoke/resilience';
 * const perHost = partition((host) => circuitBreaker({ name: host, minimumCalls: 1 }));
 * await perHost.execute(() => Promise.reject(new Error('down')), { key: 'a' }).catch(() => {});
 * console.log(await perHost.execute(() => 'b is fine', { key: 'b' })); // => b is fine
 * ```
 */
export function partition<Alt = never>(
  make: (key: string) => Policy<Alt>,
  options: PartitionOptions = {},
): PartitionPolicy<Alt> {
  return new Partition(make, options);
}

class Partition<Alt> extends BasePolicy<Alt, object> implements PartitionPolicy<Alt> {
  readonly kind = 'partition';
  override readonly timeless = true;
  readonly #make: (key: string) => Policy<Alt>;
  readonly #max: number;
  // In the order of their last use.
  readonly #policies = new Map<string, Policy<Alt>>();
  #forgotten = 0;

  constructor(make: (key: string) => Policy<Alt>, options: PartitionOptions) {
    checkObject('', options, ['name', 'max']);
    super(policyName('partition', options.name), undefined);
    if (typeof make !== 'function') throw new InvalidOptionError('make', 'must be a function');
    this.#make = make;
    this.#max = checkNumber('max', options.max ?? 1_000, { min: 1, integer: true });
  }

  of(key: string): Policy<Alt> {
    const policy = this.#policies.get(key) ?? this.#make(key);
    this.#policies.delete(key);
    this.#policies.set(key, policy);
    const [oldest] = this.#policies.keys();
    if (this.#policies.size > this.#max && oldest !== undefined) {
      this.#policies.delete(oldest);
      this.#forgotten += 1;
    }
    return policy;
  }

  parts(): readonly Part[] {
    const around = (inner: Runner): Runner => {
      const runners = new WeakMap<Policy<Alt>, Runner>();
      return {
        run: (scope, operation) => {
          const policy = this.of(scope.call.options.key ?? '');
          const runner = runners.get(policy) ?? aroundWith(policy, inner);
          runners.set(policy, runner);
          return runner.run(scope, operation);
        },
      };
    };
    return [{ type: 'around', clock: undefined, around }];
  }

  stats(): PartitionStats {
    const policies = Object.fromEntries([...this.#policies].map(([key, policy]) => [key, policy.stats()]));
    return {
      kind: this.kind,
      name: this.name,
      keys: this.#policies.size,
      forgotten: this.#forgotten,
      policies,
    };
  }
}
