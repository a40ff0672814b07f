import {
  InvalidOptionError,
  noopMetrics,
  silentLogger,
  systemClock,
  systemRandom,
  toMilliseconds,
  type Clock,
  type Duration,
  type Logger,
  type MetricsSink,
  type Random,
  type RedisOption,
} from '@xiaoke/core';
import { isRedisClient } from '@xiaoke/core/redis';
import { resolveCompression, type Compression, type CompressionOption } from './codec/compression.ts';
import { resolveSerializer, type Serializer, type SerializerOption } from './codec/serializer.ts';
import { checkStrategy, type Strategy } from './policy/strategy.ts';
import { resolveLifetime, type Lifetime, type LifetimeOptions } from './lifetime.ts';

/** How a cache is made. Every duration is milliseconds or a string such as `'30s'`. */
export interface CacheOptions extends LifetimeOptions {
  /** The label `cache` of the metrics and the name of the health indicator. @default the namespace */
  readonly name?: string | undefined;
  /** Who leaves when the first tier is full. @default 'lru' */
  readonly strategy?: Strategy | undefined;
  /** Most entries in the first tier. @default 10_000, or no limit when `maxBytes` is given */
  readonly maxEntries?: number | undefined;
  /** Most bytes in the first tier, by estimate: keys, values and bookkeeping. @default no limit */
  readonly maxBytes?: number | undefined;
  /** Where the second tier is. Without it the cache lives in this process alone. */
  readonly redis?: RedisOption | undefined;
  /** Separates caches that share a Redis: up to 100 characters without spaces and braces. @default 'default' */
  readonly namespace?: string | undefined;
  /** How values become bytes for Redis. @default 'json' */
  readonly serializer?: SerializerOption | undefined;
  /** How bytes are made fewer for Redis; what is shorter than the threshold stays as it is. @default 'none' */
  readonly compression?: CompressionOption | undefined;
  /** A larger value is served but not stored in Redis, and never inflated when read. @default 8 MiB */
  readonly maxValueBytes?: number | undefined;
  /** How long Redis may take before the cache goes on without it. @default 60 */
  readonly redisTimeout?: Duration | undefined;
  /** How long a value loaded while Redis is away may be kept. @default '30s' */
  readonly ttlWithoutRedis?: Duration | undefined;
  /** How often a process looks whether it missed an invalidation. @default '2s' */
  readonly heartbeat?: Duration | undefined;
  /** How long the right to load a key outlives the process that holds it. @default '3s' */
  readonly leaseTtl?: Duration | undefined;
  /** Invalidations kept while Redis is away; beyond it everything is invalidated at once. @default 10_000 */
  readonly maxPendingInvalidations?: number | undefined;
  /** How often expired entries are looked for, and how long one look may take. `false` leaves them to eviction. @default 1s, 2ms */
  readonly sweep?: false | { readonly interval?: Duration; readonly budget?: Duration } | undefined;
  readonly logger?: Logger | undefined;
  readonly metrics?: MetricsSink | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** {@link CacheOptions} with every default filled in and every value checked. */
export interface ResolvedCacheOptions {
  readonly name: string;
  readonly strategy: Strategy;
  readonly maxEntries: number;
  readonly maxBytes: number;
  readonly redis: RedisOption | undefined;
  readonly namespace: string;
  readonly lifetime: Lifetime;
  readonly serializer: Serializer;
  readonly compression: Compression;
  readonly maxValueBytes: number;
  readonly redisTimeout: number;
  readonly ttlWithoutRedis: number;
  readonly heartbeat: number;
  readonly leaseTtl: number;
  readonly maxPendingInvalidations: number;
  readonly sweep: { readonly interval: number; readonly budget: number } | undefined;
  readonly logger: Logger;
  readonly metrics: MetricsSink;
  readonly clock: Clock;
  readonly random: Random;
}

const DEFAULT_MAX_ENTRIES = 10_000;
const DEFAULT_MAX_VALUE_BYTES = 8 * 1024 * 1024;

/** @throws InvalidOptionError for the first option that is not usable */
export function resolveCacheOptions(options: CacheOptions = {}): ResolvedCacheOptions {
  if (typeof options !== 'object' || options === null)
    throw new InvalidOptionError('options', 'must be an object');
  const { namespace = 'default', logger = silentLogger, metrics = noopMetrics } = options;
  const { clock = systemClock, random = systemRandom } = options;
  checkNamespace(namespace, 'namespace');
  return Object.freeze({
    name: nameOf(options.name ?? namespace),
    namespace,
    lifetime: resolveLifetime(options),
    ...firstTierOf(options),
    ...secondTierOf(options),
    logger,
    metrics,
    clock,
    random,
  });
}

function firstTierOf(
  options: CacheOptions,
): Pick<ResolvedCacheOptions, 'strategy' | 'maxEntries' | 'maxBytes' | 'sweep'> {
  const { strategy = 'lru', maxBytes, maxEntries } = options;
  checkStrategy(strategy);
  return {
    strategy,
    maxEntries: maxEntries === undefined ? defaultEntries(maxBytes) : countOf(maxEntries, 'maxEntries'),
    maxBytes: maxBytes === undefined ? Infinity : countOf(maxBytes, 'maxBytes'),
    sweep: sweepOf(options.sweep),
  };
}

type SecondTierOptions = Pick<
  ResolvedCacheOptions,
  | 'redis'
  | 'serializer'
  | 'compression'
  | 'maxValueBytes'
  | 'redisTimeout'
  | 'ttlWithoutRedis'
  | 'heartbeat'
  | 'leaseTtl'
  | 'maxPendingInvalidations'
>;

function secondTierOf(options: CacheOptions): SecondTierOptions {
  checkRedis(options.redis);
  return {
    redis: options.redis,
    serializer: resolveSerializer(options.serializer),
    compression: resolveCompression(options.compression),
    maxValueBytes: countOf(options.maxValueBytes ?? DEFAULT_MAX_VALUE_BYTES, 'maxValueBytes'),
    redisTimeout: toMilliseconds(options.redisTimeout ?? 60, 'redisTimeout', { min: 1, max: 60_000 }),
    ttlWithoutRedis: toMilliseconds(options.ttlWithoutRedis ?? '30s', 'ttlWithoutRedis'),
    heartbeat: toMilliseconds(options.heartbeat ?? '2s', 'heartbeat', { min: 20 }),
    leaseTtl: toMilliseconds(options.leaseTtl ?? '3s', 'leaseTtl', { min: 100 }),
    maxPendingInvalidations: countOf(options.maxPendingInvalidations ?? 10_000, 'maxPendingInvalidations'),
  };
}

/** @throws InvalidOptionError unless it is a short text without spaces, braces and control characters */
export function checkNamespace(namespace: unknown, option: string): asserts namespace is string {
  if (typeof namespace !== 'string' || !/^[^\s{}\p{Cc}\p{Cs}]{1,100}$/u.test(namespace)) {
    throw new InvalidOptionError(
      option,
      'must be 1 to 100 characters without spaces, braces and control characters',
    );
  }
}

function nameOf(name: unknown): string {
  if (typeof name !== 'string' || name === '')
    throw new InvalidOptionError('name', 'must be a non-empty string');
  return name;
}

function defaultEntries(maxBytes: number | undefined): number {
  return maxBytes === undefined ? DEFAULT_MAX_ENTRIES : Infinity;
}

function countOf(value: number, option: string): number {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidOptionError(option, 'must be a whole number of at least 1');
  return value;
}

function sweepOf(sweep: CacheOptions['sweep']): ResolvedCacheOptions['sweep'] {
  if (sweep === false) return undefined;
  return {
    interval: toMilliseconds(sweep?.interval ?? '1s', 'sweep.interval', { min: 10 }),
    budget: toMilliseconds(sweep?.budget ?? 2, 'sweep.budget', { min: 0.1, max: 1_000 }),
  };
}

// Connections are opened later, so what can be seen to be wrong is said now.
function checkRedis(redis: unknown): void {
  if (redis === undefined || isRedisClient(redis)) return;
  if (typeof redis === 'string') {
    if (!/^rediss?:\/\/[^\s]+$/.test(redis))
      throw new InvalidOptionError('redis', 'must start with redis:// or rediss://');
  } else if (typeof redis !== 'object' || redis === null || Array.isArray(redis)) {
    throw new InvalidOptionError('redis', 'must be a redis:// URL, ioredis options or an ioredis client');
  }
}
