import type { NewTask } from '../backend.ts';
import { decodeEnvelope } from '../envelope.ts';
import type { Offer, Reply } from './ledger-commands.ts';
import { hasEnded, newRecord, type LedgerRecord } from './ledger-record.ts';
import type { LedgerTables } from './ledger-tables.ts';

const KEEP_CANCELLED = 3_600_000;
const CLOCK_TOLERANCE = 2;
const SUSPECT_FROM = 2;
const SUSPECT_AGAIN = 50;

/** Who offers, and where the answer goes. */
export interface OfferContext {
  readonly queue: string;
  readonly worker: string;
  readonly reply: Reply;
}

/**
 * Decides about a message that a worker has from the broker. A message runs unless the ledger knows better: that its task
 * has ended, that a newer message of it exists, or that it is a second copy of one that runs. A message it has never heard of
 * is believed, so that a ledger that lost its memory loses no task.
 */
export function offerTask(
  tables: LedgerTables,
  offer: Offer,
  { queue: name, worker, reply }: OfferContext,
): void {
  const { id } = offer;
  const known = tables.records.get(id);
  if (known !== undefined && isStale(known, offer, worker)) {
    reply.dropped.push(id);
    return;
  }
  if (known === undefined && offer.blob === undefined) {
    reply.unknown.push(id);
    return;
  }
  if (mustWait(tables, known, { queue: name, worker, reply }) || isSuspect(tables, known, worker, reply)) {
    reply.later.push(id);
    return;
  }
  const again = known?.state === 'active';
  const stalled = again && known.worker !== worker;
  const record = known ?? adopt(tables, offer, name);
  if (isOver(tables, record, offer, reply) || !letIn(tables, record, reply)) {
    reply.dropped.push(id);
    return;
  }
  if (stalled) {
    record.stalls += 1;
    reply.stalled.push(id);
    tables.events.superseded(id, record.token);
  }
  if (stalled || !again) tables.queue(name).took(tables.now);
  run(tables, record, worker, reply);
}

/** Paused, or over a limit; for a worker that only lost the reply it has started already. */
function mustWait(
  tables: LedgerTables,
  known: LedgerRecord | undefined,
  { queue: name, worker, reply }: OfferContext,
): boolean {
  const queue = tables.queue(name);
  if (tables.allPaused || queue.paused) return true;
  if (!queue.limited) return false;
  const again = known?.state === 'active';
  if (again && known.worker === worker) return false;
  const { allowed, nextMs } = queue.allowance(tables.now, again);
  if (allowed >= 1) return false;
  if (nextMs !== undefined) reply.nextMs = Math.min(reply.nextMs ?? Infinity, nextMs);
  return true;
}

/**
 * Of the tasks that lost their worker twice, a worker runs one at a time: the one that kills it every time then takes no
 * others with it among the dead letters.
 */
function isSuspect(
  tables: LedgerTables,
  known: LedgerRecord | undefined,
  worker: string,
  reply: Reply,
): boolean {
  if (known === undefined) return false;
  const stalled = known.state === 'active' && known.worker !== worker;
  if (known.stalls + (stalled ? 1 : 0) < SUSPECT_FROM) return false;
  for (const other of tables.queue(known.queue).active) {
    if (other === known || other.worker !== worker || other.stalls < SUSPECT_FROM) continue;
    reply.nextMs = Math.min(reply.nextMs ?? Infinity, SUSPECT_AGAIN);
    return true;
  }
  return false;
}

/** The broker has delivered it, but it is too early, or somebody wanted it cancelled while its last worker was lost. */
function isOver(tables: LedgerTables, record: LedgerRecord, offer: Offer, reply: Reply): boolean {
  const early = record.state === 'delayed' && (record.runAt ?? 0) > tables.now + CLOCK_TOLERANCE;
  if (early && offer.generation === record.generation) {
    // Clocks that disagree, or a delay longer than the tiers reach.
    tables.emit(record, record.runAt ?? 0, reply);
    return true;
  }
  record.generation = Math.max(record.generation, offer.generation);
  tables.settleDebt(record);
  if (record.cancelReason === undefined) return false;
  tables.end(record, { state: 'cancelled', error: record.cancelReason, keepMs: KEEP_CANCELLED }, reply);
  return true;
}

function run(tables: LedgerTables, record: LedgerRecord, worker: string, reply: Reply): void {
  tables.token += 1;
  tables.move(record, 'active');
  record.token = tables.token;
  record.worker = worker;
  record.startedAt = tables.now;
  const { id, token, blob, attempts, stalls } = record;
  reply.claims.push({ id, token, blob, attempts, stalls });
}

function isStale(record: LedgerRecord, offer: Offer, worker: string): boolean {
  if (hasEnded(record) || record.held || offer.generation < record.generation) return true;
  // The broker says of a message that comes again that it does; any other copy was published twice. A worker does not
  // offer what it runs: if it offers what it has, then it has lost the reply.
  const taken = record.state === 'active' && record.generation === offer.generation;
  return taken && !offer.redelivered && record.worker !== worker;
}

/** A task whose group has no room waits in the ledger, and gets a new message when it is its turn. */
function letIn(tables: LedgerTables, record: LedgerRecord, reply: Reply): boolean {
  if (record.group === undefined || record.admitted === true) return true;
  if (!tables.enter(record)) return false;
  const at = tables.slot(record, tables.now);
  if (at <= tables.now) return true;
  tables.emit(record, at, reply);
  return false;
}

function adopt(tables: LedgerTables, offer: Offer, queue: string): LedgerRecord {
  const blob = offer.blob ?? '';
  const task: NewTask = { id: offer.id, queue, priority: offer.priority, delayMs: 0, blob, ...links(blob) };
  const record = newRecord(task, tables.now);
  record.generation = offer.generation;
  record.attempts = offer.attempts;
  record.stalls = offer.stalls;
  tables.records.set(record.id, record);
  if (task.unique !== undefined && tables.holder(task.unique.key) === undefined)
    tables.hold(task.unique, record.id);
  return record;
}

function links(blob: string): Pick<NewTask, 'unique' | 'group' | 'parent'> {
  try {
    const { unique, group, parent } = decodeEnvelope(blob);
    return { unique, group, parent };
  } catch {
    // A text that cannot be read runs into its own end.
    return {};
  }
}
