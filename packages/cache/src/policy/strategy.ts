import { InvalidOptionError, type Random } from '@xiaoke/core';
import type { EvictionPolicy } from './eviction-policy.ts';
import { FifoPolicy } from './fifo.ts';
import { LfuPolicy } from './lfu.ts';
import { S3FifoPolicy } from './s3fifo.ts';
import { SievePolicy } from './sieve.ts';
import { TtlPolicy } from './ttl.ts';
import { WTinyLfuPolicy } from './w-tinylfu.ts';

/** The strategies that come with the package. */
export type StrategyName = 'lru' | 'ttl' | 'fifo' | 'lfu' | 'sieve' | 's3fifo' | 'w-tinylfu';

/** What decides who leaves a full cache: a name, or a policy of your own. */
export type Strategy = StrategyName | EvictionPolicy;

const POLICIES: Readonly<
  Record<Exclude<StrategyName, 'lru'>, (capacity: number, random: Random) => EvictionPolicy>
> = {
  ttl: () => new TtlPolicy(),
  fifo: () => new FifoPolicy(),
  lfu: () => new LfuPolicy(),
  sieve: () => new SievePolicy(),
  s3fifo: (capacity) => new S3FifoPolicy(capacity),
  'w-tinylfu': (capacity, random) => new WTinyLfuPolicy(capacity, random),
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

/** The policy behind a strategy other than `lru`. */
export function createPolicy(
  strategy: Exclude<Strategy, 'lru'>,
  capacity: number,
  random: Random,
): EvictionPolicy {
  return typeof strategy === 'string' ? POLICIES[strategy](capacity, random) : strategy;
}
