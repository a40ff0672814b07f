import {
  InvalidOptionError,
  toMilliseconds,
  type Closeable,
  type CloseOptions,
  type Duration,
  type HealthIndicator,
  type Logger,
  type RedisOption,
} from '@xiaoke/core';
import { keyspace, RedisScript } from '@xiaoke/core/redis';
import { checkObject } from '../options.ts';
import type { Rate, RateDecision } from '../rate-limit/gcra.ts';
import type { RateLimitStore } from '../rate-limit/rate-limit-store.ts';
import { numberAt, RedisLink } from './redis-link.ts';
import { takeRateScript } from './scripts.generated.ts';

/** Options of {@link createRedisRateLimitStore}. */
export interface RedisRateLimitStoreOptions {
  readonly redis: RedisOption;
  /** Limits of different namespaces have nothing to do with each other. @default 'default' */
  readonly namespace?: string | undefined;
  /** How long a call may wait for Redis before `onStoreError` decides; after that nobody waits for a second. @default '250ms' */
  readonly timeout?: Duration | undefined;
  readonly logger?: Logger | undefined;
}

/** A {@link RateLimitStore} in Redis. */
export interface RedisRateLimitStore extends RateLimitStore, Closeable {
  healthIndicator(): HealthIndicator;
}

const script = new RedisScript(takeRateScript.source);

/**
 * Keeps rate limits in Redis, so that all processes share them: exactly `limit` per time plus the burst, by the server's clock.
 * It connects at the first call.
 *
 * @throws InvalidOptionError for a bad option
 */
export function createRedisRateLimitStore(options: RedisRateLimitStoreOptions): RedisRateLimitStore {
  return new Store(options);
}

class Store implements RedisRateLimitStore {
  readonly #link: RedisLink;
  readonly #namespace: string;

  constructor(options: RedisRateLimitStoreOptions) {
    checkObject('', options, ['redis', 'namespace', 'timeout', 'logger']);
    const { redis, namespace = 'default', logger } = options;
    if (redis === undefined) throw new InvalidOptionError('redis', 'must say where Redis is');
    this.#namespace = namespace;
    const timeout = toMilliseconds(options.timeout ?? '250ms', 'timeout', { min: 1 });
    this.#link = new RedisLink({ redis, timeout, logger });
  }

  async take(key: string, { limit, perMs, burst }: Rate, maxWait: number): Promise<RateDecision> {
    const keys = keyspace(`xr:${this.#namespace}`, key);
    const interval = (perMs / limit) * 1_000;
    const args = [interval, interval * (burst - 1), maxWait * 1_000].map((micros) => micros.toFixed(3));
    const reply = await this.#link.run(script, [keys('rate')], args);
    return { granted: numberAt(reply, 0) === 1, waitMs: numberAt(reply, 1) / 1_000 };
  }

  healthIndicator(): HealthIndicator {
    return {
      name: 'rate-limit-store',
      check: async () =>
        this.#link.resting ? { status: 'degraded', code: 'REDIS_UNAVAILABLE' } : { status: 'healthy' },
    };
  }

  async close(options: CloseOptions = {}): Promise<void> {
    await this.#link.close(toMilliseconds(options.timeout ?? 1_000, 'timeout'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
