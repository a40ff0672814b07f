/**
 * Redis plumbing on structural types: whose a client is, scripts by hash, keys with one hash tag, a subscriber that says
 * when it missed something. Nothing here imports ioredis.
 *
 * @module
 */
export {
  isRedisClient,
  isRedisCluster,
  type RedisArgument,
  type RedisClientLike,
  type RedisClusterLike,
  type RedisConnectionOptions,
  type RedisLike,
  type RedisOption,
} from './redis-like.ts';
export {
  openRedis,
  renewConnection,
  type LoadIoredis,
  type OpenRedisOptions,
  type RedisConnection,
} from './connection.ts';
export { RedisScript } from './script.ts';
export { decodeTag, encodeTag, keyspace, type Keyspace } from './keyspace.ts';
export { RedisSubscriber, type MessageListener, type SubscriberOptions } from './subscriber.ts';
