import type { Random } from '@xiaoke/core';
import { PolicyStore } from '../memory/policy-store.ts';
import type { Entry, EvictionPolicy } from '../policy/eviction-policy.ts';
import { resolveLifetime } from '../lifetime.ts';
import { Scope } from '../scope.ts';
import { Stored } from '../stored.ts';
import { seeded } from './workloads.ts';

/** How long and with what {@link checkEvictionPolicy} tries a policy. */
export interface ConformanceOptions {
  /** @default 20_000 */
  readonly operations?: number;
  /** Entries the cache holds. @default 32 */
  readonly maxEntries?: number;
  /** @default 1 */
  readonly seed?: number;
}

/**
 * Runs an eviction policy through reads, writes, deletions and clearings in random order, and throws at the first thing that
 * breaks the contract of {@link EvictionPolicy}: a victim that is not there, an entry the policy holds on to after it has
 * left, a cache that outgrows its bound.
 *
 * @param make - makes a new policy for a cache of `capacity` entries
 * @throws Error that tells what was broken, and after how many operations
 *
 * @example
 * ```ts
 * import type { Entry } from '@xiaoke/cache';
 * import { checkEvictionPolicy } from '@xiaoke/cache/testing';
 * const held = new Set<Entry>();
 * checkEvictionPolicy(() => ({
 *   onInsert: (entry) => held.add(entry),
 *   onHit: () => {},
 *   onRemove: (entry) => held.delete(entry),
 *   victim: () => [...held][0] as Entry,
 *   clear: () => held.clear(),
 * }));
 * ```
 */
export function checkEvictionPolicy(
  make: (capacity: number) => EvictionPolicy,
  options: ConformanceOptions = {},
): void {
  const { operations = 20_000, maxEntries = 32, seed = 1 } = options;
  const trial = new Trial(make(maxEntries), maxEntries, seeded(seed));
  for (let done = 1; done <= operations; done += 1) {
    const problem = trial.step();
    if (problem !== undefined) throw new Error(`${problem} (after ${done} operations, seed ${seed})`);
  }
}

/** Stands between the store and the policy, and keeps count of what the policy was told. */
class Watched implements EvictionPolicy {
  readonly held = new Set<Entry>();
  readonly #policy: EvictionPolicy;

  constructor(policy: EvictionPolicy) {
    this.#policy = policy;
  }

  onInsert(entry: Entry): void {
    this.held.add(entry);
    this.#policy.onInsert(entry);
  }

  onHit(entry: Entry): void {
    this.#policy.onHit(entry);
  }

  onRemove(entry: Entry): void {
    this.held.delete(entry);
    this.#policy.onRemove(entry);
  }

  victim(incoming?: Entry): Entry {
    return this.#policy.victim(incoming);
  }

  clear(): void {
    const leaving = [...this.held];
    this.held.clear();
    if (this.#policy.clear === undefined) for (const entry of leaving) this.#policy.onRemove(entry);
    else this.#policy.clear();
  }
}

class Trial {
  readonly #watched: Watched;
  readonly #store: PolicyStore;
  readonly #maxEntries: number;
  readonly #random: Random;
  #problem: string | undefined;
  readonly #plain = new Scope(resolveLifetime(undefined)).plain;

  constructor(policy: EvictionPolicy, maxEntries: number, random: Random) {
    this.#watched = new Watched(policy);
    this.#maxEntries = maxEntries;
    this.#random = random;
    const onPolicyError = (error: unknown): void => {
      this.#problem = String(error);
    };
    this.#store = new PolicyStore(
      this.#watched,
      { maxEntries, maxBytes: Infinity },
      { onEvict: () => {}, onPolicyError },
    );
  }

  /** One operation. Returns what is wrong after it. */
  step(): string | undefined {
    const key = `k${Math.floor(this.#random() ** 2 * this.#maxEntries * 4)}`;
    const dice = this.#random();
    try {
      if (dice < 0.001) this.#store.clear();
      else if (dice < 0.1) this.#store.delete(key);
      else if (this.#store.get(key) === undefined) this.#store.set(key, this.#entry());
      else if (dice < 0.2) this.#store.set(key, this.#entry());
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
      return `${String(error)}${cause}`;
    }
    if (this.#problem !== undefined) return this.#problem;
    if (this.#store.size > this.#maxEntries) return 'The cache outgrew its bound';
    if (this.#store.size !== this.#watched.held.size) return 'The policy was not told of everything';
    return undefined;
  }

  #entry(): Stored {
    return new Stored(0, Math.floor(this.#random() * 1_000), this.#plain);
  }
}
