import { Background, InvalidOptionError, systemClock, type HealthIndication } from '@xiaoke/core';
import type {
  Backend,
  EnqueueReply,
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
} from '../backend.ts';
import { QueueError } from '../errors.ts';
import type { ResolvedQueueOptions } from '../options.ts';
import { TaskIds } from '../task-id.ts';
import { Broker } from './broker.ts';
import { DeadLetterBox } from './dead-letter-box.ts';
import type { AmqpConnect } from './amqp.ts';
import type { Command, Reply } from './ledger-commands.ts';
import type { LedgerClient } from './ledger-client.ts';
import { openLedger, type LedgerLogFactory } from './open-ledger.ts';
import { QueueConsumer } from './queue-consumer.ts';
import { RabbitMqSession } from './rabbitmq-session.ts';

/** What was owed longer than this is taken over by whoever notices. */
const RELAY_AFTER = 10_000;
const REBUILD_WITHIN = 60_000;
const SETTLE_AFTER = 5;
/** A message's id is a short string. */
const MAX_ID = 255;

/**
 * Tasks in RabbitMQ: quorum queues keep and move the messages, a ledger says what they mean. A message is acknowledged
 * when the ledger has the outcome, and the ledger owes every message until the broker has confirmed it, so whoever dies in
 * between leaves either the message or the debt.
 */
export class RabbitMqBackend implements Backend {
  readonly type = 'rabbitmq';
  readonly partitions = 1;
  readonly #options: ResolvedQueueOptions;
  readonly #background: Background;
  readonly #broker: Broker;
  readonly #ledger: LedgerClient;
  readonly #box: DeadLetterBox;
  readonly #sessions = new Set<RabbitMqSession>();
  readonly #finished = new Set<(ids: readonly string[]) => void>();
  readonly #schedules = new Set<() => void>();
  readonly #workerIds = new TaskIds();
  #stalled: StalledTask[] = [];
  /** Messages that the broker has confirmed and the ledger still owes. */
  #paid: (readonly [id: string, generation: number])[] = [];
  #enqueuing = 0;

  constructor(options: ResolvedQueueOptions, connect: AmqpConnect, redisLog: LedgerLogFactory | undefined) {
    this.#options = options;
    this.#background = new Background({ logger: options.logger });
    this.#broker = new Broker({
      options,
      connect,
      background: this.#background,
      missing: (queue, priority) => this.#rebuild(queue, priority),
      paid: (id, generation) => this.#paidFor(id, generation),
    });
    this.#ledger = openLedger({
      options,
      broker: this.#broker,
      background: this.#background,
      redisLog,
      events: {
        finished: (id) => {
          for (const listener of this.#finished) listener([id]);
        },
        scheduleChanged: () => {
          for (const listener of this.#schedules) listener();
        },
        cancelRequested: (id, reason) => {
          for (const session of this.#sessions) session.listener.onCancel(id, reason);
        },
        superseded: (id, token) => {
          for (const session of this.#sessions) session.superseded(id, token);
        },
        woken: (queue) => {
          for (const session of this.#sessions) session.wake(queue);
        },
      },
    });
    this.#box = new DeadLetterBox({
      link: this.#broker.consuming,
      ledger: this.#ledger,
      names: this.#broker.names,
      topology: this.#broker.topology,
      clock: options.clock,
      timeoutMs: options.enqueueTimeoutMs,
    });
  }

  now(): number {
    return this.#options.clock.now();
  }

  newId(id: string): string {
    return id;
  }

  async open(): Promise<void> {
    const { waitForBrokerMs } = this.#options.rabbitmqOptions;
    const start = systemClock.monotonic();
    await this.#broker.open(waitForBrokerMs);
    const left = waitForBrokerMs - (systemClock.monotonic() - start);
    const patience = Math.max(this.#timeout, left);
    await this.#ledger.open(patience);
    for (const queue of this.#options.queues) await this.#broker.ensureQueue(queue, patience);
  }

  async enqueue(tasks: readonly NewTask[]): Promise<readonly EnqueueReply[]> {
    if (tasks.length === 0) return [];
    this.#refuse(tasks);
    const { maxBuffered } = this.#options;
    if (this.#enqueuing >= maxBuffered)
      throw new QueueError('QUEUE_UNAVAILABLE', `More than ${maxBuffered} tasks wait to be sent`);
    this.#enqueuing += tasks.length;
    try {
      const admit = { op: 'admit', tasks } as const;
      // With the ledger at hand, a task costs no wait but the one for its confirmation.
      const reply = this.#ledger.runNow(admit) ?? (await this.#ledger.run(admit, this.#timeout));
      if (reply.tickets.length + reply.graves.length > 0) await this.#broker.deliver(reply, this.#timeout);
      return reply.enqueued;
    } finally {
      this.#enqueuing -= tasks.length;
    }
  }

  session(_partition: number, slots: number, queues: readonly string[], listener: SessionListener): Session {
    const { options, broker } = { options: this.#options, broker: this.#broker };
    const session = new RabbitMqSession({
      worker: this.#workerIds.next(options.clock.now()),
      slots,
      queues,
      listener,
      ledger: this.#ledger,
      clock: options.clock,
      background: this.#background,
      deliver: (reply) => this.#deliver(reply, Math.max(this.#timeout, 30_000)),
      stalled: (id, queue) => this.#stalled.push({ id, queue }),
      closed: (closed) => this.#sessions.delete(closed),
      consume: (queue, arrived, troubled) =>
        new QueueConsumer({
          queue,
          slots,
          weights: options.weights,
          prefetchFactor: options.rabbitmqOptions.prefetch,
          link: broker.consuming,
          names: broker.names,
          topology: broker.topology,
          clock: options.clock,
          background: this.#background,
          timeoutMs: Math.max(this.#timeout, 10_000),
          arrived,
          troubled,
        }),
    });
    this.#sessions.add(session);
    return session;
  }

  async recover(): Promise<readonly StalledTask[]> {
    const { owed, queues } = this.#ledger.ledger.tables;
    const active = [...queues.values()].some((queue) => queue.active.size > 0);
    if (owed.size > 0 || (active && this.#ledger.shared))
      await this.#run({ op: 'relay', olderThan: RELAY_AFTER });
    const stalled = this.#stalled;
    this.#stalled = [];
    return stalled;
  }

  async maintain(): Promise<void> {
    await this.#run({ op: 'sweep' });
    for (const queue of this.#ledger.ledger.tables.queues.keys()) await this.#box.check(queue);
  }

  async cancel(id: string, reason: string): Promise<'cancelled' | 'requested' | 'none'> {
    const { outcome } = await this.#run({ op: 'cancel', id, reason });
    return outcome === 'cancelled' || outcome === 'requested' ? outcome : 'none';
  }

  async deadLetters(
    queue: string,
    limit: number,
    cursor: string | undefined,
  ): Promise<{ ids: readonly string[]; cursor: string | undefined }> {
    await this.#look();
    await this.#box.check(queue);
    const start = cursor === undefined ? 0 : Number(cursor);
    const dead = [...this.#ledger.ledger.tables.queue(queue).dead];
    const ids = dead.slice(start, start + limit).map(({ id }) => id);
    return { ids, cursor: start + limit < dead.length ? String(start + limit) : undefined };
  }

  async retryDead(ids: readonly string[]): Promise<number> {
    return await this.#unbury({ op: 'revive', ids });
  }

  async purgeDead(ids: readonly string[]): Promise<number> {
    return await this.#unbury({ op: 'purge', ids });
  }

  async setPaused(queue: string | undefined, paused: boolean): Promise<void> {
    await this.#run({ op: 'pause', queue, paused });
  }

  async setLimits(queue: string, limits: QueueLimits): Promise<void> {
    await this.#run({ op: 'limits', queue, limits });
  }

  async drain(queue: string, delayed: boolean): Promise<number> {
    return (await this.#run({ op: 'drain', queue, delayed })).count;
  }

  async queues(): Promise<readonly string[]> {
    await this.#look();
    return [...this.#ledger.ledger.tables.queues.keys()];
  }

  async counts(queues: readonly string[]): Promise<readonly QueueCounts[]> {
    await this.#look();
    const now = this.#options.clock.now();
    if (!this.#ledger.shared) for (const queue of queues) await this.#box.check(queue);
    return queues.map((name) => {
      const { tables } = this.#ledger.ledger;
      const counts = tables.queue(name).counts(Math.max(now, tables.now));
      return { ...counts, paused: counts.paused || tables.allPaused };
    });
  }

  async health(signal: AbortSignal): Promise<HealthIndication> {
    if (this.#broker.publishing.blocked !== undefined) return { status: 'degraded', code: 'BROKER_BLOCKED' };
    if (signal.aborted || this.#broker.consuming.connection === undefined)
      return { status: 'unhealthy', code: 'QUEUE_UNAVAILABLE' };
    try {
      await this.#look();
      return { status: 'healthy' };
    } catch {
      return { status: 'unhealthy', code: 'QUEUE_UNAVAILABLE' };
    }
  }

  async close(timeoutMs: number): Promise<void> {
    const part = timeoutMs / 4;
    await Promise.all([...this.#sessions].map((session) => session.close(part)));
    await this.#settle(part / 2).catch(() => {});
    await this.#ledger.close(part / 2);
    await this.#broker.close(part);
  }

  async read(ids: readonly string[]): Promise<readonly (StoredTask | undefined)[]> {
    await this.#look();
    const { ledger } = this.#ledger;
    const now = Math.max(this.#options.clock.now(), ledger.tables.now);
    return ids.map((id) => ledger.read(id, now));
  }

  async note(notes: readonly TaskNote[]): Promise<void> {
    await this.#run({ op: 'note', notes });
  }

  childResults(id: string): Promise<ReadonlyMap<string, string>> {
    return Promise.resolve(
      new Map(Object.entries(this.#ledger.ledger.tables.records.get(id)?.childResults ?? {})),
    );
  }

  onFinished(listener: (ids: readonly string[]) => void): () => void {
    this.#finished.add(listener);
    return () => this.#finished.delete(listener);
  }

  onScheduleChange(listener: () => void): () => void {
    this.#schedules.add(listener);
    return () => this.#schedules.delete(listener);
  }

  async putSchedule({ schedule, expected, keepsTime }: SchedulePut): Promise<boolean> {
    return (await this.#run({ op: 'schedule', schedule, expected, keepsTime })).count > 0;
  }

  async removeSchedule(id: string): Promise<boolean> {
    return (await this.#run({ op: 'unschedule', id })).count > 0;
  }

  async listSchedules(): Promise<readonly StoredSchedule[]> {
    await this.#look();
    const all = [...this.#ledger.ledger.tables.schedules.values()];
    return all.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  dueSchedules(
    limit: number,
  ): Promise<{ now: number; due: readonly StoredSchedule[]; nextMs: number | undefined }> {
    // Our own copy will do: firing compares with what stands.
    const { tables } = this.#ledger.ledger;
    const now = Math.max(this.#options.clock.now(), tables.now);
    const sorted = [...tables.schedules.values()].sort((a, b) => a.nextAt - b.nextAt);
    const due = sorted.filter(({ nextAt }) => nextAt <= now).slice(0, limit);
    const next = sorted.find(({ nextAt }) => nextAt > now);
    return Promise.resolve({ now, due, nextMs: next === undefined ? undefined : next.nextAt - now });
  }

  async fireSchedule(fire: ScheduleFire): Promise<'fired' | 'skipped' | 'raced'> {
    this.#refuse(fire.tasks);
    const { outcome } = await this.#run({ op: 'fire', fire });
    return outcome === 'fired' || outcome === 'skipped' ? outcome : 'raced';
  }

  get #timeout(): number {
    return this.#options.enqueueTimeoutMs;
  }

  /** Says a command, and gives the broker what the ledger owes it after that. */
  async #run(command: Command): Promise<Reply> {
    const reply = await this.#ledger.run(command, this.#timeout);
    await this.#deliver(reply, this.#timeout);
    return reply;
  }

  async #deliver(reply: Reply, timeoutMs: number): Promise<void> {
    if (reply.tickets.length + reply.graves.length > 0) await this.#broker.deliver(reply, timeoutMs);
  }

  /** That it is paid is not waited for, and told together with others: a debt too many costs a message that is dropped. */
  #paidFor(id: string, generation: number): void {
    this.#paid.push([id, generation]);
    if (this.#paid.length > 1) return;
    const settle = (): void => this.#background.run(() => this.#settle(this.#timeout), 'settle debts');
    this.#options.clock.setTimeout(settle, SETTLE_AFTER).unref();
  }

  async #settle(timeoutMs: number): Promise<void> {
    const messages = this.#paid;
    this.#paid = [];
    if (messages.length > 0) await this.#ledger.run({ op: 'sent', messages }, timeoutMs);
  }

  async #look(): Promise<void> {
    if (this.#ledger.shared) await this.#ledger.run({ op: 'look' }, this.#timeout);
  }

  async #unbury(command: Command & { readonly op: 'revive' | 'purge' }): Promise<number> {
    const { tables } = this.#ledger.ledger;
    const { records } = tables;
    const queues = new Set(command.ids.map((id) => records.get(id)?.queue ?? ''));
    const { count } = await this.#run(command);
    const tidy = async (): Promise<void> => {
      for (const queue of queues) if (queue !== '') await this.#box.sweep(queue);
    };
    // Without a shared ledger, a message that is left behind would be taken for a dead letter by the next process.
    if (this.#ledger.shared) this.#background.run(tidy, 'tidy dead letters');
    else await tidy();
    return count;
  }

  #rebuild(queue: string, priority: 0 | 1 | 2): void {
    this.#background.run(async () => {
      const { incarnations, delayed } = this.#ledger.ledger.tables.queue(queue);
      const incarnation = incarnations[priority];
      // First the way of those that are delayed, which went with the list: what was due before that is then filled in.
      if (delayed.size > 0) await this.#broker.reconnect(queue, priority, REBUILD_WITHIN);
      const reply = await this.#ledger.run({ op: 'rebuild', queue, priority, incarnation });
      await this.#deliver(reply, REBUILD_WITHIN);
    }, 'fill a list again that was lost');
  }

  #refuse(tasks: readonly NewTask[]): void {
    const tooLong = tasks.some(({ id }) => id.length * 3 > MAX_ID && Buffer.byteLength(id) > MAX_ID);
    if (tooLong)
      throw new InvalidOptionError('id', `must take at most ${MAX_ID} bytes in a RabbitMQ message`);
    this.#refuseHeld(tasks);
  }

  /** Tasks that wait in the ledger for something have no message; in one process's memory they would be gone with it. */
  #refuseHeld(tasks: readonly NewTask[]): void {
    if (this.#ledger.shared) return;
    const held = tasks.some(
      ({ group, children, unique }) =>
        group !== undefined || children !== undefined || unique?.mode === 'replace',
    );
    if (held)
      throw new QueueError(
        'UNSUPPORTED',
        "Groups, flows and unique tasks that replace need a status store that outlives the process, not 'memory'",
      );
  }
}
