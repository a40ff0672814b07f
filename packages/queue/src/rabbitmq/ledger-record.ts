import type { Linked } from './record-list.ts';
import type { GroupRule, NewTask, ParentLink, PriorityIndex, StoredTask } from '../backend.ts';

/**
 * What the ledger knows of one task. Plain data, so that a snapshot is its JSON. Every process holds a record for each task, so
 * what few tasks have is absent from the others.
 */
export interface LedgerRecord extends Linked {
  readonly id: string;
  queue: string;
  priority: PriorityIndex;
  blob: string;
  state: StoredTask['state'];
  /** Waiting for its group, its children or the task whose unique key it wants: no message of it exists. */
  held: boolean;
  /** Counts its messages; only one of this generation may run. 0: none was made yet. */
  generation: number;
  /** Since when a message of this generation is owed to the broker; 0 when the broker has it. */
  owedSince: number;
  attempts: number;
  stalls: number;
  token: number;
  worker: string | undefined;
  readonly enqueuedAt: number;
  startedAt: number | undefined;
  finishedAt: number | undefined;
  expiresAt: number | undefined;
  result: string | undefined;
  runAt?: number | undefined;
  error?: string | undefined;
  progress?: string | undefined;
  logs?: string[] | undefined;
  unique?: string | undefined;
  group?: GroupRule | undefined;
  /** Whether it counts in its group. */
  admitted?: boolean;
  parent?: ParentLink | undefined;
  pendingChildren?: string[] | undefined;
  childResults?: Record<string, string> | undefined;
  cancelReason?: string | undefined;
}

/** A record of a task that was just enqueued. */
export function newRecord(task: NewTask, now: number): LedgerRecord {
  const record: LedgerRecord = {
    id: task.id,
    queue: task.queue,
    priority: task.priority,
    blob: task.blob,
    state: 'waiting',
    held: false,
    generation: 0,
    owedSince: 0,
    attempts: 0,
    stalls: 0,
    token: 0,
    worker: undefined,
    enqueuedAt: now,
    startedAt: undefined,
    finishedAt: undefined,
    expiresAt: undefined,
    result: undefined,
  };
  const runAt = task.runAt ?? (task.delayMs > 0 ? now + task.delayMs : undefined);
  if (runAt !== undefined) record.runAt = runAt;
  if (task.unique !== undefined) record.unique = task.unique.key;
  if (task.group !== undefined) record.group = task.group;
  if (task.parent !== undefined) record.parent = task.parent;
  if (task.children !== undefined) record.pendingChildren = [...task.children];
  return record;
}

/** Nobody says when a delayed message has arrived in its list; by then it surely has. */
const ON_ITS_WAY = 1_000;

/** The record as the status store shows it. */
export function storedRecord(record: LedgerRecord, now: number): StoredTask {
  const due = record.state === 'delayed' && (record.runAt ?? 0) + ON_ITS_WAY <= now;
  return {
    id: record.id,
    blob: record.blob,
    state: due ? 'waiting' : record.state,
    attempts: record.attempts,
    stalls: record.stalls,
    token: record.token === 0 ? undefined : record.token,
    worker: record.state === 'active' ? record.worker : undefined,
    runAt: record.runAt,
    startedAt: record.startedAt,
    finishedAt: record.finishedAt,
    result: record.result,
    error: record.error,
    progress: record.progress,
    logs: record.logs ?? [],
    pendingChildren: record.pendingChildren?.length ?? 0,
  };
}

/** Whether a task has come to its end. */
export function hasEnded(record: LedgerRecord): boolean {
  const { state } = record;
  return state === 'completed' || state === 'dead' || state === 'cancelled' || state === 'expired';
}
