import type { PriorityIndex, QueueCounts, QueueLimits } from '../backend.ts';
import { gcraAllowance, gcraTake } from '../gcra.ts';
import type { LedgerRecord } from './ledger-record.ts';
import { RecordList } from './record-list.ts';

/** One queue of the ledger: its tasks by state, in the order they came into it, and what it may do. */
export class LedgerQueue {
  readonly name: string;
  readonly waiting: readonly [RecordList, RecordList, RecordList] = [
    new RecordList(),
    new RecordList(),
    new RecordList(),
  ];
  readonly delayed: RecordList = new RecordList();
  readonly held: RecordList = new RecordList();
  readonly active: RecordList = new RecordList();
  readonly dead: RecordList = new RecordList();
  /** Dead letters that were revived, purged or dropped, whose message the broker may still hold, with its generation. */
  readonly litter: Map<string, number> = new Map();
  readonly workers: Map<string, { slots: number; until: number }> = new Map();
  /** How often each of its lists had to be made again, and was filled from here. */
  readonly incarnations: [number, number, number] = [0, 0, 0];
  enqueued = 0;
  completed = 0;
  failedAttempts = 0;
  paused = false;
  limits: QueueLimits = {};
  tat = 0;

  constructor(name: string) {
    this.name = name;
  }

  add(record: LedgerRecord): void {
    this.#home(record)?.add(record);
  }

  delete(record: LedgerRecord): void {
    this.#home(record)?.delete(record);
  }

  get limited(): boolean {
    return this.limits.concurrency !== undefined || this.limits.rate !== undefined;
  }

  /**
   * How many more may start now, and when that changes by time alone. What starts `again`, because its worker was lost, has its
   * place already, but is one more start.
   */
  allowance(now: number, again = false): { allowed: number; nextMs: number | undefined } {
    const { concurrency, rate } = this.limits;
    const placed = again || concurrency === undefined;
    const room = placed ? Infinity : Math.max(0, concurrency - this.active.size);
    if (rate === undefined || room === 0) return { allowed: room, nextMs: undefined };
    const tokens = gcraAllowance(rate, this.tat, now);
    const nextMs = tokens.allowed === 0 ? tokens.nextMs : undefined;
    return { allowed: Math.min(room, tokens.allowed), nextMs };
  }

  /** One more has started. */
  took(now: number): void {
    const { rate } = this.limits;
    if (rate !== undefined) this.tat = gcraTake(rate, this.tat, now, 1);
  }

  counts(now: number): QueueCounts {
    const due = [0, 0, 0];
    for (const record of this.delayed) {
      if ((record.runAt ?? 0) <= now) due[record.priority] = (due[record.priority] ?? 0) + 1;
    }
    const waiting = (priority: PriorityIndex): number => this.waiting[priority].size + (due[priority] ?? 0);
    const live = [...this.workers.values()].filter(({ until }) => until > now);
    return {
      queue: this.name,
      waiting: [waiting(0), waiting(1), waiting(2)],
      grouped: this.held.size,
      delayed: this.delayed.size - due.reduce((sum, count) => sum + count, 0),
      active: this.active.size,
      dead: this.dead.size,
      completed: this.completed,
      failedAttempts: this.failedAttempts,
      enqueued: this.enqueued,
      oldestWaitingAt: this.#oldest(),
      paused: this.paused,
      workers: live.length,
      slots: live.reduce((sum, { slots }) => sum + slots, 0),
      now,
    };
  }

  #home(record: LedgerRecord): RecordList | undefined {
    switch (record.state) {
      case 'waiting':
        return record.held ? this.held : this.waiting[record.priority];
      case 'delayed':
        return this.delayed;
      case 'active':
        return this.active;
      case 'dead':
        return this.dead;
      default:
        return undefined;
    }
  }

  #oldest(): number | undefined {
    let oldest: number | undefined;
    for (const { first } of this.waiting) {
      if (first !== undefined && (oldest === undefined || first.enqueuedAt < oldest))
        oldest = first.enqueuedAt;
    }
    return oldest;
  }
}
