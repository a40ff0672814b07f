import { processWideSync } from '@xiaoke/core';
import { Cache } from './cache.ts';
import type { CacheManager } from './cache-manager.ts';
import { Engine, type MakeSecondTier } from './engine.ts';
import { RedisTier } from './redis/redis-tier.ts';
import { resolveCacheOptions, type CacheOptions } from './options.ts';

/**
 * Makes a cache. It is usable at once; with Redis, the connection is made in the background and `ready()` tells when.
 *
 * @throws InvalidOptionError for the first option that is not usable
 *
 * @example
 * ```ts
 * import { createCacheManager } from '@xiaoke/cache';
 * await using cache = createCacheManager<{ name: string }>({ ttl: '1m', maxEntries: 50_000 });
 * const user = await cache.getOrSet('user:1', async () => ({ name: 'Ada' }), { tags: ['users'] });
 * await cache.invalidateTags('users');
 * console.log(user.name, cache.peek('user:1')); // => Ada undefined
 * ```
 */
export function createCacheManager<V = unknown>(options?: CacheOptions): CacheManager<V> {
  const engine = new Engine(resolveCacheOptions(options), makeSecondTier);
  return new Cache<V>(engine, engine.root);
}

const makeSecondTier: MakeSecondTier = (options, parts) =>
  options.redis === undefined ? undefined : new RedisTier(options.redis, options, parts);

/** The cache of this process for these options, made on first use. */
export const getCacheManager: (options?: CacheOptions) => CacheManager = processWideSync(
  '@xiaoke/cache',
  (options?: CacheOptions) => createCacheManager(options),
);
