import { InvalidOptionError, toMilliseconds, type Duration } from '@xiaoke/core';
import {
  DEFAULT_BACKOFF,
  resolveBackoff,
  type Backoff,
  type BackoffFunction,
  type BackoffOptions,
} from './backoff.ts';
import type { GroupRule, PriorityIndex, RateRule, UniqueRule } from './backend.ts';

/** How urgent a task is. */
export const TaskPriority = { HIGH: 'high', NORMAL: 'normal', LOW: 'low' } as const;
/** A value of {@link TaskPriority}. */
export type TaskPriority = (typeof TaskPriority)[keyof typeof TaskPriority];

/** The priorities by their index. */
export const PRIORITIES: readonly TaskPriority[] = ['high', 'normal', 'low'];

/** How one task is queued and run. */
export interface TaskOptions {
  /** @default 'default' */
  readonly queue?: string;
  /** @default 'normal' */
  readonly priority?: TaskPriority;
  /** Not before this long from now, by the backend's clock. */
  readonly delay?: Duration;
  /** Not before this time. */
  readonly runAt?: Date;
  /** Enqueuing the same id again is no error and changes nothing, as long as the task's record is kept. */
  readonly id?: string;
  /** How often it may be tried in all. @default 3 */
  readonly attempts?: number;
  /** @default exponential from 1 s to 1 h, with full jitter */
  readonly backoff?: BackoffOptions;
  /** How long one attempt may take. @default no limit */
  readonly timeout?: Duration;
  /** It is not started any more this long after it was enqueued; it is `expired` then. @default no limit */
  readonly ttl?: Duration;
  /**
   * At most one live task per key in the namespace, whatever its queue. `reject`: a second is a duplicate of the first.
   * `replace`: it takes the place of one of its queue that has not started; while that one runs, it waits for its end.
   * `throttle`: as `reject`, also for `for` after the first was enqueued.
   */
  readonly unique?: {
    readonly key: string;
    readonly mode: 'reject' | 'replace' | 'throttle';
    readonly for?: Duration;
  };
  /** Tasks of one key run in order, at most `concurrency` (1) at once, and not more often than `rate`. */
  readonly group?: {
    readonly key: string;
    readonly concurrency?: number;
    readonly rate?: { readonly limit: number; readonly per: Duration };
  };
  /** How long the record is kept after the task completed, was cancelled or expired. 0 drops it at once. @default '1h' */
  readonly keepResult?: Duration;
}

/** Task options that were checked. */
export interface ResolvedTaskOptions {
  readonly queue: string;
  readonly priority: PriorityIndex;
  readonly delayMs: number;
  readonly runAt: number | undefined;
  readonly id: string | undefined;
  readonly attempts: number;
  readonly backoff: Backoff;
  readonly backoffFunction: BackoffFunction | undefined;
  readonly timeoutMs: number | undefined;
  readonly ttlMs: number | undefined;
  readonly unique: UniqueRule | undefined;
  readonly group: GroupRule | undefined;
  readonly keepMs: number;
}

/** What applies when nothing is said. */
export const BUILT_IN: ResolvedTaskOptions = Object.freeze({
  queue: 'default',
  priority: 1,
  delayMs: 0,
  runAt: undefined,
  id: undefined,
  attempts: 3,
  backoff: DEFAULT_BACKOFF,
  backoffFunction: undefined,
  timeoutMs: undefined,
  ttlMs: undefined,
  unique: undefined,
  group: undefined,
  keepMs: 3_600_000,
});

/** Checks the options of one task over its defaults. @throws InvalidOptionError */
export function resolveTaskOptions(
  options: TaskOptions | undefined,
  defaults: ResolvedTaskOptions = BUILT_IN,
  path = '',
): ResolvedTaskOptions {
  if (options === undefined) return defaults;
  if (typeof options !== 'object' || options === null)
    throw new InvalidOptionError(path === '' ? 'options' : path.slice(0, -1), 'must be an object');
  const backoff =
    options.backoff === undefined ? undefined : resolveBackoff(options.backoff, `${path}backoff`);
  if (options.delay !== undefined && options.runAt !== undefined)
    throw new InvalidOptionError(`${path}runAt`, 'cannot be given together with delay');
  return {
    queue: checked(options.queue, defaults.queue, (value) => checkName(value, `${path}queue`)),
    priority: checked(options.priority, defaults.priority, (value) => checkPriority(value, path)),
    delayMs: checked(options.delay, defaults.delayMs, (value) => whole(value, `${path}delay`, 0)),
    runAt: checked(options.runAt, defaults.runAt, (value) => checkDate(value, `${path}runAt`)),
    id: checked(options.id, defaults.id, (value) => checkName(value, `${path}id`)),
    attempts: checked(options.attempts, defaults.attempts, (value) =>
      checkInteger(value, `${path}attempts`, 1, 1_000_000),
    ),
    ...chooseBackoff(backoff, defaults),
    timeoutMs: checked(options.timeout, defaults.timeoutMs, (value) => whole(value, `${path}timeout`, 1)),
    ttlMs: checked(options.ttl, defaults.ttlMs, (value) => whole(value, `${path}ttl`, 1)),
    unique: checked(options.unique, defaults.unique, (value) => checkUnique(value, path)),
    group: checked(options.group, defaults.group, (value) => checkGroup(value, path)),
    keepMs: checked(options.keepResult, defaults.keepMs, (value) => whole(value, `${path}keepResult`, 0)),
  };
}

/** The checked value of an option, or what applies without it. */
export function checked<T, R>(value: T | undefined, fallback: R, check: (value: T) => R): R {
  return value === undefined ? fallback : check(value);
}

function chooseBackoff(
  backoff: Backoff | BackoffFunction | undefined,
  defaults: ResolvedTaskOptions,
): Pick<ResolvedTaskOptions, 'backoff' | 'backoffFunction'> {
  if (backoff === undefined) return { backoff: defaults.backoff, backoffFunction: defaults.backoffFunction };
  if (typeof backoff === 'function') return { backoff: DEFAULT_BACKOFF, backoffFunction: backoff };
  return { backoff, backoffFunction: undefined };
}

/** Checks a name of a queue, a task, a group…: 1 to 200 characters, none of them a control character. */
export function checkName(value: unknown, path: string): string {
  if (typeof value !== 'string' || value === '' || value.length > 200)
    throw new InvalidOptionError(path, 'must be a string of 1 to 200 characters');
  // Control characters separate fields inside keys and members.
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(value))
    throw new InvalidOptionError(path, 'must not contain control characters');
  return value;
}

/** Checks a whole number. */
export function checkInteger(value: unknown, path: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw new InvalidOptionError(path, `must be a whole number from ${min} to ${max}`);
  return value;
}

/** Checks a rate. */
export function checkRate(rate: { limit: number; per: Duration }, path: string): RateRule {
  return {
    limit: checkInteger(rate.limit, `${path}.limit`, 1, 1_000_000),
    per: whole(rate.per, `${path}.per`, 1),
  };
}

function whole(value: Duration, path: string, min: number): number {
  return Math.ceil(toMilliseconds(value, path, { min, max: 1e13 }));
}

function checkPriority(value: unknown, path: string): PriorityIndex {
  const index = PRIORITIES.indexOf(value as TaskPriority);
  if (index < 0) throw new InvalidOptionError(`${path}priority`, "must be 'high', 'normal' or 'low'");
  return index as PriorityIndex;
}

function checkDate(value: unknown, path: string): number {
  if (!(value instanceof Date) || Number.isNaN(value.getTime()))
    throw new InvalidOptionError(path, 'must be a valid Date');
  return value.getTime();
}

function checkUnique(unique: NonNullable<TaskOptions['unique']>, path: string): UniqueRule {
  const { key, mode } = unique;
  if (mode !== 'reject' && mode !== 'replace' && mode !== 'throttle')
    throw new InvalidOptionError(`${path}unique.mode`, "must be 'reject', 'replace' or 'throttle'");
  if (mode === 'throttle' && unique.for === undefined)
    throw new InvalidOptionError(`${path}unique.for`, "is needed with mode 'throttle'");
  return {
    key: checkName(key, `${path}unique.key`),
    mode,
    forMs: unique.for === undefined ? 0 : whole(unique.for, `${path}unique.for`, 1),
  };
}

function checkGroup(group: NonNullable<TaskOptions['group']>, path: string): GroupRule {
  return {
    key: checkName(group.key, `${path}group.key`),
    concurrency:
      group.concurrency === undefined
        ? 1
        : checkInteger(group.concurrency, `${path}group.concurrency`, 1, 1_000_000),
    rate: group.rate === undefined ? undefined : checkRate(group.rate, `${path}group.rate`),
  };
}
