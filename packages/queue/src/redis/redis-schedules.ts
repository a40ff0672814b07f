import type { ScheduleFire, StoredSchedule } from '../backend.ts';
import { hash, type Keys } from './keys.ts';
import { scripts } from './scripts.ts';
import type { RedisLink } from './link.ts';

type Ask = <T>(attempt: (link: RedisLink) => Promise<T>) => Promise<T>;

/** The schedules of a namespace in Redis. Each lives in the partition that its id names, its tasks too. */
export class RedisSchedules {
  readonly #keys: Keys;
  readonly #ask: Ask;

  constructor(keys: Keys, ask: Ask) {
    this.#keys = keys;
    this.#ask = ask;
  }

  partitionOf(id: string): number {
    return hash(id) % this.#keys.partitions.length;
  }

  async put(schedule: StoredSchedule, queue: string): Promise<void> {
    const shared = this.#keys.partition(this.partitionOf(schedule.id));
    const [definitions, times] = shared.schedules;
    await this.#ask(async (link) => {
      await Promise.all([
        link.call('HSET', definitions, schedule.id, JSON.stringify({ queue, text: schedule.definition })),
        link.call('ZADD', times, schedule.nextAt, schedule.id),
        link.call('SADD', shared.queues, queue),
      ]);
      await link.call('PUBLISH', shared.scheduleChannel, schedule.id);
    });
  }

  async remove(id: string): Promise<boolean> {
    const [definitions, times, last] = this.#keys.partition(this.partitionOf(id)).schedules;
    const [removed] = await this.#ask((link) =>
      Promise.all([
        link.call('ZREM', times, id),
        link.call('HDEL', definitions, id),
        link.call('HDEL', last, id),
      ]),
    );
    return removed === 1;
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
      const [time, flat] = (await this.#ask((link) =>
        Promise.all([link.call('TIME'), link.call('ZRANGE', schedules[1], 0, limit, 'WITHSCORES')]),
      )) as [[string, string], string[]];
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

  async fire(fire: ScheduleFire, queue: string): Promise<'fired' | 'skipped' | 'raced'> {
    const partition = this.partitionOf(fire.id);
    const keys = [...this.#keys.queue(partition, queue).all, ...this.#keys.partition(partition).schedules];
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
        task.id,
        task.priority,
        task.blob,
        special === undefined ? '' : JSON.stringify({ u: task.unique, g: task.group }),
      );
    }
    return (await this.#ask((link) => link.run(scripts.fire, keys, args))) as 'fired' | 'skipped' | 'raced';
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
      return [{ id, definition, nextAt: Number(entries[2 * index + 1]) }];
    });
  }
}
