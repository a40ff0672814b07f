import {
  InvalidOptionError,
  toMilliseconds,
  withTimeout,
  type CloseOptions,
  type HealthIndicator,
} from '@xiaoke/core';
import type { Canary, CanaryControl } from './canary.ts';
import type { ConfigChange } from './change.ts';
import type { Change } from './diff.ts';
import { ConfigClosedError, ConfigKeyError } from './errors.ts';
import { explainPath, type Explanation } from './explain.ts';
import type { FileSourceOptions } from './file/file-slots.ts';
import type { ConfigFormat } from './format.ts';
import type { Guard } from './guards.ts';
import { indicatorOf } from './health.ts';
import type { VersionInfo } from './history.ts';
import type { RemoteSourceOptions } from './http/remote-options.ts';
import type { ConfigListener, ConfigManager, ConfigRef, SubscribeOptions } from './manager.ts';
import type { LastGood } from './last-good.ts';
import type { ResolvedOptions } from './options.ts';
import { formatPath, parsePath, type PathInput } from './path.ts';
import {
  checkWriteOptions,
  type RuntimeControl,
  type Transaction,
  type WriteOptions,
} from './runtime-control.ts';
import { RuntimeValues } from './runtime-values.ts';
import type { Snapshot } from './snapshot.ts';
import type { ConfigSource } from './source.ts';
import type { SourceSet } from './source-set.ts';
import type { ConfigStats } from './status.ts';
import type { ConfigStore } from './store.ts';
import type { PathCallback } from './subscriptions.ts';
import type { Updates } from './updates.ts';

/** The parts a manager is made of. */
export interface ManagerParts {
  readonly options: ResolvedOptions;
  readonly updates: Updates;
  readonly runtime: RuntimeControl;
  readonly sources: SourceSet;
  readonly lastGood: LastGood;
  readonly store: ConfigStore;
  readonly canary: Canary;
}

/** The manager behind the interface. Its types are those of the interface once the factory has named `T`. */
export class HotConfigManager implements ConfigManager {
  readonly #parts: ManagerParts;
  readonly #engine: Updates['engine'];
  #closing: Promise<void> | undefined;

  constructor(parts: ManagerParts) {
    this.#parts = parts;
    this.#engine = parts.updates.engine;
  }

  get version(): number {
    return this.#engine.current.version;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  get canary(): CanaryControl {
    return this.#parts.canary;
  }

  async addFileSource(path: string, format?: ConfigFormat, options: FileSourceOptions = {}): Promise<void> {
    this.#assertOpen();
    await this.#parts.sources.addFile(path, format, options);
  }

  async setRemoteSource(url: string | URL, options: RemoteSourceOptions = {}): Promise<void> {
    this.#assertOpen();
    await this.#parts.sources.setRemote(url, options);
  }

  async addSource(source: ConfigSource): Promise<void> {
    this.#assertOpen();
    await this.#parts.sources.addCustom(source);
  }

  get(path: string, fallback?: unknown): unknown {
    const { current } = this.#engine;
    let value = current.index.get(path);
    // `find` remembers that there is nothing, too: an optional setting that nobody set is asked for as often as any.
    if (value === undefined) value = current.find(path);
    return value === undefined ? fallback : value;
  }

  require(path: string): unknown {
    const value = this.get(path);
    if (value === undefined) throw new ConfigKeyError(formatPath(parsePath(path)));
    return value;
  }

  has(path: string): boolean {
    return this.get(path) !== undefined;
  }

  ref(path: string): ConfigRef<unknown> {
    return new Ref(this.#engine, parsePath(path));
  }

  snapshot(): Readonly<Record<string, unknown>> {
    return this.#engine.current.value;
  }

  masked(): Readonly<Record<string, unknown>> {
    return this.#engine.secrets.mask(this.#engine.current.value) as Readonly<Record<string, unknown>>;
  }

  runtimeValues(): Readonly<Record<string, unknown>> {
    const { overrides } = RuntimeValues.parse(this.#parts.runtime.known.document);
    return Object.fromEntries(overrides.map(({ parts, value }) => [formatPath(parts), value]));
  }

  async set(path: PathInput, value: unknown, options: WriteOptions = {}): Promise<number> {
    return await this.#write((values) => values.set(path, value), options);
  }

  async setMany(
    entries: Readonly<Record<string, unknown>> | Iterable<readonly [PathInput, unknown]>,
    options: WriteOptions = {},
  ): Promise<number> {
    const list = Symbol.iterator in entries ? [...entries] : Object.entries(entries);
    const edit = (values: RuntimeValues): RuntimeValues =>
      list.reduce((sum, [path, value]) => sum.set(path, value), values);
    return await this.#write(edit, options);
  }

  async unset(path: PathInput, options: WriteOptions = {}): Promise<number> {
    return await this.#write((values) => values.unset(path), options);
  }

  async transaction(
    work: (transaction: Transaction) => unknown,
    options: WriteOptions = {},
  ): Promise<number> {
    const edit = async (values: RuntimeValues): Promise<RuntimeValues> => {
      let draft = values;
      const transaction: Transaction = {
        get: (path) => draft.at(parsePath(path)) ?? this.#engine.current.at(parsePath(path)),
        set: (path, value) => void (draft = draft.set(path, value)),
        unset: (path) => void (draft = draft.unset(path)),
      };
      const { clock, transactionTimeout: limit } = this.#parts.options;
      // It holds everything else up, so it must end; and awaiting this manager's own set() in it never would.
      await withTimeout(
        Promise.resolve().then(() => work(transaction)),
        limit,
        'the transaction',
        { clock },
      );
      return draft;
    };
    return await this.#write(edit, options);
  }

  async history(): Promise<VersionInfo[]> {
    const { store, updates } = this.#parts;
    return updates.reloads.withVersions(await store.history());
  }

  async diff(from: number, to: number): Promise<Change[]> {
    return await this.#parts.runtime.diff(from, to);
  }

  async rollback(version: number, options: Pick<WriteOptions, 'author' | 'reason'> = {}): Promise<number> {
    const { updates, runtime } = this.#parts;
    checkWriteOptions(options);
    const made = await this.#exclusive(async () => {
      const target = await runtime.documentOf(version);
      return await runtime.write(
        { kind: 'rollback', to: version, always: true, edit: () => target },
        options,
      );
    });
    updates.metrics.rollbacks.inc();
    updates.counts.rollbacks += 1;
    return made;
  }

  explain(path: PathInput): Explanation {
    const { built, current, secrets } = this.#engine;
    return explainPath(parsePath(path), built, current, secrets);
  }

  addChangeCallback(callback: (change: ConfigChange) => unknown): () => void {
    needFunction('callback', callback);
    return this.#parts.updates.subscriptions.addAll(callback, this.#engine.current);
  }

  subscribe(path: string, callback: PathCallback<never>, options: SubscribeOptions = {}): () => void {
    needFunction('callback', callback);
    const { subscriptions } = this.#parts.updates;
    const parts = parsePath(path);
    const { signal } = options;
    if (signal?.aborted === true) return () => {};
    const remove = subscriptions.addPath(parts, callback, this.#engine.current, options.immediate === true);
    signal?.addEventListener('abort', remove, { once: true });
    return () => {
      signal?.removeEventListener('abort', remove);
      remove();
    };
  }

  guard(path: PathInput, guard: Guard): () => void {
    needFunction('guard', guard);
    return this.#engine.guards.add(parsePath(path), guard);
  }

  on<K extends string>(event: K, listener: ConfigListener<K>): this {
    this.#parts.updates.events.on(event as 'error', listener as (error: unknown) => unknown);
    return this;
  }

  once<K extends string>(event: K, listener: ConfigListener<K>): this {
    this.#parts.updates.events.once(event as 'error', listener as (error: unknown) => unknown);
    return this;
  }

  off<K extends string>(event: K, listener: ConfigListener<K>): this {
    this.#parts.updates.events.off(event as 'error', listener as (error: unknown) => unknown);
    return this;
  }

  async reload(): Promise<void> {
    this.#assertOpen();
    await this.#parts.sources.reload();
  }

  stats(): ConfigStats {
    const { updates } = this.#parts;
    const { state, counts, subscriptions } = updates;
    return {
      state,
      version: this.version,
      ...counts,
      subscribers: subscriptions.size,
      sources: updates.sources(),
    };
  }

  healthIndicator(): HealthIndicator {
    return indicatorOf(this.#parts.updates);
  }

  async close(options: CloseOptions = {}): Promise<void> {
    const timeout = toMilliseconds(options.timeout ?? '5s', 'timeout');
    this.#closing ??= this.#close(timeout);
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(timeout: number): Promise<void> {
    const { updates, sources, store, lastGood, options } = this.#parts;
    updates.end();
    updates.subscriptions.clear();
    updates.checkState();
    const parts = [
      sources.close(),
      this.#parts.canary.close(),
      store.close(timeout),
      lastGood.settled(timeout),
      updates.background.settled(timeout),
    ];
    const { clock } = options;
    await withTimeout(Promise.allSettled(parts), timeout, 'closing', { clock }).catch(() => {});
    updates.events.removeAllListeners();
  }

  async #write(
    edit: (values: RuntimeValues) => RuntimeValues | Promise<RuntimeValues>,
    options: WriteOptions,
  ): Promise<number> {
    checkWriteOptions(options);
    const version = await this.#exclusive(() => this.#parts.runtime.write({ kind: 'set', edit }, options));
    return version;
  }

  #exclusive<R>(work: () => Promise<R>): Promise<R> {
    this.#assertOpen();
    return this.#parts.updates.serial.run(async () => {
      this.#assertOpen();
      return await work();
    });
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new ConfigClosedError();
  }
}

function needFunction(option: string, value: unknown): void {
  if (typeof value !== 'function') throw new InvalidOptionError(option, 'must be a function');
}

class Ref implements ConfigRef<unknown> {
  readonly #engine: { readonly current: Snapshot };
  readonly #parts: readonly string[];
  #seen: Snapshot | undefined;
  #value: unknown;

  constructor(engine: { readonly current: Snapshot }, parts: readonly string[]) {
    this.#engine = engine;
    this.#parts = parts;
  }

  get value(): unknown {
    const { current } = this.#engine;
    if (current !== this.#seen) {
      this.#value = current.at(this.#parts);
      this.#seen = current;
    }
    return this.#value;
  }
}
