import { InvalidOptionError } from '../errors.ts';
import { silentLogger, type Logger } from '../logger.ts';
import { systemClock, systemRandom, type Random } from '../clock.ts';
import { withTimeout } from '../wait.ts';
import {
  isRedisClient,
  isRedisCluster,
  type RedisClientLike,
  type RedisClusterLike,
  type RedisLike,
  type RedisOption,
} from './redis-like.ts';

/** The module `ioredis`, as `() => import('ioredis')` gives it. */
export type LoadIoredis = () => Promise<{ readonly Redis: new (...args: never[]) => unknown }>;

/** How connections are made. */
export interface OpenRedisOptions {
  /** Loads ioredis; called only when a connection has to be made. */
  readonly load: LoadIoredis;
  /** ioredis options for the connections that we make; they win over the user's. */
  readonly overrides?: object;
  readonly logger?: Logger | undefined;
  /** The path named by an error. @default 'redis' */
  readonly option?: string;
  readonly random?: Random;
}

/** Redis as one manager uses it: whose the client is, and how to make another. */
export interface RedisConnection {
  readonly client: RedisClientLike | RedisClusterLike;
  /** Whether we made the client, and so close it. */
  readonly owned: boolean;
  readonly cluster: boolean;
  /** Another connection to the same place, always ours; for blocking commands and subscriptions. */
  duplicate(overrides?: object): RedisLike;
  /** Closes what we made, the duplicates too, and nothing else. Idempotent, at most `timeout` milliseconds. */
  close(timeout?: number): Promise<void>;
}

/**
 * Opens Redis for a manager. Made connections connect lazily, keep trying with a jittered delay of at most 2 s, and fail
 * a command after one reconnection instead of holding it for long; `overrides` changes that.
 *
 * @throws {@link InvalidOptionError} for something that is no {@link RedisOption}
 */
export async function openRedis(redis: RedisOption, options: OpenRedisOptions): Promise<RedisConnection> {
  const { logger = silentLogger, option = 'redis' } = options;
  if (isRedisClient(redis)) return new Connection(redis, false, logger);
  checkOption(redis, option);
  const { Redis } = await options.load();
  const settings = { ...defaults(options.random ?? systemRandom), ...options.overrides };
  // The constructor takes (url, options) or (options); which one is ioredis's affair, so its type stays unknown here.
  const Client = Redis as unknown as new (...args: unknown[]) => RedisClientLike;
  const client =
    typeof redis === 'string' ? new Client(redis, settings) : new Client({ ...redis, ...settings });
  return new Connection(client, true, logger);
}

function checkOption(redis: unknown, option: string): void {
  const text = typeof redis === 'string';
  if (!text && (typeof redis !== 'object' || redis === null || Array.isArray(redis))) {
    throw new InvalidOptionError(option, 'must be a redis:// URL, ioredis options or an ioredis client');
  }
  // The URL itself may hold a password, so it is not repeated.
  if (text && !/^rediss?:\/\/[^\s]+$/.test(redis)) {
    throw new InvalidOptionError(option, 'must start with redis:// or rediss://');
  }
}

// Once it has said goodbye to a socket, ioredis keeps the process for this long (2 s by its default) in case the socket is still
// there, also when it has been gone for long.
const DISCONNECT_TIMEOUT = 200;

function defaults(random: Random): object {
  return {
    lazyConnect: true,
    disconnectTimeout: DISCONNECT_TIMEOUT,
    maxRetriesPerRequest: 1,
    connectTimeout: 5_000,
    // Jitter keeps a fleet from reconnecting in step.
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 6), 2_000) * (0.5 + random() / 2),
  };
}

class Connection implements RedisConnection {
  readonly client: RedisClientLike | RedisClusterLike;
  readonly owned: boolean;
  readonly #made = new Set<RedisLike>();
  readonly #logger: Logger;
  #closing: Promise<void> | undefined;

  constructor(client: RedisClientLike | RedisClusterLike, owned: boolean, logger: Logger) {
    this.client = client;
    this.owned = owned;
    this.#logger = logger;
    if (owned) this.#adopt(client);
  }

  get cluster(): boolean {
    return isRedisCluster(this.client);
  }

  duplicate(own: object = {}): RedisLike {
    const overrides = { disconnectTimeout: DISCONNECT_TIMEOUT, ...own };
    const made = isRedisCluster(this.client)
      ? // ioredis 5 takes these in place of the cluster's own, which hold its password; ioredis 6 merges them itself.
        this.client.duplicate([], { redisOptions: { ...this.client.options?.redisOptions, ...overrides } })
      : this.client.duplicate(overrides);
    return this.#adopt(made);
  }

  close(timeout = 1_000): Promise<void> {
    this.#closing ??= this.#close(timeout);
    return this.#closing;
  }

  async #close(timeout: number): Promise<void> {
    await Promise.all([...this.#made].map((client) => closeClient(client, timeout)));
    this.#made.clear();
  }

  // ioredis prints an 'error' event that nobody listens to.
  #adopt<T extends RedisLike>(client: T): T {
    client.on('error', (error) => this.#logger.debug({ err: error }, 'redis connection error'));
    client.once('end', () => this.#made.delete(client));
    this.#made.add(client);
    return client;
  }
}

/**
 * Replaces a connection that stays silent. One that is only being made has a limit of time of its own. A Cluster is
 * replaced once it is ready alone: disconnected earlier, ioredis 5 and 6 may take it for ready when it has no connection,
 * and then never make one again.
 */
export function renewConnection(client: RedisLike): void {
  // 'connect' is a connection whose server has not said yet that it is ready.
  const silent = client.status === 'ready' || (client.status === 'connect' && !isRedisCluster(client));
  if (silent) client.disconnect(true);
}

/** Says goodbye if the server answers in time, cuts the connection in any case, and waits for it to be gone. */
async function closeClient(client: RedisLike, timeout: number): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    if (client.status === 'end') resolve();
    else client.once('end', () => resolve());
  });
  const deadline = systemClock.monotonic() + timeout;
  try {
    if (client.status === 'ready') await withTimeout(client.quit(), timeout / 2, 'QUIT');
  } catch {
    // Cut below; everything acknowledged was answered already, so nothing is lost.
  }
  // Between two attempts there is no connection whose end ioredis could tell.
  const idle = client.status === 'reconnecting';
  client.disconnect();
  if (idle) return;
  await withTimeout(ended, Math.max(0, deadline - systemClock.monotonic()), 'closing').catch(() => {});
}
