import { InvalidOptionError, toMilliseconds, type Duration } from '@xiaoke/core';
import { checkInteger } from './task-options.ts';

/** How RabbitMQ is used. */
export interface RabbitMqOptions {
  /**
   * Where status, results, unique keys, schedules and cancellations live. `stream`: in a stream of the broker; `redis`: in
   * the Redis given by `redis`; `memory`: in this process alone, fastest, for a producer that is also the worker.
   *
   * @default 'redis' if `redis` is given, else 'stream'
   */
  readonly statusStore?: 'redis' | 'stream' | 'memory';
  /** How long the start waits for a broker that is down: `true` as long as it takes. @default the `connectTimeout` */
  readonly waitForBroker?: boolean | Duration;
  /** How long one attempt to connect may take. @default '5s' */
  readonly connectTimeout?: Duration;
  /** A `heartbeat` in a URL, in seconds, wins. A connection that is silent for two of them is lost. @default '10s' */
  readonly heartbeat?: Duration;
  /** Messages that are published and not confirmed, at most. @default 1000 */
  readonly confirmWindow?: number;
  /** Messages held in supply, per slot, beyond the one that each slot can run; shared out by the weights. @default 1 */
  readonly prefetch?: number;
  /** A message that came this often without an end goes to the dead letters: the guard against a crash loop. @default 20 */
  readonly deliveryLimit?: number;
  /** Delay by the plugin rabbitmq_delayed_message_exchange, which keeps one copy on one node, not by replicated tiers. @default false */
  readonly delayedExchange?: boolean;
  /** Entries of the status store's log between two snapshots: what a new process reads at most. @default 5000 */
  readonly snapshotEvery?: number;
}

/** RabbitMQ options that were checked. */
export interface ResolvedRabbitMqOptions {
  readonly statusStore: 'redis' | 'stream' | 'memory';
  readonly waitForBrokerMs: number;
  readonly connectTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly confirmWindow: number;
  readonly prefetch: number;
  readonly deliveryLimit: number;
  readonly delayedExchange: boolean;
  readonly snapshotEvery: number;
}

const LOCALHOST = 'amqp://localhost:5672';

/** Checks where RabbitMQ is. A URL can hold a password, so no error repeats it. @throws InvalidOptionError */
export function resolveRabbitMqUrls(rabbitmq: string | readonly string[] | undefined): readonly string[] {
  const urls: readonly unknown[] = rabbitmq === undefined ? [LOCALHOST] : [rabbitmq].flat();
  if (urls.length === 0) throw new InvalidOptionError('rabbitmq', 'must name at least one broker');
  return urls.map((url, index) => {
    const path = Array.isArray(rabbitmq) ? `rabbitmq[${index}]` : 'rabbitmq';
    if (typeof url !== 'string' || !/^amqps?:\/\/\S+$/.test(url) || !URL.canParse(url))
      throw new InvalidOptionError(path, 'must be an amqp:// or amqps:// URL');
    return url;
  });
}

/** Checks how RabbitMQ is used. @throws InvalidOptionError */
export function resolveRabbitMqOptions(options: RabbitMqOptions, hasRedis: boolean): ResolvedRabbitMqOptions {
  const path = (name: keyof RabbitMqOptions): string => `rabbitmqOptions.${name}`;
  if (typeof options !== 'object' || options === null)
    throw new InvalidOptionError('rabbitmqOptions', 'must be an object');
  const { waitForBroker = false, delayedExchange = false } = options;
  if (typeof delayedExchange !== 'boolean')
    throw new InvalidOptionError(path('delayedExchange'), 'must be true or false');
  const connectTimeoutMs = toMilliseconds(options.connectTimeout ?? '5s', path('connectTimeout'), {
    min: 1,
    max: 600_000,
  });
  return {
    statusStore: resolveStore(options.statusStore, hasRedis),
    connectTimeoutMs,
    waitForBrokerMs: resolveWait(waitForBroker, connectTimeoutMs, path('waitForBroker')),
    heartbeatMs: toMilliseconds(options.heartbeat ?? '10s', path('heartbeat'), {
      min: 1_000,
      max: 3_600_000,
    }),
    confirmWindow: checkInteger(options.confirmWindow ?? 1_000, path('confirmWindow'), 1, 100_000),
    prefetch: checkInteger(options.prefetch ?? 1, path('prefetch'), 0, 100),
    deliveryLimit: checkInteger(options.deliveryLimit ?? 20, path('deliveryLimit'), 1, 1_000_000),
    delayedExchange,
    snapshotEvery: checkInteger(options.snapshotEvery ?? 5_000, path('snapshotEvery'), 10, 1_000_000),
  };
}

function resolveWait(wait: boolean | Duration, connectTimeoutMs: number, path: string): number {
  if (wait === false) return connectTimeoutMs;
  if (wait === true) return Infinity;
  return toMilliseconds(wait, path, { min: 1 });
}

function resolveStore(
  store: RabbitMqOptions['statusStore'],
  hasRedis: boolean,
): ResolvedRabbitMqOptions['statusStore'] {
  if (store === undefined) return hasRedis ? 'redis' : 'stream';
  if (store !== 'redis' && store !== 'stream' && store !== 'memory')
    throw new InvalidOptionError('rabbitmqOptions.statusStore', "must be 'redis', 'stream' or 'memory'");
  if (store === 'redis' && !hasRedis)
    throw new InvalidOptionError('rabbitmqOptions.statusStore', "can be 'redis' only when redis is given");
  return store;
}
