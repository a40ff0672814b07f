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
export { chaosProxy, type ChaosProxy, type ChaosProxyOptions, type Latency } from './proxy/chaos-proxy.ts';
export type { Exchange } from './proxy/proxied-connection.ts';
export { spawnNode, type InlineScript, type SpawnNodeOptions } from './spawn-node.ts';
export type { Exit, Message, NodeProcess } from './node-process.ts';
