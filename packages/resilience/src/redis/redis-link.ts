import {
  systemClock,
  TimeoutError,
  withTimeout,
  XiaokeError,
  type Clock,
  type Logger,
  type RedisOption,
} from '@xiaoke/core';
import {
  openRedis,
  renewConnection,
  type RedisArgument,
  type RedisConnection,
  type RedisScript,
} from '@xiaoke/core/redis';

/** How a link is made. */
export interface RedisLinkOptions {
  readonly redis: RedisOption;
  /** A command that takes longer fails. */
  readonly timeout: number;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
}

/** Redis could not be asked, or not in time (`REDIS_UNAVAILABLE`). */
export class RedisUnavailableError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.RedisUnavailableError';

  constructor(cause?: unknown) {
    super('REDIS_UNAVAILABLE', 'Redis did not answer', { cause });
  }
}

// After a failure nobody asks for a while, so that an unreachable server delays one call and not all.
const REST = 1_000;

/** A connection that is opened at the first command, bounds every command, and rests after a failure. */
export class RedisLink {
  readonly #options: RedisLinkOptions;
  readonly #clock: Clock;
  #connection: Promise<RedisConnection> | undefined = undefined;
  #restUntil = 0;
  #closed = false;

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get resting(): boolean {
    return this.#clock.monotonic() < this.#restUntil;
  }

  connection(): Promise<RedisConnection> {
    if (this.#closed) return Promise.reject(new RedisUnavailableError());
    const { redis, logger } = this.#options;
    this.#connection ??= openRedis(redis, { load: () => import('ioredis'), logger });
    return this.#connection;
  }

  /** Runs a script, or rejects with {@link RedisUnavailableError} in time. */
  async run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<readonly unknown[]> {
    if (this.#closed || this.resting) throw new RedisUnavailableError();
    try {
      const reply = await withTimeout(this.#send(script, keys, args), this.#options.timeout, 'Redis', {
        ref: false,
      });
      return Array.isArray(reply) ? (reply as readonly unknown[]) : [];
    } catch (error) {
      this.#restUntil = this.#clock.monotonic() + REST;
      if (error instanceof TimeoutError) await this.#renew();
      throw new RedisUnavailableError(error);
    }
  }

  /**
   * Silence may mean a connection that is gone without a word, as when a router forgot it; TCP alone finds out after a
   * quarter of an hour. Another one costs little. That of the user is the user's.
   */
  async #renew(): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined);
    if (connection?.owned === true) renewConnection(connection.client);
  }

  async close(timeout: number): Promise<void> {
    this.#closed = true;
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.close(timeout);
  }

  async #send(
    script: RedisScript,
    keys: readonly string[],
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    const { client } = await this.connection();
    return await script.run(client, keys, args);
  }
}

/** A number of a script's reply. */
export function numberAt(reply: readonly unknown[], index: number): number {
  const value = Number(reply[index]);
  if (Number.isNaN(value)) throw new RedisUnavailableError();
  return value;
}
