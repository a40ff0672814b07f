import type { QueueCounts } from './backend.ts';

/** One queue as the backend sees it. */
export interface QueueInfo {
  readonly queue: string;
  readonly paused: boolean;
  readonly states: {
    /** Ready, and held back by groups, children or unique keys. */
    readonly waiting: number;
    readonly delayed: number;
    readonly active: number;
    readonly dead: number;
  };
  /** Tasks ready to be claimed, by priority. */
  readonly priorities: { readonly high: number; readonly normal: number; readonly low: number };
  /** Tasks that their group, children or unique key hold back; part of `waiting`. */
  readonly held: number;
  readonly oldestWaitingAgeSeconds: number | undefined;
  /** Since the queue was made. */
  readonly totals: { readonly enqueued: number; readonly completed: number; readonly failedAttempts: number };
  /** Per second, since this manager's last look at the queue; `undefined` at the first. */
  readonly rates: { readonly enqueuedPerSecond: number; readonly completedPerSecond: number } | undefined;
  readonly workers: number;
  readonly slots: number;
  /** Slots that would keep up and clear the backlog within a minute, as far as the rates tell. */
  readonly desiredWorkers: number;
}

interface Look {
  readonly at: number;
  readonly enqueued: number;
  readonly completed: number;
}

const CLEAR_WITHIN_SECONDS = 60;

/** Turns counts into information: adds up partitions, and compares with the last look. */
export class Inspector {
  readonly #looks = new Map<string, Look>();

  info(counts: readonly QueueCounts[]): QueueInfo[] {
    const byQueue = new Map<string, QueueCounts>();
    for (const count of counts) {
      const sum = byQueue.get(count.queue);
      byQueue.set(count.queue, sum === undefined ? count : add(sum, count));
    }
    return [...byQueue.values()].map((count) => this.#info(count));
  }

  #info(counts: QueueCounts): QueueInfo {
    const [high, normal, low] = counts.waiting;
    const waiting = high + normal + low + counts.grouped;
    const rates = this.#rates(counts);
    const age =
      counts.oldestWaitingAt === undefined
        ? undefined
        : Math.max(0, counts.now - counts.oldestWaitingAt) / 1_000;
    return {
      queue: counts.queue,
      paused: counts.paused,
      states: { waiting, delayed: counts.delayed, active: counts.active, dead: counts.dead },
      priorities: { high, normal, low },
      held: counts.grouped,
      oldestWaitingAgeSeconds: age,
      totals: {
        enqueued: counts.enqueued,
        completed: counts.completed,
        failedAttempts: counts.failedAttempts,
      },
      rates,
      workers: counts.workers,
      slots: counts.slots,
      desiredWorkers: desired(counts, waiting, rates),
    };
  }

  #rates(counts: QueueCounts): QueueInfo['rates'] {
    const last = this.#looks.get(counts.queue);
    const { now, enqueued, completed } = counts;
    if (last === undefined || now - last.at >= 1_000)
      this.#looks.set(counts.queue, { at: now, enqueued, completed });
    if (last === undefined || now <= last.at) return undefined;
    const seconds = (now - last.at) / 1_000;
    return {
      enqueuedPerSecond: Math.max(0, enqueued - last.enqueued) / seconds,
      completedPerSecond: Math.max(0, completed - last.completed) / seconds,
    };
  }
}

/** Little's law: slots busy now give the completed rate; scale them to arrivals plus the backlog's share. */
function desired(counts: QueueCounts, waiting: number, rates: QueueInfo['rates']): number {
  if (waiting === 0) return counts.active;
  const perSlot = rates === undefined || counts.active === 0 ? 0 : rates.completedPerSecond / counts.active;
  if (rates === undefined || perSlot === 0) return Math.max(1, counts.slots, counts.active);
  return Math.max(1, Math.ceil((rates.enqueuedPerSecond + waiting / CLEAR_WITHIN_SECONDS) / perSlot));
}

function add(a: QueueCounts, b: QueueCounts): QueueCounts {
  const oldest = [a.oldestWaitingAt, b.oldestWaitingAt].filter((time) => time !== undefined);
  return {
    queue: a.queue,
    waiting: [a.waiting[0] + b.waiting[0], a.waiting[1] + b.waiting[1], a.waiting[2] + b.waiting[2]],
    grouped: a.grouped + b.grouped,
    delayed: a.delayed + b.delayed,
    active: a.active + b.active,
    dead: a.dead + b.dead,
    completed: a.completed + b.completed,
    failedAttempts: a.failedAttempts + b.failedAttempts,
    enqueued: a.enqueued + b.enqueued,
    oldestWaitingAt: oldest.length === 0 ? undefined : Math.min(...oldest),
    paused: a.paused || b.paused,
    // A pool has a place in every partition.
    workers: Math.max(a.workers, b.workers),
    slots: Math.max(a.slots, b.slots),
    now: Math.max(a.now, b.now),
  };
}
