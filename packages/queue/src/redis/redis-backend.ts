import { Background, systemClock, type HealthIndication } from '@xiaoke/core';
import { RedisSubscriber, type RedisConnection } from '@xiaoke/core/redis';
import type {
  Backend,
  EnqueueReply,
  GroupRule,
  NewTask,
  QueueCounts,
  QueueLimits,
  ScheduleFire,
  SchedulePut,
  Session,
  SessionListener,
  StalledTask,
  StoredSchedule,
  StoredTask,
  TaskNote,
  UniqueRule,
} from '../backend.ts';
import { QueueError } from '../errors.ts';
import type { ResolvedQueueOptions } from '../options.ts';
import { TaskIds } from '../task-id.ts';
import { chunks, EnqueueBuffer, type BufferLimits } from './enqueue-buffer.ts';
import { Keys } from './keys.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { RedisLink, request } from './link.ts';
import { countQueue } from './redis-admin.ts';
import { Hints } from './hints.ts';
import { Maintenance } from './maintenance.ts';
import { Places } from './places.ts';
import { RedisControl } from './redis-control.ts';
import { RedisSchedules } from './redis-schedules.ts';
import { RedisSession, reasonOf } from './redis-session.ts';
import { scripts } from './scripts.ts';
import { ServerClock } from './server-clock.ts';
import { parseStored } from './stored.ts';

/** Tasks in Redis: every transition is one script on one hash tag, sent by connections of our own. */
export class RedisBackend implements Backend {
  readonly type = 'redis';
  readonly partitions: number;
  readonly #options: ResolvedQueueOptions;
  readonly #connection: RedisConnection;
  readonly #link: RedisLink;
  readonly #keys: Keys;
  readonly #buffers = new Map<string, EnqueueBuffer>();
  readonly #limits: BufferLimits;
  readonly #sessions = new Set<RedisSession>();
  readonly #background: Background;
  readonly #schedules: RedisSchedules;
  readonly #maintenance: Maintenance;
  readonly #places: Places;
  readonly #control: RedisControl;
  readonly #hints: Hints;
  readonly #keeper: LeaseKeeper;
  readonly #clock: ServerClock;
  readonly #workerIds = new TaskIds();

  constructor(options: ResolvedQueueOptions, connection: RedisConnection) {
    this.#options = options;
    this.#connection = connection;
    this.partitions = options.partitions;
    this.#keys = new Keys(options.namespace, options.partitions);
    // A dead connection has to be found out while there is time left to try another one.
    this.#link = new RedisLink(connection, Math.max(500, Math.min(3_000, options.enqueueTimeoutMs / 2)));
    this.#limits = { timeoutMs: options.enqueueTimeoutMs, maxBuffered: options.maxBuffered, buffered: 0 };
    this.#background = new Background({ logger: options.logger });
    this.#clock = new ServerClock(options.clock);
    this.#places = new Places(this.#keys, (attempt) => this.#ask(attempt));
    this.#schedules = new RedisSchedules(this.#keys, this.#places, (attempt) => this.#ask(attempt));
    this.#keeper = new LeaseKeeper({
      redis: options.redis,
      leaseMs: options.leaseMs,
      maxBlockMs: options.maxBlockMs,
      logger: options.logger,
    });
    this.#maintenance = new Maintenance({
      keys: this.#keys,
      options,
      ask: (attempt) => this.#ask(attempt),
      locate: (ids) => this.#places.locate(ids),
      heard: (time) => this.#clock.heard(time),
    });
    this.#control = new RedisControl({
      keys: this.#keys,
      places: this.#places,
      ask: (attempt) => this.#ask(attempt),
      relay: (partition) => this.#maintenance.relay(partition),
      queues: () => this.queues(),
    });
    this.#hints = new Hints({
      keys: this.#keys,
      subscriber: () => new RedisSubscriber(connection, { probeEvery: 30_000, logger: options.logger }),
      background: this.#background,
      ask: (attempt) => this.#ask(attempt),
    });
  }

  now(): number {
    return this.#clock.now();
  }

  newId(
    id: string,
    task: { readonly unique: UniqueRule | undefined; readonly group: GroupRule | undefined },
  ): string {
    return this.#places.newId(id, task);
  }

  async open(): Promise<void> {
    const info = String(await this.#ask((link) => link.call('INFO')));
    const version = /redis_version:(\d+)\.(\d+)/.exec(info);
    const number = Number(version?.[1] ?? 0) * 100 + Number(version?.[2] ?? 0);
    if (number < 602)
      throw new QueueError('UNSUPPORTED', 'Redis 6.2 or later is needed', {
        details: { version: version?.[0] },
      });
    const micros = /server_time_usec:(\d+)/.exec(info)?.[1];
    if (micros !== undefined) this.#clock.heard(Math.floor(Number(micros) / 1_000));
    const policy = /maxmemory_policy:(\S+)/.exec(info)?.[1];
    if (policy !== undefined && policy !== 'noeviction')
      this.#options.logger.warn({ policy }, 'this Redis may evict tasks: set maxmemory-policy to noeviction');
  }

  enqueue(tasks: readonly NewTask[]): Promise<readonly EnqueueReply[]> {
    const [first] = tasks;
    // The way of most tasks: a promise of its own for each step would cost as much as the rest.
    if (first !== undefined && tasks.length === 1)
      return this.#buffer(this.#places.partitionFor(first), first.queue).add(tasks);
    return this.#enqueueMany(tasks);
  }

  async #enqueueMany(tasks: readonly NewTask[]): Promise<readonly EnqueueReply[]> {
    const homes = new Map<string, { partition: number; queue: string; tasks: NewTask[]; at: number[] }>();
    tasks.forEach((task, index) => {
      const partition = this.#places.partitionFor(task);
      const key = `${partition}\n${task.queue}`;
      const home = homes.get(key) ?? { partition, queue: task.queue, tasks: [], at: [] };
      home.tasks.push(task);
      home.at.push(index);
      homes.set(key, home);
    });
    const replies: EnqueueReply[] = [];
    // Parents come before their children; a parent in another place has to be there first.
    const ordered = tasks.some((task) => task.children !== undefined);
    const send = async (home: {
      partition: number;
      queue: string;
      tasks: NewTask[];
      at: number[];
    }): Promise<void> => {
      const parts = await Promise.all(
        chunks(home.tasks).map((part) => this.#buffer(home.partition, home.queue).add(part)),
      );
      parts.flat().forEach((reply, index) => (replies[home.at[index] ?? 0] = reply));
    };
    if (ordered && homes.size > 1) {
      for (const [index, task] of tasks.entries())
        replies[index] = (await this.#buffer(this.#places.partitionFor(task), task.queue).add([task]))[0] ?? {
          id: task.id,
          duplicate: false,
        };
    } else await Promise.all([...homes.values()].map(send));
    return replies;
  }

  session(partition: number, slots: number, queues: readonly string[], listener: SessionListener): Session {
    const worker = this.#workerIds.next(systemClock.now());
    const { leases } = this.#keys.partition(partition);
    this.#keeper.add(worker, leases);
    const session = new RedisSession({
      connection: this.#connection,
      keys: this.#keys,
      partition,
      worker,
      slots,
      queues,
      leaseMs: this.#options.leaseMs,
      background: this.#background,
      listener,
      keeper: this.#keeper,
      relay: () => this.#background.run(() => this.#maintenance.relay(partition), 'tell parents'),
      closed: (closed) => this.#sessions.delete(closed),
    });
    this.#sessions.add(session);
    this.#hints.onCancel((id, why) => {
      for (const one of this.#sessions) one.listener.onCancel(id, reasonOf(why));
    });
    return session;
  }

  async recover(): Promise<readonly StalledTask[]> {
    return await this.#maintenance.recover();
  }

  async maintain(): Promise<void> {
    await this.#maintenance.tidy();
  }

  async cancel(id: string, reason: string): Promise<'cancelled' | 'requested' | 'none'> {
    return await this.#control.cancel(id, reason);
  }

  async deadLetters(
    queue: string,
    limit: number,
    cursor: string | undefined,
  ): Promise<{ ids: readonly string[]; cursor: string | undefined }> {
    return await this.#control.deadLetters(queue, limit, cursor);
  }

  async retryDead(ids: readonly string[]): Promise<number> {
    return await this.#control.retryDead(ids);
  }

  async purgeDead(ids: readonly string[]): Promise<number> {
    return await this.#control.purgeDead(ids);
  }

  async setPaused(queue: string | undefined, paused: boolean): Promise<void> {
    await this.#control.setPaused(queue, paused);
  }

  async setLimits(queue: string, limits: QueueLimits): Promise<void> {
    await this.#control.setLimits(queue, limits);
  }

  async drain(queue: string, delayed: boolean): Promise<number> {
    return await this.#control.drain(queue, delayed);
  }

  async queues(): Promise<readonly string[]> {
    const parts = await Promise.all(
      this.#keys.partitions.map(
        ({ queues }) => this.#ask((link) => link.call('SMEMBERS', queues)) as Promise<string[]>,
      ),
    );
    return [...new Set(parts.flat())].sort();
  }

  async counts(queues: readonly string[]): Promise<readonly QueueCounts[]> {
    const jobs = this.#keys.partitions.flatMap((_, partition) =>
      queues.map((queue) => ({ partition, queue })),
    );
    return await Promise.all(
      jobs.map(({ partition, queue }) =>
        this.#ask((link) =>
          countQueue((command, ...args) => link.call(command, ...args), this.#keys, partition, queue),
        ),
      ),
    );
  }

  async health(signal: AbortSignal): Promise<HealthIndication> {
    try {
      await request(() => this.#link.call('PING'), { ...this.#requestOptions(), signal });
      return { status: 'healthy' };
    } catch {
      return { status: 'unhealthy', code: 'QUEUE_UNAVAILABLE' };
    }
  }

  async close(timeoutMs: number): Promise<void> {
    this.#hints.close();
    await Promise.all([...this.#sessions].map((session) => session.close(timeoutMs)));
    await this.#keeper.close();
    this.#link.close();
    await this.#connection.close(timeoutMs);
  }

  async read(ids: readonly string[]): Promise<readonly (StoredTask | undefined)[]> {
    const found = new Map<string, StoredTask | undefined>();
    await this.#places.perHome(ids, async ({ partition, queue, entries }) => {
      const known = entries.map(({ id }) => id);
      const args = [this.#options.maxLogLines, ...known];
      const rows = (await this.#ask((link) =>
        link.run(scripts.read, this.#keys.queue(partition, queue).all, args),
      )) as string[][];
      known.forEach((id, index) => found.set(id, parseStored(id, rows[index] ?? [])));
      return 0;
    });
    return ids.map((id) => found.get(id));
  }

  async note(notes: readonly TaskNote[]): Promise<void> {
    const homes = new Map<string, TaskNote[]>();
    for (const note of notes) {
      const home = `${this.#places.partitionOf(note.id)}\n${note.queue}`;
      homes.set(home, [...(homes.get(home) ?? []), note]);
    }
    for (const [home, own] of homes) {
      const [partition = '', queue = ''] = home.split('\n');
      const { progress, logs } = this.#keys.partition(Number(partition));
      const { claims } = this.#keys.queue(Number(partition), queue);
      for (const part of chunks(own, 100)) {
        const args = part.flatMap((note) => [
          note.id,
          `${note.token}|`,
          note.progress ?? '',
          note.lines.length === 0 ? '' : JSON.stringify(note.lines.map((line) => JSON.stringify(line))),
        ]);
        await this.#ask((link) =>
          link.run(scripts.note, [claims, progress, logs], [this.#options.maxLogLines, ...args]),
        );
      }
    }
  }

  async childResults(id: string, children: readonly string[]): Promise<ReadonlyMap<string, string>> {
    if (children.length === 0) return new Map();
    const key = this.#keys.partition(this.#places.partitionOf(id)).children;
    const fields = children.map((child) => `${id}\n${child}`);
    const texts = (await this.#ask((link) => link.call('HMGET', key, ...fields))) as (string | null)[];
    return new Map(
      children.flatMap((child, index) =>
        typeof texts[index] === 'string' ? [[child, texts[index]] as const] : [],
      ),
    );
  }

  onFinished(listener: (ids: readonly string[]) => void): () => void {
    return this.#hints.onFinished(listener);
  }

  onScheduleChange(listener: () => void): () => void {
    return this.#hints.onScheduleChange(listener);
  }

  async putSchedule(put: SchedulePut): Promise<boolean> {
    return await this.#schedules.put(put);
  }

  async removeSchedule(id: string): Promise<boolean> {
    return await this.#schedules.remove(id);
  }

  async listSchedules(): Promise<readonly StoredSchedule[]> {
    return await this.#schedules.list();
  }

  async dueSchedules(
    limit: number,
  ): Promise<{ now: number; due: readonly StoredSchedule[]; nextMs: number | undefined }> {
    return await this.#schedules.due(limit);
  }

  async fireSchedule(fire: ScheduleFire): Promise<'fired' | 'skipped' | 'raced'> {
    return await this.#schedules.fire(fire);
  }

  #buffer(partition: number, queue: string): EnqueueBuffer {
    const key = `${partition}\n${queue}`;
    const known = this.#buffers.get(key);
    if (known !== undefined) return known;
    const made = new EnqueueBuffer(this.#link, this.#keys.queue(partition, queue), queue, this.#limits);
    this.#buffers.set(key, made);
    // Queues are listed for inspections; a failure here costs nothing that matters.
    this.#background.run(
      () => this.#link.call('SADD', this.#keys.partition(partition).queues, queue),
      'announce a queue',
    );
    return made;
  }

  #ask<T>(attempt: (link: RedisLink) => Promise<T>): Promise<T> {
    return request(() => attempt(this.#link), this.#requestOptions());
  }

  #requestOptions(): { timeoutMs: number } {
    return { timeoutMs: this.#options.enqueueTimeoutMs };
  }
}
