import type { StoredSchedule, UniqueRule } from '../backend.ts';
import { childFailure } from '../flows.ts';
import { gcraSlot, gcraTake } from '../gcra.ts';
import type { Reply, Ticket } from './ledger-commands.ts';
import { LedgerQueue } from './ledger-queue.ts';
import { hasEnded, type LedgerRecord } from './ledger-record.ts';
import { RecordList } from './record-list.ts';

/** How records are dropped. */
export interface LedgerRetention {
  readonly finished: number;
  readonly dead: number;
  readonly deadAgeMs: number;
}

/** What a ledger tells while it applies commands. */
export interface LedgerEvents {
  finished(id: string): void;
  scheduleChanged(): void;
  cancelRequested(id: string, reason: string): void;
  /** Another worker has the task now. */
  superseded(id: string, token: number): void;
  /** A queue may hand out something that it refused before. */
  woken(queue: string): void;
}

/** Who has a unique key. */
export interface UniqueHolder {
  id: string;
  /** Held at least until then; 0 means until the task ends. */
  until: number;
  next: string | undefined;
  ended: boolean;
}

/** A group of tasks that run in order. */
export interface LedgerGroup {
  admitted: number;
  tat: number;
  concurrency: number;
  readonly waiting: string[];
}

interface TaskEnd {
  readonly state: 'completed' | 'dead' | 'cancelled' | 'expired';
  readonly error: string | undefined;
  readonly keepMs: number;
}

/** The tables of a ledger and the moves between them. Nothing in here waits, reads a clock or draws a number. */
export class LedgerTables {
  readonly records: Map<string, LedgerRecord> = new Map();
  readonly queues: Map<string, LedgerQueue> = new Map();
  readonly groups: Map<string, LedgerGroup> = new Map();
  readonly uniques: Map<string, UniqueHolder> = new Map();
  readonly schedules: Map<string, StoredSchedule & { lastTask?: string | undefined }> = new Map();
  /** Tasks whose message the broker may not have yet, oldest first. */
  readonly owed: Set<LedgerRecord> = new Set();
  /** Ended tasks that are kept for a while, oldest first. */
  readonly finished: RecordList = new RecordList();
  readonly retention: LedgerRetention;
  readonly events: LedgerEvents;
  allPaused = false;
  token = 0;
  now = 0;

  constructor(retention: LedgerRetention, events: LedgerEvents) {
    this.retention = retention;
    this.events = events;
  }

  queue(name: string): LedgerQueue {
    const known = this.queues.get(name);
    if (known !== undefined) return known;
    const made = new LedgerQueue(name);
    this.queues.set(name, made);
    return made;
  }

  move(record: LedgerRecord, state: LedgerRecord['state'], held = false): void {
    const queue = this.queue(record.queue);
    queue.delete(record);
    record.state = state;
    record.held = held;
    queue.add(record);
  }

  /** Owes the broker a new message of the task, to be due `at`. */
  emit(record: LedgerRecord, at: number, reply: Reply): void {
    record.generation += 1;
    if (at > this.now) record.runAt = at;
    this.move(record, at > this.now ? 'delayed' : 'waiting');
    this.owe(record, reply);
  }

  /** Owes the broker the current message of the task. */
  owe(record: LedgerRecord, reply: Reply): void {
    if (record.owedSince > 0) this.owed.delete(record);
    record.owedSince = Math.max(1, this.now);
    this.owed.add(record);
    reply.tickets.push(this.ticket(record));
  }

  settleDebt(record: LedgerRecord): void {
    if (record.owedSince === 0) return;
    record.owedSince = 0;
    this.owed.delete(record);
  }

  ticket(record: LedgerRecord): Ticket {
    const { id, generation, queue, priority, blob, attempts, stalls, runAt = 0 } = record;
    const dueAt = record.state === 'delayed' && runAt > this.now ? runAt : 0;
    return { id, generation, queue, priority, dueAt, blob, attempts, stalls };
  }

  /** Puts a task where it belongs: behind its children, its time, its group, or to the broker. */
  place(record: LedgerRecord, reply: Reply): void {
    if (record.pendingChildren !== undefined && record.pendingChildren.length > 0)
      this.move(record, 'waiting', true);
    else if (record.runAt !== undefined && record.runAt > this.now) this.emit(record, record.runAt, reply);
    else if (record.group === undefined || record.admitted === true) this.emit(record, 0, reply);
    else if (this.enter(record)) this.emit(record, this.slot(record, this.now), reply);
  }

  /** Lets a task into its group; without room it waits there, and `false` comes back. */
  enter(record: LedgerRecord): boolean {
    const group = this.#group(record);
    if (group.admitted >= group.concurrency || this.#hasWaiting(group)) {
      group.waiting.push(record.id);
      this.move(record, 'waiting', true);
      return false;
    }
    group.admitted += 1;
    record.admitted = true;
    return true;
  }

  /** When a task that was let in may run, as far as its group's rate goes. */
  slot(record: LedgerRecord, earliest: number): number {
    const rate = record.group?.rate;
    if (rate === undefined) return earliest;
    const group = this.#group(record);
    const at = gcraSlot(rate, group.tat, earliest);
    group.tat = gcraTake(rate, group.tat, earliest, 1);
    return at;
  }

  /** The task holds its unique key from now on. */
  hold(rule: UniqueRule, id: string): void {
    const until = rule.forMs > 0 ? this.now + rule.forMs : 0;
    this.uniques.set(rule.key, { id, until, next: undefined, ended: false });
  }

  holder(key: string): UniqueHolder | undefined {
    const holder = this.uniques.get(key);
    if (holder === undefined || !holder.ended || holder.until > this.now) return holder;
    this.uniques.delete(key);
    return undefined;
  }

  /** A dead letter that comes back has its key again; `false` when another live task has it. */
  retakeKey(key: string, id: string): boolean {
    const known = this.uniques.get(key);
    const holder = known === undefined || known.id === id ? undefined : this.records.get(known.id);
    if (holder !== undefined && !hasEnded(holder)) return false;
    this.uniques.set(key, { id, until: known?.until ?? 0, next: undefined, ended: false });
    return true;
  }

  /** A task has come to its end, and with it all that waited for that. */
  end(record: LedgerRecord, end: TaskEnd, reply: Reply): void {
    const queue = this.queue(record.queue);
    this.settleDebt(record);
    this.move(record, end.state);
    setError(record, end.error);
    record.finishedAt = this.now;
    record.worker = undefined;
    if (end.state === 'dead') {
      queue.failedAttempts += 1;
      reply.graves.push(this.ticket(record));
    } else if (end.keepMs > 0 && this.retention.finished > 0) {
      record.expiresAt = this.now + end.keepMs;
      this.finished.add(record);
    } else this.records.delete(record.id);
    this.#release(record, reply);
    this.#trim(queue);
    if (queue.limits.concurrency !== undefined) this.events.woken(queue.name);
    this.events.finished(record.id);
  }

  drop(record: LedgerRecord): void {
    if (record.state === 'dead') this.litter(record);
    this.queue(record.queue).delete(record);
    this.settleDebt(record);
    this.finished.delete(record);
    if (this.records.get(record.id) === record) this.records.delete(record.id);
  }

  /** The message of a dead letter is of no use any more. */
  litter(record: LedgerRecord): void {
    this.queue(record.queue).litter.set(record.id, record.generation);
  }

  /** Drops what retention lets go. */
  sweep(): void {
    for (const record of this.finished) if ((record.expiresAt ?? 0) <= this.now) this.drop(record);
    for (const queue of this.queues.values()) {
      for (const record of queue.dead) {
        if ((record.finishedAt ?? this.now) + this.retention.deadAgeMs > this.now) break;
        this.drop(record);
      }
      for (const [worker, { until }] of queue.workers) if (until <= this.now) queue.workers.delete(worker);
    }
    this.#sweepGroups();
    for (const [key, holder] of this.uniques)
      if (holder.ended && holder.until <= this.now) this.uniques.delete(key);
  }

  #sweepGroups(): void {
    for (const [key, group] of this.groups)
      if (group.admitted === 0 && group.tat <= this.now && !this.#hasWaiting(group)) this.groups.delete(key);
  }

  #trim(queue: LedgerQueue): void {
    const { finished, dead } = this.retention;
    if (this.finished.size > finished) this.#dropOldest(this.finished, finished);
    if (queue.dead.size > dead) this.#dropOldest(queue.dead, dead);
  }

  #dropOldest(records: RecordList, leave: number): void {
    for (const record of records) {
      if (records.size <= leave) break;
      this.drop(record);
    }
  }

  #release(record: LedgerRecord, reply: Reply): void {
    if (record.unique !== undefined) this.#releaseKey(record.unique, record.id, reply);
    if (record.admitted === true) this.#leave(record, reply);
    if (record.parent === undefined) return;
    const parent = this.records.get(record.parent.id);
    if (parent?.pendingChildren?.includes(record.id) !== true) return;
    parent.pendingChildren = parent.pendingChildren.filter((id) => id !== record.id);
    if (record.result !== undefined)
      (parent.childResults ??= Object.create(null) as Record<string, string>)[record.id] = record.result;
    if (parent.state !== 'waiting' || !parent.held) return;
    if (record.state !== 'completed' && record.parent.onFailure === 'fail')
      this.end(parent, { state: 'dead', error: childFailure(record.id), keepMs: 0 }, reply);
    else if (parent.pendingChildren.length === 0) this.place(parent, reply);
  }

  #releaseKey(key: string, id: string, reply: Reply): void {
    const holder = this.uniques.get(key);
    if (holder === undefined) return;
    if (holder.id !== id) {
      if (holder.next === id) holder.next = undefined;
      return;
    }
    const next = holder.next === undefined ? undefined : this.records.get(holder.next);
    if (next !== undefined && next.held) {
      this.uniques.set(key, { id: next.id, until: 0, next: undefined, ended: false });
      this.place(next, reply);
    } else if (holder.until > this.now) holder.ended = true;
    else this.uniques.delete(key);
  }

  #leave(record: LedgerRecord, reply: Reply): void {
    record.admitted = false;
    const group = this.groups.get(groupKey(record));
    if (group === undefined) return;
    group.admitted -= 1;
    while (group.admitted < group.concurrency && this.#hasWaiting(group)) {
      const next = this.records.get(group.waiting.shift() ?? '');
      if (next === undefined) continue;
      group.admitted += 1;
      next.admitted = true;
      this.emit(next, this.slot(next, this.now), reply);
    }
  }

  /** Skips entries of tasks that were cancelled meanwhile. */
  #hasWaiting(group: LedgerGroup): boolean {
    while (group.waiting.length > 0) {
      const head = this.records.get(group.waiting[0] ?? '');
      if (head !== undefined && head.state === 'waiting' && head.held) return true;
      group.waiting.shift();
    }
    return false;
  }

  #group(record: LedgerRecord): LedgerGroup {
    const key = groupKey(record);
    const concurrency = record.group?.concurrency ?? 1;
    const known = this.groups.get(key);
    if (known !== undefined) {
      known.concurrency = concurrency;
      return known;
    }
    const made: LedgerGroup = { admitted: 0, tat: 0, concurrency, waiting: [] };
    this.groups.set(key, made);
    return made;
  }
}

/** Most tasks never have one, and are spared the place for it. */
function setError(record: LedgerRecord, error: string | undefined): void {
  if (record.error !== error) record.error = error;
}

function groupKey(record: LedgerRecord): string {
  return `${record.queue}\n${record.group?.key ?? ''}`;
}
