import { Worker } from 'node:worker_threads';
import { createRequire } from 'node:module';
import { runInBackground, systemClock, type Logger, type RedisOption } from '@xiaoke/core';
import { isRedisClient } from '@xiaoke/core/redis';
import { THREAD_SOURCE } from './lease-thread.ts';

/** How the lease thread is run. */
export interface LeaseKeeperOptions {
  readonly redis: RedisOption;
  readonly leaseMs: number;
  readonly maxBlockMs: number;
  readonly logger: Logger;
}

/** Milliseconds below which there is no time to load a client when it is needed, and within which it has to be there. */
const SHORT_LEASE = 10_000;
const START_WITHIN = 5_000;

/**
 * Renews leases from a thread of its own while the main thread is busy with a handler that never yields. It renews only
 * what the main thread has renewed within `maxBlock`: a process that hangs for good loses its tasks all the same.
 */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #workers = new Set<string>();
  #thread: Worker | undefined;
  #starting: Promise<void> | undefined;
  #broken = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  /** Until the thread can renew a short lease, before which no task should be claimed under it; `undefined` from then on. */
  get starting(): Promise<void> | undefined {
    return this.#starting;
  }

  /** Keeps the lease of a worker, whose leases are in the sorted set `key`. */
  add(worker: string, key: string): void {
    if (this.#broken) return;
    this.#thread ??= this.#start();
    this.#workers.add(worker);
    this.#thread?.postMessage({ add: worker, key });
  }

  /** The main thread has renewed it itself. */
  renewed(worker: string): void {
    if (this.#workers.has(worker)) this.#thread?.postMessage({ renewed: worker });
  }

  drop(worker: string): void {
    this.#workers.delete(worker);
    this.#thread?.postMessage({ drop: worker });
    if (this.#workers.size === 0) runInBackground(() => this.#stop(), 'stop the lease thread');
  }

  async close(): Promise<void> {
    this.#workers.clear();
    await this.#stop();
  }

  #start(): Worker | undefined {
    const { redis, leaseMs, maxBlockMs, logger } = this.#options;
    try {
      const workerData = {
        ...connectionOf(redis),
        ioredis: createRequire(import.meta.url).resolve('ioredis'),
        leaseMs,
        maxBlockMs,
        eager: leaseMs < SHORT_LEASE,
      };
      const thread = new Worker(THREAD_SOURCE, { eval: true, workerData, name: 'xiaoke-queue-lease' });
      thread.unref();
      thread.on('error', (error) => this.#fail(error));
      if (workerData.eager) this.#starting = this.#started(thread);
      return thread;
    } catch (error) {
      logger.warn(
        { err: error },
        'leases cannot be kept by a thread: a handler that blocks longer than the lease loses its tasks',
      );
      this.#broken = true;
      return undefined;
    }
  }

  async #started(thread: Worker): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = systemClock.setTimeout(resolve, START_WITHIN).unref();
      const finish = (): void => {
        timer.cancel();
        resolve();
      };
      thread.once('message', finish).once('exit', finish);
    });
    this.#starting = undefined;
  }

  #fail(error: unknown): void {
    this.#options.logger.warn({ err: error }, 'the thread that keeps leases has died');
    this.#thread = undefined;
    this.#broken = true;
  }

  async #stop(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.terminate();
  }
}

/** What a thread needs to connect to the same place; only plain data can travel to it. */
function connectionOf(redis: RedisOption): object {
  if (typeof redis === 'string') return { url: redis };
  if (!isRedisClient(redis)) return { options: plain(redis) };
  const options: unknown = Reflect.get(redis, 'options');
  if (!('isCluster' in redis && redis.isCluster)) return { options: plain(options) };
  const nodes: unknown = Reflect.get(redis, 'startupNodes');
  const { redisOptions } = options as { redisOptions?: unknown };
  return { nodes: plain(nodes), options: plain(redisOptions ?? {}) };
}

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array)
    return typeof value === 'function' ? undefined : value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
