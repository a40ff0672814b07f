import { processOf, type HolderRecord, type ResourceRecord, type WaiterRecord } from './backend.ts';
import type { LockEngine } from './engine.ts';
import { LockType, type HeldType } from './lock-type.ts';

/** Who holds a key. */
export interface HolderInfo {
  /** What the holder calls itself, or its process. */
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly type: HeldType;
  readonly fencingToken: number;
  readonly ageMs: number;
  /** When it ends unless it is extended. */
  readonly expiresInMs: number;
  /** How many permits, of a semaphore. */
  readonly permits: number;
}

/** Who waits for a key. */
export interface WaiterInfo {
  /** 1 is next. */
  readonly position: number;
  readonly owner: string;
  readonly host: string;
  readonly pid: number;
  readonly type: HeldType | 'upgrade';
  readonly priority: number;
  readonly waitedMs: number;
}

/** One key with all who hold it and wait for it. */
export interface LockInspection {
  readonly key: string;
  readonly kind: 'lock' | 'semaphore';
  readonly holders: readonly HolderInfo[];
  readonly waiters: readonly WaiterInfo[];
}

/** What the backend knows, with the waits of this process that stand behind the one it has sent. */
export function describeRecord(engine: LockEngine, record: ResourceRecord): LockInspection {
  const waiters = record.waiters.flatMap((waiter) => [
    describeWaiter(waiter),
    ...followers(engine, record, waiter),
  ]);
  const locals = withoutLeader(engine, record);
  return {
    key: record.resource.key,
    kind: record.resource.kind,
    holders: record.holders.map((holder) => describeHolder(engine, record, holder)),
    waiters: [...waiters, ...locals].map((waiter, index) => ({ ...waiter, position: index + 1 })),
  };
}

function describeHolder(engine: LockEngine, record: ResourceRecord, holder: HolderRecord): HolderInfo {
  const hold = engine.holds.get(holder.holdId);
  const turn = engine.findQueue(record.resource)?.turn;
  return {
    ...originOf(holder.holdId, holder.owner),
    type: holder.mode,
    fencingToken: turn !== undefined && turn.hold === hold ? turn.token : holder.token,
    ageMs: Math.max(0, Math.round(holder.ageMs)),
    expiresInMs: Math.max(0, Math.round(holder.expiresInMs)),
    permits: holder.permits,
  };
}

function describeWaiter(waiter: WaiterRecord): WaiterInfo {
  return {
    ...originOf(waiter.holdId, waiter.owner),
    position: 0,
    type: waiter.mode,
    priority: waiter.priority,
    waitedMs: Math.max(0, Math.round(waiter.waitedMs)),
  };
}

/** Those behind the one that stands in the backend's queue for all of this process. */
function followers(engine: LockEngine, record: ResourceRecord, leader: WaiterRecord): WaiterInfo[] {
  const place = engine.findQueue(record.resource)?.place;
  return place?.holdId === leader.holdId ? localWaiters(engine, record).slice(1) : [];
}

/** Those that wait for a turn on a hold that this process has, so that none of them stands in the backend's queue. */
function withoutLeader(engine: LockEngine, record: ResourceRecord): WaiterInfo[] {
  const place = engine.findQueue(record.resource)?.place;
  return place !== undefined && place.holdId === undefined ? localWaiters(engine, record) : [];
}

function localWaiters(engine: LockEngine, record: ResourceRecord): WaiterInfo[] {
  const waiting = engine.findQueue(record.resource)?.place.waiting ?? [];
  return [...waiting].map(({ attempt }) => ({
    ...originOf(attempt.id, attempt.config.owner),
    position: 0,
    type: LockType.EXCLUSIVE,
    priority: attempt.config.priority,
    waitedMs: Math.max(0, Math.round(engine.clock.now() - attempt.since)),
  }));
}

function originOf(id: string, owner: string): { owner: string; host: string; pid: number } {
  const process = processOf(id);
  const [host = '', pid = '0'] = process.split('~');
  return { owner: owner === '' ? process : owner, host, pid: Number(pid) };
}
