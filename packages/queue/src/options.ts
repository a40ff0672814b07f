import {
  InvalidOptionError,
  noopMetrics,
  silentLogger,
  systemClock,
  systemRandom,
  toMilliseconds,
  type Clock,
  type Duration,
  type Logger,
  type MetricsSink,
  type Random,
  type RedisOption,
  type StandardSchemaV1,
} from '@xiaoke/core';
import type { QueueLimits } from './backend.ts';
import type { Compression } from './envelope.ts';
import {
  resolveRabbitMqOptions,
  resolveRabbitMqUrls,
  type RabbitMqOptions,
  type ResolvedRabbitMqOptions,
} from './rabbitmq-options.ts';
import {
  checkInteger,
  checkName,
  checkRate,
  resolveTaskOptions,
  type ResolvedTaskOptions,
  type TaskOptions,
} from './task-options.ts';

/** Where tasks live. */
export const QueueType = { MEMORY: 'memory', REDIS: 'redis', RABBITMQ: 'rabbitmq' } as const;
/** A value of {@link QueueType}. */
export type QueueType = (typeof QueueType)[keyof typeof QueueType];

/** Shares of the three priorities while all of them have work. */
export interface PriorityWeights {
  readonly high: number;
  readonly normal: number;
  readonly low: number;
}

/** What one queue may do, over all workers everywhere. */
export interface QueueLimitOptions {
  /** Tasks that run at once. */
  readonly concurrency?: number;
  /** Tasks that start per time, spread evenly, with a burst of at most `limit`. */
  readonly rate?: { readonly limit: number; readonly per: Duration };
}

/** How a queue manager is made. */
export interface QueueManagerOptions {
  /** @default redis if `redis` is given, else rabbitmq if `rabbitmq` is given, else memory */
  readonly type?: QueueType;
  readonly redis?: RedisOption;
  /** `amqp://` or `amqps://`; several brokers of one cluster are tried in turn. With it, `redis` is the status store. */
  readonly rabbitmq?: string | readonly string[];
  readonly rabbitmqOptions?: RabbitMqOptions;
  /** Managers of one namespace share tasks; ids are unique in it. @default 'default' */
  readonly namespace?: string;
  /** The queues that workers serve and inspections name when nothing else is said. @default ['default'] */
  readonly queues?: readonly string[];
  /** What payloads must look like, by task name; checked when enqueued and again when run. */
  readonly schemas?: Readonly<Record<string, StandardSchemaV1>>;
  readonly defaults?: TaskOptions;
  /** @default 'weighted', which is 6:3:1 */
  readonly priorities?: 'weighted' | 'strict' | PriorityWeights;
  /** How many hash tags the namespace has, so that it can be spread over a Cluster. Never change it with tasks inside. @default 1 */
  readonly partitions?: number;
  /** A worker that is silent this long has lost its tasks. @default '30s' */
  readonly lease?: Duration;
  /** How often a task may lose its worker before it is dead. @default 3 */
  readonly maxStalls?: number;
  /** How long a handler blocking the event loop keeps its lease. @default '5m' */
  readonly maxBlock?: Duration;
  /** How long a handler may go on after its timeout or cancellation before its slot is given to the next. @default '1s' */
  readonly grace?: Duration;
  /** Bytes of a payload or result as JSON. @default 1048576 */
  readonly payloadLimit?: number;
  /** @default 'none' */
  readonly compression?:
    | 'none'
    | 'gzip'
    | 'brotli'
    | { readonly algorithm: 'gzip' | 'brotli'; readonly threshold?: number };
  /** How long an enqueue may wait for the backend. @default '5s' */
  readonly enqueueTimeout?: Duration;
  /** How many tasks may wait to be sent; more are refused at once. @default 10000 */
  readonly maxBuffered?: number;
  /** How long `task.result()` waits when nothing is said. @default '5m' */
  readonly resultTimeout?: Duration;
  /** Records kept at most: finished ones (beside `keepResult`) and dead letters, which also have an age. */
  readonly retention?: { readonly finished?: number; readonly dead?: number; readonly deadAge?: Duration };
  /** Limits of queues, set in the backend for all processes. */
  readonly limits?: Readonly<Record<string, QueueLimitOptions>>;
  /** @default 1000 lines per task */
  readonly maxLogLines?: number;
  /** Carry the W3C trace context with tasks when `@opentelemetry/api` is installed. @default true */
  readonly tracing?: boolean;
  readonly logger?: Logger;
  readonly metrics?: MetricsSink;
  /** For tests. */
  readonly clock?: Clock;
  /** For tests. */
  readonly random?: Random;
}

/** Options that were checked. */
export interface ResolvedQueueOptions {
  readonly type: QueueType;
  readonly redis: RedisOption;
  readonly rabbitmq: readonly string[];
  readonly rabbitmqOptions: ResolvedRabbitMqOptions;
  readonly namespace: string;
  readonly queues: readonly string[];
  readonly schemas: ReadonlyMap<string, StandardSchemaV1>;
  readonly defaults: ResolvedTaskOptions;
  readonly weights: readonly [number, number, number] | 'strict';
  readonly partitions: number;
  readonly leaseMs: number;
  readonly maxStalls: number;
  readonly maxBlockMs: number;
  readonly graceMs: number;
  readonly payloadLimit: number;
  readonly compression: Compression | undefined;
  readonly enqueueTimeoutMs: number;
  readonly maxBuffered: number;
  readonly resultTimeoutMs: number;
  readonly retention: { readonly finished: number; readonly dead: number; readonly deadAgeMs: number };
  readonly limits: ReadonlyMap<string, QueueLimits>;
  readonly maxLogLines: number;
  readonly tracing: boolean;
  readonly logger: Logger;
  readonly metrics: MetricsSink;
  readonly clock: Clock;
  readonly random: Random;
}

const LOCALHOST = 'redis://localhost:6379';

/** Checks everything once. @throws InvalidOptionError */
export function resolveQueueOptions(options: QueueManagerOptions = {}): ResolvedQueueOptions {
  if (typeof options !== 'object' || options === null)
    throw new InvalidOptionError('options', 'must be an object');
  const type = resolveType(options);
  return Object.freeze({
    type,
    rabbitmq: resolveRabbitMqUrls(options.rabbitmq),
    rabbitmqOptions: resolveRabbitMqOptions(options.rabbitmqOptions ?? {}, options.redis !== undefined),
    redis: options.redis ?? LOCALHOST,
    namespace: checkName(options.namespace ?? 'default', 'namespace'),
    queues: resolveQueues(options.queues ?? ['default']),
    schemas: new Map(Object.entries(options.schemas ?? {})),
    defaults: resolveTaskOptions(options.defaults, undefined, 'defaults.'),
    weights: resolveWeights(options.priorities ?? 'weighted'),
    compression: resolveCompression(options.compression ?? 'none'),
    limits: resolveAllLimits(options.limits ?? {}),
    tracing: options.tracing ?? true,
    ...resolveTimes(options),
    ...resolveNumbers(options),
    ...resolveSurroundings(options),
  });
}

function resolveTimes(
  options: QueueManagerOptions,
): Pick<ResolvedQueueOptions, 'leaseMs' | 'maxBlockMs' | 'graceMs' | 'enqueueTimeoutMs' | 'resultTimeoutMs'> {
  return {
    leaseMs: toMilliseconds(options.lease ?? '30s', 'lease', { min: 500, max: 86_400_000 }),
    maxBlockMs: toMilliseconds(options.maxBlock ?? '5m', 'maxBlock'),
    graceMs: toMilliseconds(options.grace ?? '1s', 'grace', { max: 600_000 }),
    enqueueTimeoutMs: toMilliseconds(options.enqueueTimeout ?? '5s', 'enqueueTimeout', {
      min: 1,
      max: 3_600_000,
    }),
    resultTimeoutMs: toMilliseconds(options.resultTimeout ?? '5m', 'resultTimeout', { min: 1 }),
  };
}

function resolveNumbers(
  options: QueueManagerOptions,
): Pick<
  ResolvedQueueOptions,
  'partitions' | 'maxStalls' | 'payloadLimit' | 'maxBuffered' | 'maxLogLines' | 'retention'
> {
  const { retention = {} } = options;
  return {
    partitions: checkInteger(options.partitions ?? 1, 'partitions', 1, 256),
    maxStalls: checkInteger(options.maxStalls ?? 3, 'maxStalls', 0, 1_000),
    payloadLimit: checkInteger(options.payloadLimit ?? 1_048_576, 'payloadLimit', 1, 512 * 1_048_576),
    maxBuffered: checkInteger(options.maxBuffered ?? 10_000, 'maxBuffered', 1, 10_000_000),
    maxLogLines: checkInteger(options.maxLogLines ?? 1_000, 'maxLogLines', 0, 1_000_000),
    retention: {
      finished: checkInteger(retention.finished ?? 100_000, 'retention.finished', 0, 100_000_000),
      dead: checkInteger(retention.dead ?? 100_000, 'retention.dead', 0, 100_000_000),
      deadAgeMs: toMilliseconds(retention.deadAge ?? '30d', 'retention.deadAge', { min: 1 }),
    },
  };
}

function resolveSurroundings(
  options: QueueManagerOptions,
): Pick<ResolvedQueueOptions, 'logger' | 'metrics' | 'clock' | 'random'> {
  const {
    logger = silentLogger,
    metrics = noopMetrics,
    clock = systemClock,
    random = systemRandom,
  } = options;
  return { logger, metrics, clock, random };
}

function resolveQueues(queues: readonly string[]): readonly string[] {
  if (!Array.isArray(queues)) throw new InvalidOptionError('queues', 'must be an array');
  const names = queues.map((queue, index) => checkName(queue, `queues[${index}]`));
  if (names.length === 0) throw new InvalidOptionError('queues', 'must name at least one queue');
  return [...new Set(names)];
}

function resolveAllLimits(
  limits: Readonly<Record<string, QueueLimitOptions>>,
): ReadonlyMap<string, QueueLimits> {
  return new Map(
    Object.entries(limits).map(([queue, own]) => [
      checkName(queue, 'limits'),
      resolveLimits(own, `limits.${queue}`),
    ]),
  );
}

/** Checks the limits of one queue. */
export function resolveLimits(limits: QueueLimitOptions, path: string): QueueLimits {
  return {
    concurrency:
      limits.concurrency === undefined
        ? undefined
        : checkInteger(limits.concurrency, `${path}.concurrency`, 1, 1_000_000),
    rate: limits.rate === undefined ? undefined : checkRate(limits.rate, `${path}.rate`),
  };
}

function resolveType(options: QueueManagerOptions): QueueType {
  const { type } = options;
  if (type !== undefined && !Object.values(QueueType).includes(type))
    throw new InvalidOptionError('type', "must be 'memory', 'redis' or 'rabbitmq'");
  if (type !== undefined) return type;
  if (options.rabbitmq === undefined) return options.redis === undefined ? QueueType.MEMORY : QueueType.REDIS;
  return options.redis === undefined ? QueueType.RABBITMQ : QueueType.REDIS;
}

function resolveWeights(
  priorities: NonNullable<QueueManagerOptions['priorities']>,
): readonly [number, number, number] | 'strict' {
  if (priorities === 'strict') return 'strict';
  if (priorities === 'weighted') return [6, 3, 1];
  if (typeof priorities !== 'object' || priorities === null)
    throw new InvalidOptionError(
      'priorities',
      "must be 'weighted', 'strict' or weights for high, normal and low",
    );
  const weight = (name: keyof PriorityWeights): number =>
    checkInteger(priorities[name], `priorities.${name}`, 1, 1_000);
  return [weight('high'), weight('normal'), weight('low')];
}

function resolveCompression(
  compression: NonNullable<QueueManagerOptions['compression']>,
): Compression | undefined {
  if (compression === 'none') return undefined;
  const { algorithm, threshold = 2_048 } =
    typeof compression === 'string' ? { algorithm: compression } : compression;
  if (algorithm !== 'gzip' && algorithm !== 'brotli')
    throw new InvalidOptionError('compression', "must be 'none', 'gzip' or 'brotli'");
  return {
    algorithm,
    threshold: checkInteger(threshold, 'compression.threshold', 0, Number.MAX_SAFE_INTEGER),
  };
}
