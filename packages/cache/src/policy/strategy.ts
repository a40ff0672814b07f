import { InvalidOptionError, type Random } from '@xiaoke/core';
import type { MakePolicy } from '../memory/policy-store.ts';
import { EntryPolicy } from './entry-policy.ts';
import type { EvictionPolicy } from './eviction-policy.ts';
import { FifoPolicy } from './fifo.ts';
import { LfuPolicy } from './lfu.ts';
import { S3FifoPolicy } from './s3fifo.ts';
import { SievePolicy } from './sieve.ts';
import type { SlotFacts, SlotPolicy } from './slot-policy.ts';
import { TtlPolicy } from './ttl.ts';
import { WTinyLfuPolicy } from './w-tinylfu.ts';

/** The strategies that come with the package. */
export type StrategyName = 'lru' | 'ttl' | 'fifo' | 'lfu' | 'sieve' | 's3fifo' | 'w-tinylfu';

/** What decides who leaves a full cache: a name, or a policy of your own. */
export type Strategy = StrategyName | EvictionPolicy;

/** What the policies of the package are made of. `capacity` is how many entries the cache is expected to hold. */
interface PolicyParts {
  readonly facts: SlotFacts;
  readonly expected: number;
  readonly capacity: number;
  readonly random: Random;
}

const POLICIES: Readonly<Record<Exclude<StrategyName, 'lru'>, (parts: PolicyParts) => SlotPolicy>> = {
  ttl: ({ facts, expected }) => new TtlPolicy(facts, expected),
  fifo: ({ expected }) => new FifoPolicy(expected),
  lfu: ({ expected }) => new LfuPolicy(expected),
  sieve: ({ expected }) => new SievePolicy(expected),
  s3fifo: ({ facts, capacity }) => new S3FifoPolicy(facts, capacity),
  'w-tinylfu': ({ facts, capacity, random }) => new WTinyLfuPolicy(facts, capacity, random),
};

const METHODS = ['onInsert', 'onHit', 'onRemove', 'victim'] as const;

/** @throws InvalidOptionError when it is neither a known name nor an object with the four methods */
export function checkStrategy(strategy: unknown): asserts strategy is Strategy {
  if (strategy === 'lru' || (typeof strategy === 'string' && Object.hasOwn(POLICIES, strategy))) return;
  if (typeof strategy !== 'object' || strategy === null) {
    throw new InvalidOptionError(
      'strategy',
      `must be one of lru, ${Object.keys(POLICIES).join(', ')}, or an eviction policy`,
    );
  }
  for (const method of METHODS) {
    if (typeof Reflect.get(strategy, method) !== 'function')
      throw new InvalidOptionError('strategy', `is an eviction policy without ${method}()`);
  }
}

/** The policy behind a strategy other than `lru`, for the store that asks for it. */
export function policyOf(strategy: Exclude<Strategy, 'lru'>, capacity: number, random: Random): MakePolicy {
  return (facts, expected) =>
    typeof strategy === 'string'
      ? POLICIES[strategy]({ facts, expected, capacity, random })
      : new EntryPolicy(strategy, facts);
}
