import type { Closeable, HealthIndicator } from '@xiaoke/core';
import type { CanaryControl } from './canary.ts';
import type { ConfigChange } from './change.ts';
import type { Change } from './diff.ts';
import type { ConfigEvents } from './events.ts';
import type { Explanation } from './explain.ts';
import type { FileSourceOptions } from './file/file-slots.ts';
import type { ConfigFormat } from './format.ts';
import type { Guard } from './guards.ts';
import type { VersionInfo } from './history.ts';
import type { RemoteSourceOptions } from './http/remote-options.ts';
import type { PathInput } from './path.ts';
import type { Transaction, WriteOptions } from './runtime-control.ts';
import type { ConfigSource } from './source.ts';
import type { ConfigStats } from './status.ts';
import type { PathCallback } from './subscriptions.ts';
import type { Path, PathValue } from './typed-path.ts';

/** A value that follows the configuration: reading it is one comparison. */
export interface ConfigRef<V> {
  readonly value: V;
}

/** How a subscription begins and ends. */
export interface SubscribeOptions {
  /** Call at once with the present value. @default false */
  readonly immediate?: boolean;
  /** Ends the subscription. */
  readonly signal?: AbortSignal;
}

/**
 * Hot configuration. Reading is synchronous, from one frozen and consistent snapshot; an update is applied whole or not
 * at all, and one that cannot be read, is not valid or is vetoed leaves the last good configuration in force.
 */
export interface ConfigManager<T = unknown> extends Closeable {
  /**
   * Adds a file and its overlays `name.<environment>.ext` and `name.local.ext`, and watches all three. Resolves when they
   * are in force.
   *
   * @throws ConfigSourceError, ConfigParseError or ConfigInvalidError; then nothing was added
   */
  addFileSource(path: string, format?: ConfigFormat, options?: FileSourceOptions): Promise<void>;
  /** Sets the one remote source: polled with conditional requests, its last good copy kept in `cacheFile`. */
  setRemoteSource(url: string | URL, options?: RemoteSourceOptions): Promise<void>;
  /** Adds a source of your own, between `.env` files and the remote source. */
  addSource(source: ConfigSource): Promise<void>;

  /** The value at `path`, frozen; `fallback` only when there is none (`null` is a value). */
  get<P extends Path<T>>(path: P): PathValue<T, P>;
  get<P extends Path<T>, F>(path: P, fallback: F): Exclude<PathValue<T, P>, undefined> | F;
  /** The value at `path`; throws ConfigKeyError when there is none. */
  require<P extends Path<T>>(path: P): Exclude<PathValue<T, P>, undefined>;
  has(path: Path<T>): boolean;
  /** A reference that always reads the newest value. */
  ref<P extends Path<T>>(path: P): ConfigRef<PathValue<T, P>>;
  /** The whole configuration: frozen, consistent, and the same object until something changes. */
  snapshot(): Readonly<T>;

  /** Sets one value at run time, for every process on the same store. Resolves to the version once it is in force here. */
  set(path: Path<T> | PathInput, value: unknown, options?: WriteOptions): Promise<number>;
  /** Sets several values in one version, or none of them. */
  setMany(
    entries: Readonly<Record<string, unknown>> | Iterable<readonly [PathInput, unknown]>,
    options?: WriteOptions,
  ): Promise<number>;
  /** The values set at run time, by path; not masked. */
  runtimeValues(): Readonly<Record<string, unknown>>;
  /** Takes back what was set at run time at `path`: the layers below show again. */
  unset(path: Path<T> | PathInput, options?: WriteOptions): Promise<number>;
  /** Reads and writes in one version; runs again from the start when another process committed meanwhile. */
  transaction(work: (transaction: Transaction) => unknown, options?: WriteOptions): Promise<number>;

  /** The run-time version in force; 0 before anything was set. */
  readonly version: number;
  /** The kept versions and the last reloads of this process, newest first. */
  history(): Promise<VersionInfo[]>;
  /** What differs between two versions' run-time values; secrets masked. */
  diff(from: number, to: number): Promise<Change[]>;
  /** Makes a new version with the run-time values of an old one; 0 means none. */
  rollback(version: number, options?: Pick<WriteOptions, 'author' | 'reason'>): Promise<number>;
  /** Tries changes on a part of the instances, and promotes or drops them by itself. */
  readonly canary: CanaryControl;

  /** Where the value at `path` comes from and what it hid. */
  explain(path: Path<T> | PathInput): Explanation;
  /** What {@link ConfigManager.snapshot} gives, with every secret masked: what may be shown and logged. */
  masked(): Readonly<Record<string, unknown>>;

  /** Called after each change, serially; one that throws is logged and counted. Returns the function that ends it. */
  addChangeCallback(callback: (change: ConfigChange) => unknown): () => void;
  /** Called when the value at `path` differs; otherwise as {@link ConfigManager.addChangeCallback}. */
  subscribe<P extends Path<T>>(
    path: P,
    callback: PathCallback<PathValue<T, P>>,
    options?: SubscribeOptions,
  ): () => void;
  /** Adds a guard, which may veto an update that changes the value at `path`. */
  guard(path: Path<T> | PathInput, guard: Guard): () => void;

  on<K extends keyof ConfigEvents | 'error'>(event: K, listener: ConfigListener<K>): this;
  once<K extends keyof ConfigEvents | 'error'>(event: K, listener: ConfigListener<K>): this;
  off<K extends keyof ConfigEvents | 'error'>(event: K, listener: ConfigListener<K>): this;

  /**
   * Loads every source again, the environment too.
   *
   * @throws what is wrong, when the result is refused; the last good configuration stays in force
   */
  reload(): Promise<void>;
  stats(): ConfigStats;
  healthIndicator(): HealthIndicator;
  readonly closed: boolean;
}

/** A listener of one of a manager's events. */
export type ConfigListener<K extends string> = (
  ...args: K extends keyof ConfigEvents ? ConfigEvents[K] : [error: unknown]
) => unknown;
