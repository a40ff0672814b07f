import { systemRandom, type Random } from '@xiaoke/core';
import type { EntryStore } from '../memory/entry-store.ts';
import { LruStore } from '../memory/lru-store.ts';
import { PolicyStore } from '../memory/policy-store.ts';
import { policyOf, type Strategy } from '../policy/strategy.ts';
import { Scope } from '../scope.ts';
import { Stored } from '../stored.ts';
import { resolveLifetime } from '../lifetime.ts';
import type { Workload } from './workloads.ts';

/**
 * The share of the requests of a workload, in percent, that a cache of `maxEntries` with this strategy answers, when every
 * miss is stored. Runs the store the cache itself uses.
 */
export function hitRatio(
  strategy: Strategy,
  maxEntries: number,
  requests: Int32Array,
  random: Random = systemRandom,
): number {
  const store = storeOf(strategy, maxEntries, random);
  const { plain } = new Scope(resolveLifetime(undefined));
  const names = new Map<number, string>();
  let hits = 0;
  for (const request of requests) {
    let key = names.get(request);
    if (key === undefined) {
      key = `user:profile:${request}`;
      names.set(request, key);
    }
    if (store.get(key) === undefined) store.set(key, new Stored(request, Infinity, plain));
    else hits += 1;
  }
  return (hits / requests.length) * 100;
}

/** {@link hitRatio} of a named workload. */
export function hitRatioOf(
  strategy: Strategy,
  maxEntries: number,
  workload: Workload,
  random?: Random,
): number {
  return hitRatio(strategy, maxEntries, workload.requests(), random);
}

function storeOf(strategy: Strategy, maxEntries: number, random: Random): EntryStore {
  const bounds = { maxEntries, maxBytes: Infinity };
  const listener = { onEvict: (): void => {}, onPolicyError: (): void => {} };
  if (strategy === 'lru') return new LruStore(bounds, listener);
  return new PolicyStore(policyOf(strategy, maxEntries, random), bounds, listener);
}
