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
} from '@xiaoke/core';

/** How a registry is made. */
export interface ServiceRegistryOptions {
  /** Where instances are written down. Without it: in this process. */
  readonly redis?: RedisOption | undefined;
  /** Separates applications that share a server. @default 'xiaoke' */
  readonly namespace?: string | undefined;
  /** How often a lease is renewed; less than `ttl`. @default '3s', or a third of `ttl` if that is less */
  readonly heartbeat?: Duration | undefined;
  /** How long an instance outlives its process. At least 300 ms. @default '10s' */
  readonly ttl?: Duration | undefined;
  /** How much earlier a heartbeat may come, so that a fleet does not beat in step. @default 0.1 */
  readonly jitter?: number | undefined;
  /** The longest pause between two looks of a watch: a change that was not told is noticed by then. @default '10s' */
  readonly repairEvery?: Duration | undefined;
  /** How much longer instances are kept when most of at least three vanish at once. @default '30s' */
  readonly emptyProtection?: Duration | undefined;
  /** How long an answer of the registry is waited for. @default '1s' */
  readonly commandTimeout?: Duration | undefined;
  readonly logger?: Logger | undefined;
  readonly metrics?: MetricsSink | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** {@link ServiceRegistryOptions} with every default filled in; times in milliseconds. */
export interface ResolvedRegistryOptions {
  readonly redis: RedisOption | undefined;
  readonly namespace: string;
  readonly heartbeatMs: number;
  readonly ttlMs: number;
  readonly jitter: number;
  readonly repairMs: number;
  readonly protectionMs: number;
  readonly commandTimeoutMs: number;
  readonly logger: Logger;
  readonly metrics: MetricsSink;
  readonly clock: Clock;
  readonly random: Random;
}

const MIN_TTL = 300;

/** How long a lease is and how often it is renewed, in milliseconds. */
export interface Lease {
  readonly ttlMs: number;
  readonly heartbeatMs: number;
}

/** Fills in what is not said; a lease that is renewed three times can lose two of them. @throws `INVALID_OPTION` */
export function resolveLease(
  given: { readonly ttl?: Duration | undefined; readonly heartbeat?: Duration | undefined },
  defaults: Lease = { ttlMs: 10_000, heartbeatMs: 3_000 },
): Lease {
  const ttlMs = toMilliseconds(given.ttl ?? defaults.ttlMs, 'ttl', { min: MIN_TTL });
  const heartbeat = given.heartbeat ?? Math.min(defaults.heartbeatMs, Math.floor(ttlMs / 3));
  return { ttlMs, heartbeatMs: toMilliseconds(heartbeat, 'heartbeat', { min: 10, max: ttlMs - 1 }) };
}

/** Fills in defaults and refuses what makes no sense. */
export function resolveRegistryOptions(options: ServiceRegistryOptions = {}): ResolvedRegistryOptions {
  const { namespace = 'xiaoke', jitter = 0.1 } = options;
  if (typeof namespace !== 'string' || !/^[^\s{}]{1,100}$/.test(namespace)) {
    throw new InvalidOptionError('namespace', 'must be 1 to 100 characters without spaces and braces');
  }
  if (typeof jitter !== 'number' || !(jitter >= 0 && jitter < 1)) {
    throw new InvalidOptionError('jitter', 'must be at least 0 and below 1');
  }
  checkRedis(options.redis);
  const { repairEvery = '10s', emptyProtection = '30s', commandTimeout = '1s' } = options;
  return Object.freeze({
    redis: options.redis,
    namespace,
    ...resolveLease(options),
    jitter,
    repairMs: toMilliseconds(repairEvery, 'repairEvery', { min: 100 }),
    protectionMs: toMilliseconds(emptyProtection, 'emptyProtection'),
    commandTimeoutMs: toMilliseconds(commandTimeout, 'commandTimeout', { min: 1 }),
    ...surroundings(options),
  });
}

function surroundings({
  logger = silentLogger,
  metrics = noopMetrics,
  clock = systemClock,
  random = systemRandom,
}: ServiceRegistryOptions): Pick<ResolvedRegistryOptions, 'logger' | 'metrics' | 'clock' | 'random'> {
  return { logger, metrics, clock, random };
}

// The connection is opened later; what is wrong with the option is said now.
function checkRedis(redis: unknown): void {
  if (redis === undefined || (typeof redis === 'object' && redis !== null && !Array.isArray(redis))) return;
  if (typeof redis === 'string' && /^rediss?:\/\/\S+$/.test(redis)) return;
  throw new InvalidOptionError('redis', 'must be a redis:// URL, ioredis options or an ioredis client');
}
