import type { Random } from '@xiaoke/core';
import { PolicyStore, type MakePolicy } from '../memory/policy-store.ts';
import { EntryPolicy } from '../policy/entry-policy.ts';
import type { EvictionPolicy } from '../policy/eviction-policy.ts';
import type { SlotPolicy } from '../policy/slot-policy.ts';
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
  checkPolicy((capacity) => {
    const policy = make(capacity);
    return (facts) => new EntryPolicy(policy, facts);
  }, options);
}

/** {@link checkEvictionPolicy} for what stands behind every strategy, those of the package too. */
export function checkPolicy(make: (capacity: number) => MakePolicy, options: ConformanceOptions = {}): void {
  const { operations = 20_000, maxEntries = 32, seed = 1 } = options;
  const trial = new Trial(make(maxEntries), maxEntries, seeded(seed));
  for (let done = 1; done <= operations; done += 1) {
    const problem = trial.step();
    if (problem !== undefined) throw new Error(`${problem} (after ${done} operations, seed ${seed})`);
  }
}

/** Stands between the store and the policy, and keeps count of what the policy was told. */
class Watched implements SlotPolicy {
  readonly held = new Set<number>();
  readonly #policy: SlotPolicy;

  constructor(policy: SlotPolicy) {
    this.#policy = policy;
  }

  onInsert(slot: number): void {
    this.held.add(slot);
    this.#policy.onInsert(slot);
  }

  onHit(slot: number): void {
    this.#policy.onHit(slot);
  }

  onExpiryMoved(slot: number): void {
    this.#policy.onExpiryMoved?.(slot);
  }

  onRemove(slot: number): void {
    this.held.delete(slot);
    this.#policy.onRemove(slot);
  }

  victim(incoming: number): number {
    return this.#policy.victim(incoming);
  }

  clear(): void {
    this.held.clear();
    this.#policy.clear();
  }
}

class Trial {
  readonly #held: ReadonlySet<number>;
  readonly #store: PolicyStore;
  readonly #maxEntries: number;
  readonly #random: Random;
  #problem: string | undefined;
  readonly #plain = new Scope(resolveLifetime(undefined)).plain;

  constructor(make: MakePolicy, maxEntries: number, random: Random) {
    this.#maxEntries = maxEntries;
    this.#random = random;
    const onPolicyError = (error: unknown): void => {
      this.#problem = String(error);
    };
    const bounds = { maxEntries, maxBytes: Infinity };
    let held: ReadonlySet<number> = new Set();
    const watched: MakePolicy = (facts, expected) => {
      const policy = new Watched(make(facts, expected));
      held = policy.held;
      return policy;
    };
    this.#store = new PolicyStore(watched, bounds, { onEvict: () => {}, onPolicyError });
    this.#held = held;
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
      else if (dice < 0.3) this.#slide(key);
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
      return `${String(error)}${cause}`;
    }
    if (this.#problem !== undefined) return this.#problem;
    if (this.#store.size > this.#maxEntries) return 'The cache outgrew its bound';
    if (this.#store.size !== this.#held.size) return 'The policy was not told of everything';
    return undefined;
  }

  #slide(key: string): void {
    const stored = this.#store.peek(key);
    if (stored === undefined) return;
    stored.expiresAt += 100;
    this.#store.update(key, stored);
  }

  #entry(): Stored {
    return new Stored(0, Math.floor(this.#random() * 1_000), this.#plain);
  }
}
