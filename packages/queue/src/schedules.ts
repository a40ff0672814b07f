import { InvalidOptionError, toMilliseconds, type Duration } from '@xiaoke/core';
import { Cron } from 'croner';
import type { NewTask, StatusStore, StoredSchedule } from './backend.ts';
import { QueueError } from './errors.ts';
import { checkName, type TaskOptions } from './task-options.ts';

/** When a schedule fires, and what when it could not. */
export interface ScheduleRule {
  /** Five or six fields, or `@hourly` and the like. */
  readonly cron?: string;
  /** A fixed distance, counted from `startAt` or from when the schedule was made. */
  readonly every?: Duration;
  /** IANA name, for `cron`. @default 'UTC' */
  readonly timezone?: string;
  /** Fires that were missed because nobody was there: none, the latest one, or all (at most 100). @default 'latest' */
  readonly misfire?: 'skip' | 'latest' | 'all';
  /** `skip`: no new task while the one of the last fire is still live. @default 'allow' */
  readonly overlap?: 'allow' | 'skip';
  readonly startAt?: Date;
  readonly endAt?: Date;
}

/** A schedule as it stands. */
export interface ScheduleInfo {
  readonly id: string;
  readonly rule: ScheduleRule;
  readonly name: string;
  readonly payload: unknown;
  readonly options: TaskOptions;
  readonly nextAt: Date;
}

/** Tasks that are enqueued by time; each fire happens once, however many processes there are. */
export interface Schedules {
  /** Makes or changes a schedule. An unchanged one keeps its next time. @throws InvalidOptionError */
  upsert(
    id: string,
    rule: ScheduleRule,
    name: string,
    payload: unknown,
    options?: TaskOptions,
  ): Promise<ScheduleInfo>;
  remove(id: string): Promise<boolean>;
  list(): Promise<ScheduleInfo[]>;
}

/** What is stored of a schedule. */
export interface ScheduleDefinition {
  readonly rule: {
    readonly cron?: string;
    readonly everyMs?: number;
    readonly timezone: string;
    readonly misfire: 'skip' | 'latest' | 'all';
    readonly overlap: 'allow' | 'skip';
    readonly startAt?: number;
    readonly endAt?: number;
  };
  readonly name: string;
  readonly payload: unknown;
  readonly options: TaskOptions;
  /** What `every` counts from. */
  readonly anchor: number;
}

const MAX_CATCH_UP = 100;
// Every try that loses was won by somebody else.
const MAX_TRIES = 50;

/** Checks a rule. @throws InvalidOptionError */
export function resolveRule(rule: ScheduleRule): ScheduleDefinition['rule'] {
  if (typeof rule !== 'object' || rule === null) throw new InvalidOptionError('rule', 'must be an object');
  const { cron, every, timezone = 'UTC', misfire = 'latest', overlap = 'allow', startAt, endAt } = rule;
  if ((cron === undefined) === (every === undefined))
    throw new InvalidOptionError('cron', 'or every must be given, and not both');
  if (misfire !== 'skip' && misfire !== 'latest' && misfire !== 'all')
    throw new InvalidOptionError('misfire', "must be 'skip', 'latest' or 'all'");
  if (overlap !== 'allow' && overlap !== 'skip')
    throw new InvalidOptionError('overlap', "must be 'allow' or 'skip'");
  checkTimezone(timezone);
  const resolved = {
    timezone,
    misfire,
    overlap,
    ...(startAt === undefined ? {} : { startAt: time(startAt, 'startAt') }),
    ...(endAt === undefined ? {} : { endAt: time(endAt, 'endAt') }),
  };
  if (every !== undefined) return { ...resolved, everyMs: toMilliseconds(every, 'every', { min: 100 }) };
  checkCron(cron, timezone);
  return { ...resolved, cron: String(cron) };
}

/** The first time after `after` at which the schedule fires; `Infinity` when it never does again. */
export function nextFire(definition: ScheduleDefinition, after: number): number {
  const { rule, anchor } = definition;
  const from = Math.max(after, (rule.startAt ?? 0) - 1);
  const next =
    rule.cron === undefined
      ? nextEvery(rule.everyMs ?? 1, rule.startAt ?? anchor, from)
      : nextCron(rule, from);
  return next > (rule.endAt ?? Infinity) ? Infinity : next;
}

/** What is fired now of a schedule that was due at `dueAt`, and when it is due next. */
export function planFires(
  definition: ScheduleDefinition,
  dueAt: number,
  now: number,
): { readonly fires: readonly number[]; readonly next: number } {
  const missed = [dueAt];
  let next = nextFire(definition, dueAt);
  // Of many missed fires, only the last hundred are of interest to any policy.
  while (next <= now) {
    missed.push(next);
    if (missed.length > MAX_CATCH_UP) missed.shift();
    next = nextFire(definition, next);
  }
  const { misfire } = definition.rule;
  if (misfire === 'all') return { fires: missed, next };
  const latest = missed.at(-1) ?? dueAt;
  // Being a little late is no misfire: somebody has to notice first.
  if (misfire === 'skip' && now - latest > 5_000) return { fires: [], next };
  return { fires: [latest], next };
}

/** The schedules of a manager. */
export class ScheduleList implements Schedules {
  readonly #store: StatusStore;
  readonly #now: () => number;
  /** This process has to know at once; the others hear of it. */
  readonly #changed: () => void;
  readonly #check: (name: string, payload: unknown, options: TaskOptions) => Promise<NewTask>;

  constructor(
    store: StatusStore,
    now: () => number,
    check: (name: string, payload: unknown, options: TaskOptions) => Promise<NewTask>,
    changed: () => void,
  ) {
    this.#store = store;
    this.#now = now;
    this.#check = check;
    this.#changed = changed;
  }

  // The contract's signature.
  // oxlint-disable-next-line max-params
  async upsert(
    id: string,
    rule: ScheduleRule,
    name: string,
    payload: unknown,
    options: TaskOptions = {},
  ): Promise<ScheduleInfo> {
    checkName(id, 'id');
    checkName(name, 'name');
    const resolvedRule = resolveRule(rule);
    for (const option of ['id', 'delay', 'runAt'] as const) {
      if (options[option] !== undefined)
        throw new InvalidOptionError(option, 'cannot be given for a schedule');
    }
    if (typeof options.backoff?.strategy === 'function')
      throw new InvalidOptionError(
        'backoff.strategy',
        'cannot be a function for a schedule: give it to the handler',
      );
    const task = await this.#check(name, payload, options);
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const now = this.#now();
      const fresh: ScheduleDefinition = { rule: resolvedRule, name, payload, options, anchor: now };
      const existing = (await this.#store.listSchedules()).find((schedule) => schedule.id === id);
      const kept = existing === undefined ? undefined : keep(existing, fresh);
      const schedule = kept ?? {
        id,
        definition: JSON.stringify(fresh),
        nextAt: nextFire(fresh, now),
        home: existing?.home,
      };
      if (schedule.nextAt === Infinity) throw new InvalidOptionError('rule', 'never fires');
      const put = { schedule, expected: existing?.definition, keepsTime: kept !== undefined, task };
      if (!(await this.#store.putSchedule(put))) continue;
      this.#changed();
      return toInfo(schedule);
    }
    throw new QueueError('QUEUE_UNAVAILABLE', `The schedule "${id}" was changed by others all the time`, {
      details: { id },
    });
  }

  async remove(id: string): Promise<boolean> {
    return await this.#store.removeSchedule(checkName(id, 'id'));
  }

  async list(): Promise<ScheduleInfo[]> {
    return (await this.#store.listSchedules()).map(toInfo);
  }
}

/** A schedule that is asserted again at every start must not begin anew every time; what it enqueues may change. */
function keep(existing: StoredSchedule, fresh: ScheduleDefinition): StoredSchedule | undefined {
  const old = JSON.parse(existing.definition) as ScheduleDefinition;
  if (JSON.stringify(old.rule) !== JSON.stringify(fresh.rule)) return undefined;
  return { ...existing, definition: JSON.stringify({ ...fresh, anchor: old.anchor }) };
}

function toInfo(stored: StoredSchedule): ScheduleInfo {
  const { rule, name, payload, options } = JSON.parse(stored.definition) as ScheduleDefinition;
  const { everyMs, startAt, endAt, ...rest } = rule;
  return {
    id: stored.id,
    rule: {
      ...rest,
      ...(everyMs === undefined ? {} : { every: everyMs }),
      ...(startAt === undefined ? {} : { startAt: new Date(startAt) }),
      ...(endAt === undefined ? {} : { endAt: new Date(endAt) }),
    },
    name,
    payload,
    options,
    nextAt: new Date(stored.nextAt),
  };
}

function nextEvery(everyMs: number, anchor: number, after: number): number {
  if (after < anchor) return anchor;
  return anchor + (Math.floor((after - anchor) / everyMs) + 1) * everyMs;
}

function nextCron(rule: ScheduleDefinition['rule'], after: number): number {
  const cron = new Cron(rule.cron ?? '', { timezone: rule.timezone, paused: true });
  return cron.nextRun(new Date(after))?.getTime() ?? Infinity;
}

function checkTimezone(timezone: unknown): void {
  try {
    Intl.DateTimeFormat('en', { timeZone: String(timezone) });
  } catch {
    throw new InvalidOptionError('timezone', 'must be an IANA time zone name');
  }
}

function checkCron(cron: unknown, timezone: string): void {
  if (typeof cron !== 'string') throw new InvalidOptionError('cron', 'must be a cron expression');
  try {
    const parsed = new Cron(cron, { timezone, paused: true });
    parsed.stop();
  } catch (error) {
    throw new InvalidOptionError('cron', 'must be a cron expression of five or six fields', { cause: error });
  }
}

function time(value: unknown, path: string): number {
  if (!(value instanceof Date) || Number.isNaN(value.getTime()))
    throw new InvalidOptionError(path, 'must be a valid Date');
  return value.getTime();
}
