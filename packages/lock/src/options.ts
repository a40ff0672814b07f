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
import { LockType } from './lock-type.ts';
import type { Lock } from './lock.ts';

/** Several independent Redis masters; a lock is held when a majority of them granted it. */
export interface QuorumOption {
  /** At least three, and an odd number of them is best. The majority cannot be configured. */
  readonly quorum: readonly RedisOption[];
}

/** How locks behave unless a call says otherwise. */
export interface LockManagerOptions {
  /** Where holds are kept. Without it: in this process. */
  readonly redis?: RedisOption | QuorumOption | undefined;
  /** Separates applications that share a server. @default 'xiaoke' */
  readonly namespace?: string | undefined;
  /** The lease: how long a lock outlives a crash of its holder. At least 100 ms. @default '30s' */
  readonly defaultTtl?: Duration | undefined;
  /** How long to wait for a lock. @default '10s' */
  readonly defaultWait?: Duration | undefined;
  /** Whether a lease is extended while the lock is held. @default true */
  readonly autoExtend?: boolean | undefined;
  /** How long a wait lasts before other processes are asked about a deadlock. @default '1s' */
  readonly deadlockTimeout?: Duration | undefined;
  /** How long a lock may be held at most, extensions included. @default Infinity */
  readonly maxHold?: Duration | undefined;
  /** Strict FIFO over all processes, without local hand-over. @default false */
  readonly fair?: boolean | undefined;
  /** How often a process may pass a lock on locally while another process waits. @default 8 */
  readonly maxLocalHandovers?: number | undefined;
  /** How long an answer of the server is waited for where nothing else bounds it. @default '2s' */
  readonly commandTimeout?: Duration | undefined;
  readonly logger?: Logger | undefined;
  readonly metrics?: MetricsSink | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** How one acquisition differs from the manager's defaults. */
export interface LockConfig {
  /** @default LockType.EXCLUSIVE */
  readonly type?: LockType | undefined;
  /** The lease. At least 100 ms. */
  readonly ttl?: Duration | undefined;
  /** How long to wait: 0 tries once, `Infinity` waits for ever. */
  readonly wait?: Duration | undefined;
  readonly autoExtend?: boolean | undefined;
  /** How long it may be held at most, extensions included. */
  readonly maxHold?: Duration | undefined;
  /** Ends the wait, not the hold. */
  readonly signal?: AbortSignal | undefined;
  /** Strict FIFO: no local hand-over past this waiter. */
  readonly fair?: boolean | undefined;
  /** Larger goes first, from -1000 to 1000. @default 0 */
  readonly priority?: number | undefined;
  /** The metric label `lock`. @default the key template of `withLock`, or `unnamed` */
  readonly name?: string | undefined;
  /** Shown by inspections and errors; it is no identity. */
  readonly owner?: string | undefined;
  /** Enters again what this lock holds, and counts as its owner for deadlock detection. */
  readonly within?: Lock | undefined;
}

/** {@link LockManagerOptions} with every default filled in. */
export interface ResolvedOptions {
  readonly redis: RedisOption | QuorumOption | undefined;
  readonly namespace: string;
  readonly deadlockTimeout: number;
  readonly maxLocalHandovers: number;
  readonly commandTimeout: number;
  readonly logger: Logger;
  readonly metrics: MetricsSink;
  readonly clock: Clock;
  readonly random: Random;
  readonly defaults: ResolvedConfig;
}

/** {@link LockConfig} with every default filled in, in milliseconds. */
export interface ResolvedConfig {
  readonly type: LockType;
  readonly ttl: number;
  readonly wait: number;
  readonly autoExtend: boolean;
  readonly maxHold: number;
  readonly signal: AbortSignal | undefined;
  readonly fair: boolean;
  readonly priority: number;
  readonly name: string;
  readonly owner: string;
  readonly within: Lock | undefined;
}

/** The shortest lease: below it, timers and the network decide rather than the lease. */
export const MIN_TTL = 100;
const TYPES: readonly string[] = Object.values(LockType);

/** Fills in defaults and refuses what makes no sense. */
export function resolveOptions(options: LockManagerOptions): ResolvedOptions {
  const { namespace = 'xiaoke', maxLocalHandovers = 8 } = options;
  if (typeof namespace !== 'string' || !/^[^\s{}]{1,100}$/.test(namespace)) {
    throw new InvalidOptionError('namespace', 'must be 1 to 100 characters without spaces and braces');
  }
  if (!Number.isSafeInteger(maxLocalHandovers) || maxLocalHandovers < 1) {
    throw new InvalidOptionError('maxLocalHandovers', 'must be a whole number of at least 1');
  }
  return Object.freeze({
    redis: options.redis,
    namespace,
    deadlockTimeout: toMilliseconds(options.deadlockTimeout ?? '1s', 'deadlockTimeout', { min: 1 }),
    maxLocalHandovers,
    commandTimeout: toMilliseconds(options.commandTimeout ?? '2s', 'commandTimeout', { min: 10 }),
    logger: options.logger ?? silentLogger,
    metrics: options.metrics ?? noopMetrics,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    defaults: resolveDefaults(options),
  });
}

function resolveDefaults({
  autoExtend = true,
  fair = false,
  ...options
}: LockManagerOptions): ResolvedConfig {
  checkBoolean(autoExtend, 'autoExtend');
  checkBoolean(fair, 'fair');
  return Object.freeze({
    type: LockType.EXCLUSIVE,
    ttl: toMilliseconds(options.defaultTtl ?? '30s', 'defaultTtl', { min: MIN_TTL }),
    wait: toMilliseconds(options.defaultWait ?? '10s', 'defaultWait', { max: Infinity }),
    autoExtend,
    maxHold: toMilliseconds(options.maxHold ?? Infinity, 'maxHold', { min: MIN_TTL, max: Infinity }),
    signal: undefined,
    fair,
    priority: 0,
    name: 'unnamed',
    owner: '',
    within: undefined,
  });
}

/** Fills in one call's configuration. Shared by reference with the defaults when there is none. */
export function resolveConfig(
  defaults: ResolvedConfig,
  type: LockType | LockConfig | undefined,
  config: LockConfig | undefined,
): ResolvedConfig {
  if (type === undefined && config === undefined) return defaults;
  const merged: LockConfig = typeof type === 'object' ? { ...type, ...config } : { ...config };
  const wanted = (typeof type === 'string' ? type : merged.type) ?? defaults.type;
  if (!TYPES.includes(wanted)) throw new InvalidOptionError('type', `must be one of ${TYPES.join(', ')}`);
  const priority = merged.priority ?? defaults.priority;
  if (!Number.isInteger(priority) || Math.abs(priority) > 1000) {
    throw new InvalidOptionError('priority', 'must be a whole number from -1000 to 1000');
  }
  checkBoolean(merged.autoExtend, 'autoExtend');
  checkBoolean(merged.fair, 'fair');
  return {
    type: wanted,
    ttl: duration(merged.ttl, defaults.ttl, 'ttl', MIN_TTL),
    wait: duration(merged.wait, defaults.wait, 'wait', 0),
    autoExtend: merged.autoExtend ?? defaults.autoExtend,
    maxHold: duration(merged.maxHold, defaults.maxHold, 'maxHold', MIN_TTL),
    signal: merged.signal,
    fair: merged.fair ?? defaults.fair,
    priority,
    name: text(merged.name, 'name') ?? defaults.name,
    owner: text(merged.owner, 'owner') ?? '',
    within: merged.within,
  };
}

function duration(value: Duration | undefined, otherwise: number, option: string, min: number): number {
  if (value === undefined) return otherwise;
  return toMilliseconds(value, option, option === 'ttl' ? { min } : { min, max: Infinity });
}

function text(value: unknown, option: string): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && value !== '' && value.length <= 200) return value;
  throw new InvalidOptionError(option, 'must be 1 to 200 characters');
}

function checkBoolean(value: unknown, option: string): void {
  if (value !== undefined && typeof value !== 'boolean')
    throw new InvalidOptionError(option, 'must be true or false');
}

/** The keys of one call: not empty, sorted, each once. Sorting gives every process the same order, hence no deadlock. */
export function resolveKeys(key: string | readonly string[]): readonly string[] {
  if (typeof key === 'string') return [checkKey(key)];
  if (!Array.isArray(key) || key.length === 0) {
    throw new InvalidOptionError('key', 'must be a key or a list of at least one key');
  }
  return [...new Set(key.map(checkKey))].sort();
}

function checkKey(key: unknown): string {
  if (typeof key === 'string' && key !== '' && key.length <= 1024) return key;
  throw new InvalidOptionError('key', 'must be a string of 1 to 1024 characters');
}
