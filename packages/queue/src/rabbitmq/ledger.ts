import type {
  EnqueueReply,
  NewTask,
  Outcome,
  ScheduleFire,
  Settlement,
  StoredTask,
  TaskNote,
  UniqueRule,
} from '../backend.ts';
import { newReply, type Command, type Reply } from './ledger-commands.ts';
import { offerTask } from './ledger-offers.ts';
import { hasEnded, newRecord, storedRecord, type LedgerRecord } from './ledger-record.ts';
import { LedgerTables, type LedgerEvents, type LedgerRetention } from './ledger-tables.ts';

const KEEP_CANCELLED = 3_600_000;
/** A worker that was silent this long and whose task never came back from the broker has lost it. */
const ORPHANED_AFTER = 60_000;
const MAX_RELAY = 500;

/**
 * The book of a namespace: which task is where, and which message of it counts. RabbitMQ moves messages and keeps them;
 * what they mean is decided here, by commands that are applied one after the other. It is deterministic: the same
 * commands in the same order give the same tables and the same replies, which is what lets a log replicate it.
 */
export class Ledger {
  readonly tables: LedgerTables;
  readonly #maxLogLines: number;

  constructor(retention: LedgerRetention, maxLogLines: number, events: LedgerEvents) {
    this.tables = new LedgerTables(retention, events);
    this.#maxLogLines = maxLogLines;
  }

  /** Applies one command, said at `now` by somebody's clock; time in here never goes back. */
  apply(command: Command, now: number): Reply {
    this.tables.now = Math.max(this.tables.now, now);
    const reply = newReply(this.tables.now);
    this.#apply(command, reply);
    return reply;
  }

  /** A task as it stands. */
  read(id: string, now: number): StoredTask | undefined {
    const record = this.tables.records.get(id);
    if (record === undefined || (record.expiresAt ?? Infinity) <= now) return undefined;
    return storedRecord(record, now);
  }

  /** The reply to nothing. */
  peek(now: number): Reply {
    return newReply(Math.max(this.tables.now, now));
  }

  #apply(command: Command, reply: Reply): void {
    switch (command.op) {
      case 'admit':
        for (const task of command.tasks) reply.enqueued.push(this.#admit(task, reply));
        break;
      case 'turn':
        for (const settlement of command.settlements)
          if (!this.#settle(settlement, reply)) reply.lost.push(settlement.id);
        for (const offer of command.offers)
          offerTask(this.tables, offer, { queue: command.queue, worker: command.worker, reply });
        break;
      case 'sent':
        for (const [id, generation] of command.messages) this.#sent(id, generation);
        break;
      case 'relay':
        this.#relay(command.olderThan, reply);
        break;
      case 'rebuild':
        this.#rebuild(command, reply);
        break;
      case 'note':
        this.#note(command.notes);
        break;
      case 'announce':
        for (const name of command.queues) {
          const until = this.tables.now + command.forMs;
          if (command.forMs > 0)
            this.tables.queue(name).workers.set(command.worker, { slots: command.slots, until });
          else this.tables.queue(name).workers.delete(command.worker);
        }
        break;
      case 'sweep':
        this.tables.sweep();
        break;
      case 'look':
        break;
      default:
        this.#control(command, reply);
    }
  }

  #control(command: Command, reply: Reply): void {
    switch (command.op) {
      case 'cancel':
        reply.outcome = this.#cancel(command.id, command.reason, reply);
        break;
      case 'drain':
        this.#drain(command.queue, command.delayed, reply);
        break;
      case 'revive':
        for (const id of command.ids) if (this.#revive(id, reply)) reply.count += 1;
        break;
      case 'purge':
        for (const id of command.ids) {
          const record = this.tables.records.get(id);
          if (record?.state !== 'dead') continue;
          this.tables.drop(record);
          reply.count += 1;
        }
        break;
      case 'bury':
        this.#bury(command, reply);
        break;
      case 'dug':
        for (const id of command.ids) this.tables.queue(command.queue).litter.delete(id);
        break;
      case 'pause':
        this.#pause(command.queue, command.paused);
        break;
      case 'limits':
        this.tables.queue(command.queue).limits = command.limits;
        this.tables.events.woken(command.queue);
        break;
      case 'schedule':
        reply.count = this.#schedule(command) ? 1 : 0;
        break;
      case 'unschedule':
        reply.count = this.tables.schedules.delete(command.id) ? 1 : 0;
        break;
      case 'fire':
        reply.outcome = this.#fire(command.fire, reply);
        break;
      default:
    }
  }

  #admit(task: NewTask, reply: Reply): EnqueueReply {
    const { tables } = this;
    const known = tables.records.get(task.id);
    if (known !== undefined) {
      // Whoever repeats an enqueue that failed may rely on the message from now on.
      if (known.owedSince > 0) reply.tickets.push(tables.ticket(known));
      return { id: task.id, duplicate: true };
    }
    const rule = task.unique;
    if (rule !== undefined) {
      const holder = tables.holder(rule.key);
      if (holder !== undefined) return this.#collide(task, rule, reply);
      tables.hold(rule, task.id);
    }
    tables.place(this.#add(task), reply);
    return { id: task.id, duplicate: false };
  }

  #add(task: NewTask): LedgerRecord {
    const record = newRecord(task, this.tables.now);
    this.tables.records.set(task.id, record);
    // Whoever adds a record also moves it to where it belongs.
    this.tables.queue(task.queue).enqueued += 1;
    return record;
  }

  #collide(task: NewTask, rule: UniqueRule, reply: Reply): EnqueueReply {
    const { tables } = this;
    const holder = tables.uniques.get(rule.key);
    const first = tables.records.get(holder?.id ?? '');
    const id = holder?.id ?? '';
    // What waits in another queue stays as it is.
    const replaces = rule.mode === 'replace' && first?.queue === task.queue;
    if (!replaces || holder === undefined) {
      if (first !== undefined && first.owedSince > 0) reply.tickets.push(tables.ticket(first));
      return { id, duplicate: true };
    }
    const next = holder.next === undefined ? undefined : tables.records.get(holder.next);
    const target = first.state === 'active' ? next : first;
    if (target !== undefined) {
      this.#replace(target, task, reply);
      return { id: target.id, duplicate: true };
    }
    if (first.state !== 'active') return { id, duplicate: true };
    holder.next = task.id;
    tables.move(this.#add(task), 'waiting', true);
    return { id: task.id, duplicate: false };
  }

  /** The old message, if there is one, is of an older generation from now on. */
  #replace(record: LedgerRecord, task: NewTask, reply: Reply): void {
    if (record.state !== 'waiting' && record.state !== 'delayed') return;
    const waitsForHolder = record.held && record.generation === 0 && record.pendingChildren === undefined;
    this.tables.queue(record.queue).delete(record);
    record.queue = task.queue;
    record.priority = task.priority;
    record.blob = task.blob;
    record.runAt = task.runAt ?? (task.delayMs > 0 ? this.tables.now + task.delayMs : undefined);
    if (waitsForHolder) this.tables.queue(record.queue).add(record);
    else {
      record.state = 'waiting';
      record.held = false;
      this.tables.place(record, reply);
    }
  }

  #settle({ id, token, outcome }: Settlement, reply: Reply): boolean {
    const { tables } = this;
    const record = tables.records.get(id);
    if (record === undefined || record.state !== 'active' || record.token !== token) return false;
    if (outcome.kind === 'return' && record.cancelReason !== undefined) {
      tables.end(record, { state: 'cancelled', error: record.cancelReason, keepMs: KEEP_CANCELLED }, reply);
    } else if (outcome.kind === 'return') {
      record.startedAt = undefined;
      tables.move(record, 'waiting');
      const queue = tables.queue(record.queue);
      if (queue.limits.concurrency !== undefined) tables.events.woken(queue.name);
    } else if (outcome.kind === 'retry') this.#retry(record, outcome, reply);
    else if (outcome.kind === 'completed') {
      record.result = outcome.result;
      record.attempts += 1;
      tables.queue(record.queue).completed += 1;
      tables.end(record, { state: 'completed', error: undefined, keepMs: outcome.keepMs }, reply);
    } else {
      if (outcome.counted) record.attempts += 1;
      tables.end(record, { state: outcome.kind, error: outcome.error, keepMs: outcome.keepMs }, reply);
    }
    return true;
  }

  #retry(record: LedgerRecord, outcome: Outcome & { kind: 'retry' }, reply: Reply): void {
    const { tables } = this;
    if (record.cancelReason !== undefined) {
      tables.end(record, { state: 'cancelled', error: record.cancelReason, keepMs: KEEP_CANCELLED }, reply);
      return;
    }
    const queue = tables.queue(record.queue);
    if (outcome.counted) {
      record.attempts += 1;
      queue.failedAttempts += 1;
    }
    record.error = outcome.error;
    tables.emit(record, tables.slot(record, tables.now + outcome.delayMs), reply);
    if (queue.limits.concurrency !== undefined) tables.events.woken(queue.name);
  }

  #sent(id: string, generation: number): void {
    const record = this.tables.records.get(id);
    if (record?.generation === generation) this.tables.settleDebt(record);
  }

  #relay(olderThan: number, reply: Reply): void {
    const { tables } = this;
    for (const record of tables.owed) {
      if (reply.tickets.length >= MAX_RELAY || record.owedSince > tables.now - olderThan) break;
      tables.owe(record, reply);
    }
    for (const queue of tables.queues.values()) {
      for (const record of queue.active) {
        if ((record.startedAt ?? 0) > tables.now - ORPHANED_AFTER) break;
        const until = queue.workers.get(record.worker ?? '')?.until ?? 0;
        if (until > tables.now - ORPHANED_AFTER || reply.tickets.length >= MAX_RELAY) continue;
        record.stalls += 1;
        tables.emit(record, 0, reply);
      }
    }
  }

  #rebuild(command: Command & { op: 'rebuild' }, reply: Reply): void {
    const { tables } = this;
    const queue = tables.queue(command.queue);
    if (queue.incarnations[command.priority] !== command.incarnation) return;
    queue.incarnations[command.priority] += 1;
    for (const record of queue.waiting[command.priority])
      if (record.owedSince === 0) tables.owe(record, reply);
    for (const record of queue.delayed) {
      const lay = record.priority === command.priority && (record.runAt ?? 0) <= tables.now;
      if (lay && record.owedSince === 0) tables.owe(record, reply);
    }
  }

  #cancel(id: string, reason: string, reply: Reply): 'cancelled' | 'requested' | 'none' {
    const record = this.tables.records.get(id);
    if (record === undefined || hasEnded(record)) return 'none';
    const error = JSON.stringify({ name: 'QueueError', code: 'TASK_CANCELLED', message: reason, reason });
    if (record.state === 'active') {
      record.cancelReason ??= error;
      this.tables.events.cancelRequested(id, reason);
      return 'requested';
    }
    this.tables.end(record, { state: 'cancelled', error, keepMs: KEEP_CANCELLED }, reply);
    return 'cancelled';
  }

  #drain(name: string, delayed: boolean, reply: Reply): void {
    const queue = this.tables.queue(name);
    // Parents first: a child that is cancelled before its parent would make that a dead letter.
    const records = [...queue.held, ...queue.waiting.flatMap((list) => [...list])];
    for (const record of queue.delayed)
      if (delayed || (record.runAt ?? 0) <= this.tables.now) records.push(record);
    for (const record of records)
      if (this.#cancel(record.id, 'drained', reply) === 'cancelled') reply.count += 1;
  }

  #revive(id: string, reply: Reply): boolean {
    const record = this.tables.records.get(id);
    if (record?.state !== 'dead') return false;
    if (record.unique !== undefined && !this.tables.retakeKey(record.unique, id)) return false;
    this.tables.litter(record);
    record.attempts = 0;
    record.stalls = 0;
    record.finishedAt = undefined;
    record.runAt = undefined;
    this.tables.place(record, reply);
    return true;
  }

  /** The broker itself gave up on a message, or the ledger that knew of it is gone. */
  #bury({ queue, offer, error }: Command & { op: 'bury' }, reply: Reply): void {
    const { tables } = this;
    let record = tables.records.get(offer.id);
    if (record !== undefined && (hasEnded(record) || offer.generation < record.generation)) return;
    record ??= this.#add({
      id: offer.id,
      queue,
      priority: offer.priority,
      delayMs: 0,
      blob: offer.blob ?? '',
    });
    record.generation = offer.generation;
    tables.end(record, { state: 'dead', error, keepMs: 0 }, reply);
    // Its message lies where it was found.
    reply.graves.pop();
    reply.count += 1;
  }

  #pause(name: string | undefined, paused: boolean): void {
    const { tables } = this;
    if (name !== undefined) tables.queue(name).paused = paused;
    else {
      tables.allPaused = paused;
      if (!paused) for (const queue of tables.queues.values()) queue.paused = false;
    }
    for (const queue of tables.queues.keys())
      if (name === undefined || name === queue) tables.events.woken(queue);
  }

  #note(notes: readonly TaskNote[]): void {
    for (const { id, token, progress, lines } of notes) {
      const record = this.tables.records.get(id);
      if (record?.state !== 'active' || record.token !== token) continue;
      record.progress = progress ?? record.progress;
      if (lines.length > 0)
        record.logs =
          this.#maxLogLines === 0 ? [] : [...(record.logs ?? []), ...lines].slice(-this.#maxLogLines);
    }
  }

  #schedule({ schedule, expected, keepsTime }: Command & { op: 'schedule' }): boolean {
    const known = this.tables.schedules.get(schedule.id);
    if (known?.definition !== expected) return false;
    const nextAt = keepsTime && known !== undefined ? known.nextAt : schedule.nextAt;
    this.tables.schedules.set(schedule.id, { ...schedule, nextAt, lastTask: known?.lastTask });
    this.tables.events.scheduleChanged();
    return true;
  }

  #fire(fire: ScheduleFire, reply: Reply): 'fired' | 'skipped' | 'raced' {
    const { schedules, records } = this.tables;
    const schedule = schedules.get(fire.id);
    if (schedule === undefined || schedule.nextAt !== fire.expected) return 'raced';
    // Infinity is null in JSON.
    const ended = fire.next === null || fire.next === Infinity;
    const last = schedule.lastTask === undefined ? undefined : records.get(schedule.lastTask);
    const skipped = fire.overlap === 'skip' && last !== undefined && !hasEnded(last);
    const lastTask = skipped ? schedule.lastTask : (fire.tasks.at(-1)?.id ?? schedule.lastTask);
    if (ended) schedules.delete(fire.id);
    else schedules.set(fire.id, { ...schedule, nextAt: fire.next, lastTask });
    if (skipped) return 'skipped';
    for (const task of fire.tasks) this.#admit(task, reply);
    return 'fired';
  }
}
