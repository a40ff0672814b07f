import { randomBytes } from 'node:crypto';

import { startRedis, type RedisServer } from './redis-server.ts';

/** The Redis that the tests of one file share; tests keep apart by their key prefixes. */
export interface SharedRedis extends RedisServer {
  /** A key prefix nobody else has, such as `lock-3f9a1c:`; `label` makes it readable. */
  prefix(label?: string): string;
}

let shared: Promise<SharedRedis> | undefined;

/**
 * The one Redis of this test process, started on first use and ended with the process.
 *
 * Vitest gives each test file a process, so files never share one. Tests that pause, kill or flush the
 * server start their own by `startRedis()`.
 *
 * @example
 * ```ts
 * const redis = await sharedRedis();
 * const keyPrefix = redis.prefix('lock');
 * ```
 */
export function sharedRedis(): Promise<SharedRedis> {
  shared ??= startRedis().then((server) =>
    Object.assign(server, {
      prefix: (label = 'test') => `${label}-${randomBytes(6).toString('hex')}:`,
    }),
  );
  return shared;
}
