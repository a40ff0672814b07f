import {
  compileKeyTemplate,
  createDecorator,
  IsolatedEmitter,
  processWide,
  toMilliseconds,
  type CloseOptions,
  type Decorator,
  type HealthIndicator,
  type KeyTemplate,
} from '@xiaoke/core';
import { Acquisition, type Wish } from './acquire.ts';
import type { LockBackend, Resource } from './backend.ts';
import { DeadlockDetector } from './deadlock/detector.ts';
import { createElection, type Election, type ElectionConfig } from './election.ts';
import { LockEngine } from './engine.ts';
import { LockManagerClosedError, UnsupportedError } from './errors.ts';
import type { LockEvents } from './events.ts';
import type { HeldLock } from './held-lock.ts';
import { describeRecord, type HolderInfo, type LockInspection, type WaiterInfo } from './inspection.ts';
import type { Lock } from './lock.ts';
import type { LockType } from './lock-type.ts';
import {
  resolveConfig,
  resolveKeys,
  resolveOptions,
  type LockConfig,
  type LockManagerOptions,
  type ResolvedConfig,
  type ResolvedOptions,
} from './options.ts';
import { openBackend } from './open-backend.ts';
import { runInFrame } from './scope.ts';
import { checkPermits, type Semaphore } from './semaphore.ts';
import { LockStatistics, type LockStats } from './statistics.ts';

type Critical<T> = (lock: Lock) => Promise<T>;

/** Locks, semaphores and elections on one backend. Made by {@link createLockManager}. */
export class LockManager extends IsolatedEmitter<LockEvents> implements AsyncDisposable {
  readonly #engine: LockEngine;
  readonly #defaults: ResolvedConfig;
  #closing: Promise<void> | undefined;

  /** Use {@link createLockManager}. */
  constructor(backend: LockBackend, options: ResolvedOptions) {
    super({ logger: options.logger });
    this.#defaults = options.defaults;
    this.#engine = new LockEngine({ backend, options, statistics: new LockStatistics(options.metrics) });
    this.#engine.detector = new DeadlockDetector(this.#engine);
    this.#engine.onLockLost = (lock, error) => {
      options.logger.warn({ keys: lock.keys, reason: error.reason }, 'a lock was lost while it was in use');
      this.emit('lost', lock, error);
    };
  }

  /** @internal */
  start(): Promise<void> {
    return this.#engine.backend.start(this.#engine.processId, this.#engine);
  }

  /** Whether {@link close} was called. */
  get closed(): boolean {
    return this.#engine.closed;
  }

  /**
   * Waits for a lock on one key, or on several at once: all or nothing, in an order that cannot deadlock.
   *
   * @throws {@link LockTimeoutError} when it was not free in time, with its holder
   * @throws {@link LockAbortedError} when `signal` fired first
   * @throws {@link DeadlockError} when the wait could never end
   * @throws {@link LockUnavailableError} when the server did not answer
   */
  acquireLock(
    key: string | readonly string[],
    type?: LockType | LockConfig,
    config?: LockConfig,
  ): Promise<Lock> {
    try {
      const wish = {
        keys: resolveKeys(key),
        config: resolveConfig(this.#defaults, type, config),
        must: true,
      };
      return this.#acquire(wish);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As {@link acquireLock}, but `undefined` when it is not free: at once, or within `wait` if that is given. */
  async tryAcquireLock(
    key: string | readonly string[],
    type?: LockType | LockConfig,
    config?: LockConfig,
  ): Promise<Lock | undefined> {
    const keys = resolveKeys(key);
    const resolved = resolveConfig({ ...this.#defaults, wait: 0 }, type, config);
    return await new Acquisition(this.#engine, { keys, config: resolved, must: false }).run();
  }

  /**
   * Runs `fn` while holding the lock, as its owner, and gives it back however `fn` ends. It settles when the release has
   * been sent, without waiting for the answer: one round trip for the whole. A release that fails is repeated until the
   * lease has ended. Use {@link acquireLock} and `release()` where the confirmation matters.
   */
  withLock<T>(key: string | readonly string[], fn: Critical<T>): Promise<T>;
  withLock<T>(key: string | readonly string[], type: LockType | LockConfig, fn: Critical<T>): Promise<T>;
  /** A decorator for methods and a wrapper for functions; the template makes the key of each call. */
  withLock(template: KeyTemplate, type?: LockType | LockConfig): Decorator;
  withLock<T>(
    key: string | readonly string[] | KeyTemplate,
    second?: LockType | LockConfig | Critical<T>,
    third?: Critical<T>,
  ): Promise<T> | Decorator {
    const fn = typeof second === 'function' ? second : third;
    const type = typeof second === 'function' ? undefined : second;
    if (fn === undefined) return this.#decorator(key as KeyTemplate, type);
    return this.#guard(key as string | readonly string[], type, fn);
  }

  /** A counting semaphore. Everybody who uses the same key should say the same number of permits. */
  semaphore(key: string, permits: number, config?: LockConfig): Semaphore {
    if (this.#engine.backend.kind === 'quorum') {
      // Limit 2, nodes {A,B} {B,C} {A,C}: each of three holders has a majority.
      throw new UnsupportedError('A semaphore over a quorum is unsound: its majorities can admit too many');
    }
    const keys = resolveKeys(key);
    const limit = checkPermits(permits, 'permits', 1_000_000);
    const base = resolveConfig(this.#defaults, config, undefined);
    const wish = (weight: number | undefined, own: LockConfig | undefined, wait?: 0): Wish => ({
      keys,
      config: resolveConfig(wait === undefined ? base : { ...base, wait }, own, undefined),
      must: wait === undefined,
      permits: { weight: checkPermits(weight ?? 1, 'permits', limit), limit },
    });
    return {
      key,
      permits: limit,
      acquire: async (weight, own) => await this.#acquire(wish(weight, own)),
      tryAcquire: async (weight, own) => await new Acquisition(this.#engine, wish(weight, own, 0)).run(),
    };
  }

  /** Chooses one leader among all who campaign for `name`. */
  election(name: string, config?: ElectionConfig): Election {
    return createElection(this, this.#engine, name, config);
  }

  /** Who holds `key` and who waits for it. Of another process, those who wait behind its first are not shown. */
  async inspectLock(
    key: string,
  ): Promise<{ holders: readonly HolderInfo[]; waiters: readonly WaiterInfo[] }> {
    const [only = ''] = resolveKeys(key);
    const { holders, waiters } = await this.#inspect({ kind: 'lock', key: only });
    return { holders, waiters };
  }

  /** Every lock and semaphore that is held or waited for. */
  async *inspectLocks(): AsyncIterable<LockInspection> {
    for await (const record of this.#engine.backend.inspectAll()) yield describeRecord(this.#engine, record);
  }

  /** Takes a lock from whoever has it; their `signal` fires. Resolves to how many there were. */
  async forceRelease(key: string): Promise<number> {
    const [only = ''] = resolveKeys(key);
    const { backend, bounded } = this.#engine;
    return await bounded.run(() => backend.force({ kind: 'lock', key: only }), 'forced release');
  }

  /** What this process saw. */
  stats(): LockStats {
    return this.#engine.statistics.read();
  }

  /** For `@xiaoke/health`: whether the servers answer. */
  healthIndicator(): HealthIndicator {
    return {
      name: 'locks',
      check: async ({ signal }) => {
        if (this.closed) return { status: 'unhealthy', code: 'CLOSED' };
        const status = await this.#engine.backend.check(signal);
        return status === 'healthy' ? { status } : { status, code: 'REDIS_UNREACHABLE' };
      },
    };
  }

  /** Gives back every lock, ends every wait, and closes the connections it made. */
  close({ timeout = '5s' }: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(toMilliseconds(timeout, 'timeout'));
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #acquire(wish: Wish): Promise<HeldLock> {
    // What must be had is had, or the promise rejects.
    return new Acquisition(this.#engine, wish).run() as Promise<HeldLock>;
  }

  async #guard<T>(
    key: string | readonly string[],
    type: LockType | LockConfig | undefined,
    fn: Critical<T>,
  ): Promise<T> {
    const config = resolveConfig(this.#defaults, type, undefined);
    const lock = await this.#acquire({ keys: resolveKeys(key), config, must: true });
    try {
      return await runInFrame(lock.frame(false), () => fn(lock));
    } finally {
      const sent = lock.releaseQuietly();
      if (sent !== undefined) await sent;
    }
  }

  #decorator(template: KeyTemplate, type: LockType | LockConfig | undefined): Decorator {
    const keyOf = compileKeyTemplate(template, 'template');
    const named = { ...this.#defaults, name: typeof template === 'string' ? template : this.#defaults.name };
    const config = resolveConfig(named, type, undefined);
    const guard = async (key: string, call: () => unknown): Promise<unknown> => {
      const lock = await this.#acquire({ keys: resolveKeys(key), config, must: true });
      try {
        return await runInFrame(lock.frame(false), call);
      } finally {
        await lock.releaseQuietly();
      }
    };
    return createDecorator(
      (fn) =>
        async function (this: unknown, ...args) {
          return await guard(keyOf(args), () => Reflect.apply(fn, this, args));
        },
    );
  }

  async #inspect(resource: Resource): Promise<LockInspection> {
    const { backend, bounded } = this.#engine;
    return describeRecord(this.#engine, await bounded.run(() => backend.inspect(resource), 'inspection'));
  }

  async #close(timeout: number): Promise<void> {
    const engine = this.#engine;
    const end = engine.clock.monotonic() + timeout;
    const left = (): number => Math.max(0, end - engine.clock.monotonic());
    engine.closed = true;
    for (const attempt of engine.attempts) attempt.fail(new LockManagerClosedError());
    const releases = [...engine.holds].map((hold) => engine.retire(hold));
    engine.background(() => Promise.all(releases), 'release what is held');
    await engine.settled(left());
    engine.waits.clear();
    engine.leases.clear();
    await engine.backend.close(left());
  }
}

/**
 * Makes a lock manager.
 *
 * @throws {@link InvalidOptionError} for an option that makes no sense
 *
 * @example
 * ```ts
 * import { createLockManager } from '@xiaoke/lock';
 * await using locks = await createLockManager({});
 * const total = await locks.withLock('account:1', async (lock) => {
 *   lock.assertHeld();
 *   return 42;
 * });
 * console.log(total); // => 42
 * ```
 */
export async function createLockManager(options: LockManagerOptions = {}): Promise<LockManager> {
  const resolved = resolveOptions(options);
  const manager = new LockManager(await openBackend(resolved), resolved);
  try {
    await manager.start();
  } catch (error) {
    await manager.close({ timeout: 0 });
    throw error;
  }
  return manager;
}

/** The manager of this process for a Redis URL, or for none; made on first use. */
export const getLockManager: (redisUrl?: string) => Promise<LockManager> = processWide(
  '@xiaoke/lock',
  (redis?: string) => createLockManager({ redis }),
);
