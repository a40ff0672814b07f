/**
 * Real servers for the tests: each private to the test process, on a free port of 127.0.0.1, in a temporary
 * directory, and gone when it is stopped or when the process ends, however it ends.
 *
 * - **fault**: what a test does to a server that runs: `pause` (SIGSTOP), `kill` (-9), `restart`.
 * - **chaos proxy**: a TCP proxy in front of a server that loses, delays or cuts what passes.
 * - **fixture**: a TypeScript program that a test runs in a process of its own.
 *
 * @packageDocumentation
 */
export { eventually, type EventuallyOptions } from './eventually.ts';
export { freePort } from './free-port.ts';
export { isRunning } from './process-tree.ts';
export type { ServerProcess } from './server-process.ts';
export { startRedis, type RedisOptions, type RedisServer } from './redis/redis-server.ts';
export { sharedRedis, type SharedRedis } from './redis/shared-redis.ts';
export { startRedisCluster, type RedisCluster, type RedisClusterOptions } from './redis/redis-cluster.ts';
export { startRedisSentinel, type RedisSentinel, type RedisSentinelOptions } from './redis/redis-sentinel.ts';
export { startRabbitMq, type RabbitMqOptions, type RabbitMqServer } from './rabbitmq/rabbitmq-server.ts';
export { startPostgres, type PostgresOptions, type PostgresServer } from './sql/postgres-server.ts';
export { startMariaDb, type MariaDbOptions, type MariaDbServer } from './sql/mariadb-server.ts';
export { startMongo, type MongoOptions, type MongoServer } from './mongo/mongo-server.ts';
export {
  startMongoReplicaSet,
  type MongoAnswer,
  type MongoMember,
  type MongoReplicaSet,
  type MongoRole,
} from './mongo/mongo-replica-set.ts';
export {
  promtoolPath,
  startAlertmanager,
  startPrometheus,
  startPushgateway,
  type MonitoringOptions,
  type MonitoringServer,
} from './prometheus/prometheus-server.ts';
export { chromiumPath } from './chromium.ts';
export { settableClock, type SettableClock } from './settable-clock.ts';
export { ensureServers, type ServerName } from './ensure-servers.ts';
export { chaosProxy, type ChaosProxy, type ChaosProxyOptions, type Latency } from './proxy/chaos-proxy.ts';
export type { Exchange } from './proxy/proxied-connection.ts';
export { spawnNode, type InlineScript, type SpawnNodeOptions } from './spawn-node.ts';
export type { Exit, Message, NodeProcess } from './node-process.ts';
