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
import { resolveEnvMapping, type EnvMapping, type ResolvedEnvMapping } from './env-mapping.ts';
import type { ListMerge } from './merge.ts';
import { formatPath, parsePath } from './path.ts';
import { PlainValueProblem, toPlainDocument, type PlainObject } from './plain-value.ts';
import type { ConfigStore } from './store.ts';

/** The options of a manager. */
export interface ConfigManagerOptions<T = unknown> {
  /** Where run-time values are shared. Without it they live in this process only. */
  readonly redis?: RedisOption;
  /** A store of your own, instead of `redis`. */
  readonly store?: ConfigStore;
  /** Separates configurations on the same Redis. @default 'config' */
  readonly namespace?: string;
  /** Names the overlays `name.<environment>.ext`, and separates run-time values. @default process.env.NODE_ENV, else 'development' */
  readonly environment?: string;
  /** Validates and types the whole configuration (zod, valibot, arktype, any Standard Schema). */
  readonly schema?: StandardSchemaV1<unknown, T>;
  /** The lowest layer. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** Which environment variables are configuration. */
  readonly env?: EnvMapping;
  /** Run-time versions kept for history, diff and rollback, the current one included. @default 10 */
  readonly maxVersions?: number;
  /** Where the last good remote document and run-time values are kept for a start without network. */
  readonly cacheFile?: string;
  /** Whether a start without the store, and without a copy of it, fails. @default true */
  readonly requireStore?: boolean;
  /** How lists of two layers meet, by path. @default 'replace' */
  readonly merge?: Readonly<Record<string, ListMerge>>;
  /** Paths to mask, beside those whose name or schema says so; `*` is one part, `**` any number. */
  readonly secrets?: readonly string[];
  /** Names this instance to canaries. @default host name and process id */
  readonly instanceId?: string;
  /** Tells, while a canary runs here, whether this instance is well. `false` or a rejection ends the canary. */
  readonly canaryCheck?: () => boolean | Promise<boolean>;
  /** How long a validation may take. @default '5s' */
  readonly validationTimeout?: Duration;
  /** How long a guard may take. @default '10s' */
  readonly guardTimeout?: Duration;
  /** How long a source of your own may take to load. @default '10s' */
  readonly sourceTimeout?: Duration;
  /** How long the work of a transaction may take; nothing else is changed meanwhile. @default '10s' */
  readonly transactionTimeout?: Duration;
  /** How long one operation of the store may take. @default '3s' */
  readonly storeTimeout?: Duration;
  /** How long a file written in place must stay unchanged before it is read. @default 50 */
  readonly settle?: Duration;
  /** How often files are looked at without an event. @default '2s' */
  readonly safetyPoll?: Duration;
  readonly logger?: Logger;
  readonly metrics?: MetricsSink;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Options, validated and complete. */
export interface ResolvedOptions {
  readonly redis: RedisOption | undefined;
  readonly store: ConfigStore | undefined;
  readonly namespace: string;
  readonly environment: string;
  readonly schema: StandardSchemaV1 | undefined;
  readonly defaults: PlainObject;
  readonly env: ResolvedEnvMapping;
  readonly maxVersions: number;
  readonly cacheFile: string | undefined;
  readonly requireStore: boolean;
  readonly merge: ReadonlyMap<string, ListMerge>;
  readonly secrets: readonly string[];
  readonly instanceId: string | undefined;
  readonly canaryCheck: (() => boolean | Promise<boolean>) | undefined;
  readonly validationTimeout: number;
  readonly guardTimeout: number;
  readonly sourceTimeout: number;
  readonly transactionTimeout: number;
  readonly storeTimeout: number;
  readonly settle: number;
  readonly safetyPoll: number;
  readonly logger: Logger;
  readonly metrics: MetricsSink;
  readonly clock: Clock;
  readonly random: Random;
}

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** Validates the options once; throws {@link InvalidOptionError} before anything is opened. */
export function resolveConfigOptions<T>(options: ConfigManagerOptions<T> = {}): ResolvedOptions {
  const environment = options.environment ?? (process.env['NODE_ENV'] || 'development');
  const namespace = options.namespace ?? 'config';
  checkName('environment', environment);
  checkName('namespace', namespace);
  if (options.redis !== undefined && options.store !== undefined) {
    throw new InvalidOptionError('store', 'cannot be given together with "redis"');
  }
  return Object.freeze({
    redis: options.redis,
    store: options.store,
    namespace,
    environment,
    schema: checkSchema(options.schema),
    defaults: checkDefaults(options.defaults),
    env: resolveEnvMapping(options.env, process.env),
    maxVersions: checkCount('maxVersions', options.maxVersions ?? 10),
    cacheFile: checkText('cacheFile', options.cacheFile),
    requireStore: checkFlag('requireStore', options.requireStore ?? true),
    merge: checkMerge(options.merge),
    secrets: checkSecrets(options.secrets),
    instanceId: checkText('instanceId', options.instanceId),
    canaryCheck: checkFunction('canaryCheck', options.canaryCheck),
    ...resolveDurations(options),
    logger: options.logger ?? silentLogger,
    metrics: options.metrics ?? noopMetrics,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
  });
}

type Durations =
  | 'validationTimeout'
  | 'guardTimeout'
  | 'sourceTimeout'
  | 'transactionTimeout'
  | 'storeTimeout'
  | 'settle'
  | 'safetyPoll';

function resolveDurations<T>(options: ConfigManagerOptions<T>): Pick<ResolvedOptions, Durations> {
  return {
    sourceTimeout: toMilliseconds(options.sourceTimeout ?? '10s', 'sourceTimeout', { min: 1 }),
    transactionTimeout: toMilliseconds(options.transactionTimeout ?? '10s', 'transactionTimeout', { min: 1 }),
    validationTimeout: toMilliseconds(options.validationTimeout ?? '5s', 'validationTimeout', { min: 1 }),
    guardTimeout: toMilliseconds(options.guardTimeout ?? '10s', 'guardTimeout', { min: 1 }),
    storeTimeout: toMilliseconds(options.storeTimeout ?? '3s', 'storeTimeout', { min: 50 }),
    settle: toMilliseconds(options.settle ?? 50, 'settle', { min: 16, max: 10_000 }),
    safetyPoll: toMilliseconds(options.safetyPoll ?? '2s', 'safetyPoll', { min: 100 }),
  };
}

function checkName(option: string, value: unknown): void {
  if (typeof value !== 'string' || !NAME.test(value) || value.includes('..')) {
    throw new InvalidOptionError(option, 'must be 1 to 64 letters, digits, dots, dashes or underscores');
  }
}

function checkText(option: string, value: unknown): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '' && value.length <= 4_096))
    return value;
  throw new InvalidOptionError(option, 'must be a text that is not empty');
}

function checkFlag(option: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new InvalidOptionError(option, 'must be true or false');
}

/** Gives `value` back if it can be called. */
export function checkFunction<F>(option: string, value: F): F {
  if (value === undefined || typeof value === 'function') return value;
  throw new InvalidOptionError(option, 'must be a function');
}

function checkCount(option: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 1_000) return value;
  throw new InvalidOptionError(option, 'must be an integer from 1 to 1000');
}

function checkSchema<T>(schema: StandardSchemaV1<unknown, T> | undefined): StandardSchemaV1 | undefined {
  if (schema !== undefined && typeof schema['~standard']?.validate !== 'function') {
    throw new InvalidOptionError(
      'schema',
      'must be a Standard Schema (zod, valibot, arktype and others are)',
    );
  }
  return schema;
}

function checkDefaults(defaults: unknown): PlainObject {
  if (defaults === undefined) return {};
  try {
    return toPlainDocument(defaults);
  } catch (error) {
    if (!(error instanceof PlainValueProblem)) throw error;
    const where = error.path.length === 0 ? '' : ` (at "${formatPath(error.path)}")`;
    throw new InvalidOptionError('defaults', `holds ${error.message}${where}`);
  }
}

function checkMerge(merge: Readonly<Record<string, ListMerge>> = {}): ReadonlyMap<string, ListMerge> {
  const entries = Object.entries(merge).map(([path, rule]) => {
    if (!['replace', 'append', 'prepend', 'unique'].includes(rule)) {
      throw new InvalidOptionError(`merge.${path}`, 'must be "replace", "append", "prepend" or "unique"');
    }
    return [formatPath(parsePath(path)), rule] as const;
  });
  return new Map(entries);
}

function checkSecrets(secrets: readonly string[] = []): readonly string[] {
  if (!Array.isArray(secrets) || secrets.some((pattern) => typeof pattern !== 'string' || pattern === '')) {
    throw new InvalidOptionError('secrets', 'must be a list of paths');
  }
  return Object.freeze([...secrets]);
}
