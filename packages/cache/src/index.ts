/**
 * A two-tier cache: never a stale read after an invalidation, never a stampede.
 *
 * Terms: the *first tier* is this process's memory, the *second tier* the Redis that processes share; a *load* is one run
 * of a loader, and a *lease* the right to it; a value is *fresh* up to its ttl, then *stale* while it may still be
 * served; a load is *fenced* when an invalidation overtook it, and its value is then kept nowhere; a *tag* names
 * values that are invalidated together; a *gap* is a message from another process that was missed.
 *
 * @module
 */
export { createCacheManager, getCacheManager } from './create.ts';
export type {
  BatchLoader,
  CachedOptions,
  CacheManager,
  CacheRecord,
  Loader,
  LoaderContext,
  WarmOptions,
  WarmReport,
  WarmSource,
} from './cache-manager.ts';
export type { CacheOptions } from './options.ts';
export type { LifetimeOptions, LoadOptions, SetOptions } from './lifetime.ts';
export type { CacheEvent, CacheEvents, CacheListener, LoadEnd, Tier } from './events.ts';
export type { CacheStats, LoadStats, MemoryTierStats, RedisTierStats, TierStats } from './stats.ts';
export type { EvictionReason } from './memory/entry-store.ts';
export { CacheError, LoaderTimeoutError, type CacheErrorCode } from './errors.ts';
export type { Entry, EvictionPolicy } from './policy/eviction-policy.ts';
export type { Strategy, StrategyName } from './policy/strategy.ts';
export type { CompressionAlgorithm, CompressionOption } from './codec/compression.ts';
export type { CustomSerializer, SerializerOption } from './codec/serializer.ts';
export { canonicalKey } from './canonical-key.ts';
