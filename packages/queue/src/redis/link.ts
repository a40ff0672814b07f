import { onAbort, sleep, systemClock, systemRandom, type Timer } from '@xiaoke/core';
import {
  renewConnection,
  type RedisArgument,
  type RedisConnection,
  type RedisLike,
  type RedisScript,
} from '@xiaoke/core/redis';
import { QueueError } from '../errors.ts';

/** A script as `scripts.generated.ts` gives it, ready to run. */
export type Script = RedisScript;

const SILENT_AFTER = 3_000;
const TRANSIENT =
  /^(LOADING|READONLY|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|BUSY|UNKILLABLE|OOM|NOREPLICAS|MISCONF)\b/;

/** Whether trying again may help: the connection failed, or the server says that it is not ready. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  // What the server answered is a ReplyError; everything else came from the connection.
  return error.name !== 'ReplyError' || TRANSIENT.test(error.message);
}

/**
 * One connection of our own. A command that fails because the connection did is reported at once and never repeated by the
 * client; a connection that stays silent under a waiting command is cut, so that no command waits for ever.
 */
export class RedisLink {
  readonly client: RedisLike;
  readonly #watch: Timer | undefined;
  readonly #pending = new Map<number, number>();
  #last = 0;
  #connectedAt = -Infinity;
  #closed = false;

  constructor(connection: RedisConnection, silentAfter: number = SILENT_AFTER) {
    this.client = connection.duplicate({
      lazyConnect: true,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: true,
      connectTimeout: 3_000,
      // Of a Cluster, each node's connection is watched by itself: the others go on while one is silent.
      ...(connection.cluster && { socketTimeout: silentAfter }),
      retryStrategy: (times: number) =>
        Math.min(20 * 2 ** Math.min(times, 6), 1_000) * (0.5 + systemRandom() / 2),
    });
    if (connection.cluster) return;
    for (const event of ['connect', 'ready'])
      this.client.on(event, () => (this.#connectedAt = systemClock.monotonic()));
    this.#watch = systemClock
      .setInterval(() => this.#check(silentAfter), Math.min(1_000, silentAfter / 2))
      .unref();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Runs a script once. Rejects when the connection fails, with nothing known about what happened. */
  run(script: Script, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> {
    return this.#tracked(() => script.run(this.client, keys, args));
  }

  /** Runs a command once. */
  call(command: string, ...args: RedisArgument[]): Promise<unknown> {
    return this.#tracked(() => this.client.call(command, ...args));
  }

  close(): void {
    this.#closed = true;
    this.#watch?.cancel();
    this.client.disconnect();
  }

  async #tracked<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new QueueError('QUEUE_CLOSED', 'The connection is closed');
    this.#last += 1;
    const id = this.#last;
    this.#pending.set(id, systemClock.monotonic());
    try {
      return await work();
    } finally {
      this.#pending.delete(id);
    }
  }

  #check(silentAfter: number): void {
    const [oldest] = this.#pending.values();
    if (oldest === undefined || this.#closed) return;
    // What waited for the connection was not asked before there was one.
    const asked = Math.max(oldest, this.#connectedAt);
    if (systemClock.monotonic() - asked >= silentAfter) renewConnection(this.client);
  }
}

/** How a request is repeated. */
export interface RequestOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Repeats `attempt` through outages until it succeeds or its time is up. Everything asked this way is safe to repeat.
 *
 * @throws QueueError `QUEUE_UNAVAILABLE`
 */
export async function request<T>(attempt: () => Promise<T>, options: RequestOptions): Promise<T> {
  const deadline = systemClock.monotonic() + options.timeoutMs;
  for (let tries = 0; ; tries += 1) {
    const left = deadline - systemClock.monotonic();
    try {
      return await within(attempt(), Math.max(1, left), options.signal);
    } catch (error) {
      const over = systemClock.monotonic() >= deadline || options.signal?.aborted === true;
      if (error instanceof QueueError && error.code === 'QUEUE_CLOSED') throw error;
      if (over || !isTransient(error)) throw unavailable(error, options.timeoutMs);
      await sleep(Math.min(20 * 2 ** tries, 250, Math.max(1, deadline - systemClock.monotonic())));
    }
  }
}

/** The error for a backend that did not answer. The cause is kept; it holds no address and no password. */
export function unavailable(error: unknown, timeoutMs: number): QueueError {
  const cause =
    error instanceof Error ? new Error(error.message.replaceAll(/rediss?:\/\/\S+/g, 'redis://…')) : error;
  return new QueueError('QUEUE_UNAVAILABLE', 'Redis did not take the request', {
    cause,
    details: { timeoutMs },
  });
}

function within<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = systemClock.setTimeout(() => reject(new Error('no answer in time')), timeoutMs);
    const removeAbort = onAbort(signal, (reason) => reject(reason));
    const finish = (): void => {
      timer.cancel();
      removeAbort();
    };
    work.then(
      (value) => {
        finish();
        resolve(value);
      },
      (error: unknown) => {
        finish();
        reject(error);
      },
    );
  });
}
