import type { Closeable, Decorator, HealthIndicator, KeyTemplate } from '@xiaoke/core';
import type { CacheEvent, CacheListener } from './events.ts';
import type { LoadOptions, SetOptions } from './lifetime.ts';
import type { CacheStats } from './stats.ts';

/** What a loader is told. */
export interface LoaderContext<V> {
  readonly key: string;
  /** Fires when the loader's time is over. */
  readonly signal: AbortSignal;
  /** The expired value that would be served if the loader failed. */
  readonly staleValue?: V;
}

/** Gets the value of a key from where it really lives. */
export type Loader<V> = (context: LoaderContext<V>) => Promise<V> | V;

/**
 * Gets the values of several keys. A key that is absent from the answer has no value; one whose value is an `Error` has
 * failed, and only that one.
 */
export type BatchLoader<V> = (
  missing: string[],
  context: { readonly signal: AbortSignal },
) => Promise<ReadonlyMap<string, V | Error>> | ReadonlyMap<string, V | Error>;

/** One value to be written. */
export type CacheRecord<V> = readonly [key: string, value: V, options?: SetOptions];

type Records<V> = Iterable<CacheRecord<V>> | AsyncIterable<CacheRecord<V>>;

/** Where a cache is warmed from. */
export type WarmSource<V> = Records<V> | (() => Records<V> | Promise<Records<V>>);

/** How a cache is warmed. */
export interface WarmOptions {
  /** How many values are written at a time. @default 16 */
  readonly concurrency?: number;
  /** How many values are begun a second, so that their source is not overrun. @default as many as there come */
  readonly rate?: number;
  /** Leaves keys alone that have a value. @default false */
  readonly onlyMissing?: boolean;
  /** Stops early, as closing the cache does; the report tells what was done. */
  readonly signal?: AbortSignal;
  /** Called after each value that was dealt with. */
  readonly onProgress?: (report: WarmReport) => void;
}

/** What became of a warming. */
export interface WarmReport {
  readonly written: number;
  readonly skipped: number;
  readonly failed: number;
  /** The first ten failures. */
  readonly errors: readonly { readonly key: string; readonly error: unknown }[];
  readonly durationMs: number;
  /** Whether the source was read to its end. */
  readonly complete: boolean;
}

/** How a function's results are cached. */
export interface CachedOptions extends LoadOptions {
  /** Names the function in its keys. @default the function's own name, which must then be unique in this cache */
  readonly name?: string;
}

/**
 * A cache of one or two tiers. Values are shared by reference in the first tier: do not change what you were given.
 *
 * Guarantees: once `delete`, `set`, `clear` or `invalidateTags` has resolved, no read that starts later in this process
 * gives what was there before, and none in another process after the message has arrived, or one heartbeat later when it
 * was lost; a load that such a call overtook is given to those who waited for it and kept nowhere. A key is loaded once,
 * however many ask, in however many processes. With Redis away, everything goes on from the first tier and the loader.
 */
export interface CacheManager<V = unknown> extends Closeable {
  /** Listens. A listener that fails is logged, and hurts nobody else; an `error` event nobody listens to is logged. */
  on<E extends CacheEvent>(event: E, listener: CacheListener<E>): this;
  once<E extends CacheEvent>(event: E, listener: CacheListener<E>): this;
  off<E extends CacheEvent>(event: E, listener: CacheListener<E>): this;
  /** The value, or undefined when there is none or it is past its ttl. */
  get(key: string): Promise<V | undefined>;
  /**
   * The fresh value of the first tier, at once. It counts as a use and in the statistics; `peek` does neither.
   */
  getSync(key: string): V | undefined;
  /** The fresh value of the first tier, at once, without any effect. */
  peek(key: string): V | undefined;
  has(key: string): Promise<boolean>;
  /**
   * Stores a value, over whatever a running load will bring.
   *
   * @throws CacheError `INVALID_KEY`, `INVALID_VALUE`, or, with Redis, `SERIALIZATION`; InvalidOptionError. Nothing is changed then.
   */
  set(key: string, value: V, options?: SetOptions): Promise<void>;
  /** Whether there was something to delete. */
  delete(key: string): Promise<boolean>;
  /** Invalidates everything in this namespace and below, in constant time. */
  clear(): Promise<void>;
  /** The values there are, in the order of `keys`; from Redis in one round trip. */
  getMany(keys: Iterable<string>): Promise<Map<string, V>>;
  setMany(entries: Iterable<CacheRecord<V>>, options?: SetOptions): Promise<void>;
  /** How many there were. */
  deleteMany(keys: Iterable<string>): Promise<number>;
  /**
   * The value, loaded if there is none: once, for all callers of this process and, with Redis, of all processes.
   *
   * @throws what the loader threw, the same error for all who waited; LoaderTimeoutError
   */
  getOrSet(key: string, loader: Loader<V>, options?: LoadOptions): Promise<V>;
  /**
   * As {@link getOrSet} for many keys: one loader call for all that nobody has and nobody is loading. Keys without a value,
   * or that failed, are not in the result.
   */
  getOrSetMany(
    keys: Iterable<string>,
    loader: BatchLoader<V>,
    options?: LoadOptions,
  ): Promise<Map<string, V>>;
  /** Invalidates everything that was written with one of the tags, in constant time. */
  invalidateTags(...tags: string[]): Promise<void>;
  /** A cache of its own within this one: same bounds, same connections, separate keys. */
  namespace<N = V>(name: string): CacheManager<N>;
  /** Fills the cache. A record that fails does not stop the others. */
  warm(source: WarmSource<V>, options?: WarmOptions): Promise<WarmReport>;
  /**
   * A decorator, or wrapper, that keeps a function's results. The key is made by `template`, or, when only options are
   * given, from the function's name and all its arguments, such that different arguments never share a key.
   */
  cached(template: KeyTemplate, options?: CachedOptions): Decorator;
  cached(options?: CachedOptions): Decorator;
  stats(): CacheStats;
  resetStats(): void;
  /** Resolves to whether the second tier is in use, as soon as that is known, and after `timeout` at the latest. */
  ready(options?: { readonly timeout?: number | string }): Promise<boolean>;
  healthIndicator(): HealthIndicator;
  readonly closed: boolean;
}
