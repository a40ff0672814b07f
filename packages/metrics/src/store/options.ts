import {
  InvalidOptionError,
  silentLogger,
  systemClock,
  toMilliseconds,
  type Clock,
  type Duration,
  type Logger,
  type RedisOption,
} from '@xiaoke/core';
import { BoundedStorage } from './bounded-storage.ts';
import type { ChunkStorage } from './chunk-storage.ts';
import { fileStorage } from './file/file-storage.ts';
import { memoryStorage } from './memory/memory-storage.ts';
import { redisStorage } from './redis/redis-storage.ts';

/** One resolution and how long it is kept. */
export interface Tier {
  readonly step: Duration;
  readonly keep: Duration;
}

/** A storage, or what to make one from: memory, a directory, Redis. */
export type StorageOption =
  | ChunkStorage
  | 'memory'
  | { readonly file: string }
  | { readonly redis: RedisOption; readonly namespace?: string };

/** How a store behaves. */
export interface TimeSeriesStoreOptions {
  /** From fine to coarse; each step is a multiple of the one before. @default 10s for 1h, 1m for 24h, 10m for 30d */
  readonly tiers?: readonly Tier[];
  /** Where sealed chunks are kept: a storage, or what to make one from, as in a configuration file. @default 'memory' */
  readonly storage?: StorageOption;
  /**
   * Most bytes of chunks, kept and open; beyond it the oldest go. A series that would need more than what is left does not
   * begin: with the default tiers a counter needs 3.2 KiB, a gauge 7 KiB. @default 64 MiB
   */
  readonly maxBytes?: number;
  /** How long a sample counts as current in a query. @default '5m' */
  readonly lookback?: Duration;
  /** Samples one query may read. @default 5_000_000 */
  readonly maxQuerySamples?: number;
  /** How often what is not sealed is saved for a crash. @default '5m' */
  readonly checkpoint?: Duration;
  /** How long the storage may take for one thing; then it counts as away. @default '10s' */
  readonly storageTimeout?: Duration;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/** A tier in milliseconds. */
export interface ResolvedTier {
  readonly step: number;
  readonly keep: number;
  readonly chunkSlots: number;
}

/** Options with every default in place. */
export interface ResolvedStoreOptions {
  readonly tiers: readonly ResolvedTier[];
  readonly storage: ChunkStorage;
  readonly maxBytes: number;
  readonly lookback: number;
  readonly maxQuerySamples: number;
  readonly checkpoint: number;
  readonly logger: Logger;
  readonly clock: Clock;
}

const DEFAULT_TIERS: readonly Tier[] = [
  { step: '10s', keep: '1h' },
  { step: '1m', keep: '24h' },
  { step: '10m', keep: '30d' },
];

/** Checks options once and fills in what was left out. */
export function resolveStoreOptions(options: TimeSeriesStoreOptions): ResolvedStoreOptions {
  const { maxBytes = 64 * 2 ** 20, maxQuerySamples = 5_000_000 } = options;
  if (!(Number.isFinite(maxBytes) && maxBytes >= 4_096)) {
    throw new InvalidOptionError('maxBytes', 'must be a number of bytes from 4096');
  }
  if (!(maxQuerySamples >= 1)) throw new InvalidOptionError('maxQuerySamples', 'must be at least 1');
  const clock = options.clock ?? systemClock;
  const timeout = toMilliseconds(options.storageTimeout ?? '10s', 'storageTimeout', { min: 1 });
  return Object.freeze({
    tiers: resolveTiers(options.tiers ?? DEFAULT_TIERS),
    storage: new BoundedStorage(resolveStorage(options.storage ?? 'memory'), timeout, clock),
    maxBytes,
    maxQuerySamples,
    lookback: toMilliseconds(options.lookback ?? '5m', 'lookback', { min: 1 }),
    checkpoint: toMilliseconds(options.checkpoint ?? '5m', 'checkpoint', { min: 100 }),
    logger: options.logger ?? silentLogger,
    clock,
  });
}

function resolveStorage(storage: StorageOption): ChunkStorage {
  if (storage === 'memory') return memoryStorage();
  if (typeof storage === 'object' && storage !== null) {
    if ('file' in storage) return fileStorage(storage.file);
    if ('redis' in storage) {
      const { redis, namespace } = storage;
      return redisStorage(redis, namespace === undefined ? {} : { namespace });
    }
    if (typeof storage.write === 'function' && typeof storage.open === 'function') return storage;
  }
  throw new InvalidOptionError('storage', "must be a storage, 'memory', { file } or { redis }");
}

function resolveTiers(tiers: readonly Tier[]): readonly ResolvedTier[] {
  if (!Array.isArray(tiers) || tiers.length === 0)
    throw new InvalidOptionError('tiers', 'must be a non-empty list');
  const resolved = tiers.map(({ step, keep }, i): ResolvedTier => {
    const milliseconds = toMilliseconds(step, `tiers.${i}.step`, { min: 10 });
    const kept = toMilliseconds(keep, `tiers.${i}.keep`, { min: milliseconds });
    // Twenty minutes of ten seconds; coarser tiers seal smaller chunks, since theirs stay open for hours.
    return { step: milliseconds, keep: kept, chunkSlots: i === 0 ? 120 : 60 };
  });
  for (const [i, { step, keep }] of resolved.entries()) {
    const finer = resolved[i - 1];
    if (finer === undefined) continue;
    if (step <= finer.step || step % finer.step !== 0) {
      throw new InvalidOptionError(`tiers.${i}.step`, 'must be a multiple of the step before');
    }
    if (keep < finer.keep)
      throw new InvalidOptionError(`tiers.${i}.keep`, 'must not be shorter than the one before');
  }
  return resolved;
}
