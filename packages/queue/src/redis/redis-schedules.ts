import type { ScheduleFire, SchedulePut, StoredSchedule } from '../backend.ts';
import { QueueError } from '../errors.ts';
import { hash, type Keys } from './keys.ts';
import { scripts } from './scripts.ts';
import type { Ask, Places } from './places.ts';

/**
 * The schedules of a namespace in Redis. Each lives in one partition with its tasks, so that one script can fire it: where
 * the group or unique key of its tasks has to be, else where its id leads.
 */
export class RedisSchedules {
  readonly #keys: Keys;
  readonly #ask: Ask;
  readonly #places: Places;

  constructor(keys: Keys, places: Places, ask: Ask) {
    this.#keys = keys;
    this.#places = places;
    this.#ask = ask;
  }

  async put({ schedule, expected, keepsTime, task }: SchedulePut): Promise<boolean> {
    const { id } = schedule;
    const home = this.#homeOf(id, task);
    const shared = this.#keys.partition(home);
    const [definitions, times] = shared.schedules;
    const moves = schedule.home !== undefined && schedule.home !== home;
    const args = [
      id,
      schedule.definition,
      moves ? '' : (expected ?? ''),
      schedule.nextAt,
      keepsTime ? '1' : '',
      task.queue,
      shared.scheduleChannel,
    ];
    const done = await this.#ask((link) => link.run(scripts.put, [definitions, times, shared.queues], args));
    if (done !== 1) return false;
    // It may have lain elsewhere, with another key of its tasks.
    await this.#removeFrom(id, (partition) => partition !== home);
    return true;
  }

  async remove(id: string): Promise<boolean> {
    return await this.#removeFrom(id, () => true);
  }

  async list(): Promise<readonly StoredSchedule[]> {
    const parts = await Promise.all(
      this.#keys.partitions.map(async ({ schedules: [, times] }, index) => {
        const flat = (await this.#ask((link) => link.call('ZRANGE', times, 0, -1, 'WITHSCORES'))) as string[];
        return await this.#load(index, flat.flat());
      }),
    );
    return parts.flat().sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async due(
    limit: number,
  ): Promise<{ now: number; due: readonly StoredSchedule[]; nextMs: number | undefined }> {
    let now = 0;
    let nextMs: number | undefined;
    const due: StoredSchedule[] = [];
    for (const [index, { schedules }] of this.#keys.partitions.entries()) {
      const flat = (await this.#ask((link) =>
        link.call('ZRANGE', schedules[1], 0, limit, 'WITHSCORES'),
      )) as string[];
      // Most have no schedules, and need no time either.
      if (flat.length === 0) continue;
      const time = (await this.#ask((link) => link.call('TIME'))) as [string, string];
      now = Number(time[0]) * 1_000 + Math.floor(Number(time[1]) / 1_000);
      const entries = flat.flat();
      const ready: string[] = [];
      for (let at = 0; at < entries.length; at += 2) {
        const score = Number(entries[at + 1]);
        if (score <= now) ready.push(entries[at] ?? '', String(score));
        else nextMs = Math.min(nextMs ?? Infinity, score - now);
      }
      due.push(...(await this.#load(index, ready)));
    }
    return { now, due, nextMs };
  }

  /** @throws QueueError `UNSUPPORTED` when another process gives its tasks a key that belongs elsewhere */
  async fire(fire: ScheduleFire): Promise<'fired' | 'skipped' | 'raced'> {
    const { queue } = fire;
    const { length } = this.#keys.partitions;
    const partition = fire.home ?? hash(fire.id) % length;
    const keys = [...this.#keys.queue(partition, queue).all, ...this.#keys.partition(partition).schedules];
    if (length > 1 && fire.tasks.some((task) => this.#homeOf(fire.id, task) !== partition)) {
      throw new QueueError('UNSUPPORTED', 'The tasks of this schedule have another home than the schedule', {
        details: { id: fire.id },
      });
    }
    const next = fire.next === Infinity ? 'never' : fire.next;
    const args: (string | number)[] = [
      fire.id,
      fire.expected,
      next,
      fire.overlap === 'skip' ? '1' : '',
      queue,
    ];
    for (const task of fire.tasks) {
      const special = task.unique ?? task.group;
      args.push(
        length === 1 ? task.id : `${partition}~${task.id}`,
        task.priority,
        task.blob,
        special === undefined ? '' : JSON.stringify({ u: task.unique, g: task.group }),
      );
    }
    return (await this.#ask((link) => link.run(scripts.fire, keys, args))) as 'fired' | 'skipped' | 'raced';
  }

  #homeOf(id: string, task: SchedulePut['task']): number {
    return this.#places.homeOf(task) ?? hash(id) % this.#keys.partitions.length;
  }

  async #removeFrom(id: string, wanted: (partition: number) => boolean): Promise<boolean> {
    const removed = await Promise.all(
      this.#keys.partitions.map(async ({ schedules: [definitions, times, last] }, partition) => {
        if (!wanted(partition)) return 0;
        const counts = await this.#ask((link) =>
          Promise.all([
            link.call('ZREM', times, id),
            link.call('HDEL', definitions, id),
            link.call('HDEL', last, id),
          ]),
        );
        return Number(counts[0]);
      }),
    );
    return removed.some((count) => count > 0);
  }

  async #load(partition: number, entries: readonly string[]): Promise<StoredSchedule[]> {
    const ids = entries.filter((_, index) => index % 2 === 0);
    if (ids.length === 0) return [];
    const [definitions] = this.#keys.partition(partition).schedules;
    const texts = (await this.#ask((link) => link.call('HMGET', definitions, ...ids))) as (string | null)[];
    return ids.flatMap((id, index) => {
      const text = texts[index];
      if (text === null || text === undefined) return [];
      const { text: definition } = JSON.parse(text) as { text: string };
      return [{ id, definition, nextAt: Number(entries[2 * index + 1]), home: partition }];
    });
  }
}
