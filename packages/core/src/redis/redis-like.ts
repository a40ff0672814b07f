/**
 * The shapes of ioredis (5 and 6) that the suite uses, declared here so that a package's types need no ioredis and a
 * client of either version, or a wrapper of one, is accepted by shape.
 */

/** One argument of a command. */
export type RedisArgument = string | number | Uint8Array;

/** A client connection, single, Sentinel or Cluster. */
export interface RedisLike {
  /** `wait`, `connecting`, `connect`, `ready`, `reconnecting`, `close` or `end`. */
  readonly status: string;
  call(command: string, ...args: RedisArgument[]): Promise<unknown>;
  callBuffer(command: string, ...args: RedisArgument[]): Promise<unknown>;
  evalsha(sha: string, keys: number, ...args: RedisArgument[]): Promise<unknown>;
  subscribe(...channels: string[]): Promise<unknown>;
  unsubscribe(...channels: string[]): Promise<unknown>;
  connect(): Promise<void>;
  disconnect(reconnect?: boolean): void;
  quit(): Promise<unknown>;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  once(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** A single-server (or Sentinel) client. */
export interface RedisClientLike extends RedisLike {
  duplicate(override?: object): RedisLike;
}

/** A Cluster client; note that its `duplicate` takes the options second. */
export interface RedisClusterLike extends RedisLike {
  readonly isCluster: boolean;
  readonly options?: { readonly redisOptions?: object | undefined };
  nodes(role?: 'all' | 'master' | 'slave'): RedisLike[];
  duplicate(nodes?: never[], override?: object): RedisLike;
}

/** Connection options in ioredis's form; those named here are only the common ones, every other is passed on. */
export interface RedisConnectionOptions {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly path?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly db?: number | undefined;
  readonly tls?: object | undefined;
  readonly sentinels?: readonly object[] | undefined | null;
  readonly name?: string | undefined;
  readonly keyPrefix?: string | undefined;
}

/**
 * Where Redis is: a URL (`redis://`, `rediss://`), ioredis options, or an ioredis client or Cluster of your own. A client
 * handed in is used and never closed.
 */
export type RedisOption = string | RedisConnectionOptions | RedisClientLike | RedisClusterLike;

/** Whether `value` is a client rather than options. */
export function isRedisClient(value: unknown): value is RedisClientLike | RedisClusterLike {
  return typeof value === 'object' && value !== null && 'evalsha' in value && 'duplicate' in value;
}

/** Whether a client speaks to a Redis Cluster. */
export function isRedisCluster(client: RedisLike): client is RedisClusterLike {
  return 'isCluster' in client && client.isCluster === true;
}
