import type { QueueLimits, StoredSchedule } from '../backend.ts';
import type { LedgerRecord } from './ledger-record.ts';
import type { LedgerGroup, UniqueHolder } from './ledger-tables.ts';
import type { Ledger } from './ledger.ts';

type Author = readonly [author: string, seq: number, at: number];

interface Saved {
  readonly version: 1;
  readonly now: number;
  readonly token: number;
  readonly allPaused: boolean;
  readonly authors: readonly Author[];
  readonly records: readonly LedgerRecord[];
  readonly owed: readonly string[];
  readonly finished: readonly string[];
  readonly queues: readonly SavedQueue[];
  readonly groups: readonly (readonly [string, LedgerGroup])[];
  readonly uniques: readonly (readonly [string, UniqueHolder])[];
  readonly schedules: readonly (StoredSchedule & { lastTask?: string | undefined })[];
}

interface SavedQueue {
  readonly name: string;
  readonly incarnations: readonly [number, number, number];
  readonly enqueued: number;
  readonly completed: number;
  readonly failedAttempts: number;
  readonly paused: boolean;
  readonly limits: QueueLimits;
  readonly tat: number;
  readonly litter: readonly (readonly [string, number])[];
  readonly workers: readonly (readonly [string, { slots: number; until: number }])[];
}

/** The whole ledger as a text. */
export function saveLedger({ tables }: Ledger, authors: readonly Author[]): string {
  const queues = [...tables.queues.values()];
  const saved: Saved = {
    version: 1,
    now: tables.now,
    token: tables.token,
    allPaused: tables.allPaused,
    authors,
    // In the order of their queues' sets, so that the copy iterates as the original does.
    records: [
      ...queues.flatMap((queue) => [
        ...queue.waiting.flatMap((list) => [...list]),
        ...queue.delayed,
        ...queue.held,
        ...queue.active,
        ...queue.dead,
      ]),
      ...tables.finished,
    ],
    owed: [...tables.owed].map(({ id }) => id),
    finished: [...tables.finished].map(({ id }) => id),
    queues: queues.map((queue) => ({
      name: queue.name,
      incarnations: queue.incarnations,
      enqueued: queue.enqueued,
      completed: queue.completed,
      failedAttempts: queue.failedAttempts,
      paused: queue.paused,
      limits: queue.limits,
      tat: queue.tat,
      litter: [...queue.litter],
      workers: [...queue.workers],
    })),
    groups: [...tables.groups],
    uniques: [...tables.uniques],
    schedules: [...tables.schedules.values()],
  };
  return JSON.stringify(saved);
}

/** Makes the ledger what the text says, and returns who has said what. */
export function loadLedger({ tables }: Ledger, text: string): readonly Author[] {
  const saved = JSON.parse(text) as Saved;
  for (const table of [tables.records, tables.queues, tables.groups, tables.uniques, tables.schedules])
    table.clear();
  tables.owed.clear();
  tables.finished.clear();
  tables.now = Math.max(tables.now, saved.now);
  tables.token = saved.token;
  tables.allPaused = saved.allPaused;
  for (const { name, incarnations, workers, litter, ...rest } of saved.queues) {
    const queue = Object.assign(tables.queue(name), rest);
    incarnations.forEach((count, index) => (queue.incarnations[index as 0 | 1 | 2] = count));
    for (const [id, generation] of litter) queue.litter.set(id, generation);
    for (const [worker, slots] of workers) queue.workers.set(worker, slots);
  }
  for (const record of saved.records) {
    tables.records.set(record.id, record);
    tables.queue(record.queue).add(record);
  }
  for (const id of saved.owed) addById(tables.owed, tables.records, id);
  for (const id of saved.finished) addById(tables.finished, tables.records, id);
  for (const [key, group] of saved.groups) tables.groups.set(key, group);
  for (const [key, holder] of saved.uniques) tables.uniques.set(key, holder);
  for (const schedule of saved.schedules) tables.schedules.set(schedule.id, schedule);
  return saved.authors;
}

function addById(
  list: { add(record: LedgerRecord): unknown },
  records: ReadonlyMap<string, LedgerRecord>,
  id: string,
): void {
  const record = records.get(id);
  if (record !== undefined) list.add(record);
}
