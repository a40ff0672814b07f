import { noopMetrics, type BoundHistogram, type MetricsSink } from '@xiaoke/core';
import type { LostReason } from './errors.ts';
import type { HeldType } from './lock-type.ts';

/** How an acquisition ended. */
export type AcquireOutcome = 'acquired' | 'timeout' | 'aborted' | 'deadlock' | 'error';

/** The end of an acquisition. */
export interface AcquireEnd {
  readonly outcome: AcquireOutcome;
  readonly waitedMs: number;
  /** Whether somebody else had it. */
  readonly waited: boolean;
}

/** What else is counted. */
export type LockEvent = 'local-handover' | 'reentry' | 'busy';

/** A distribution of times: how many were at most `upToMs`, not counting the smaller buckets. */
export interface HistogramBucket {
  readonly upToMs: number;
  readonly count: number;
}

/** What this process saw since the manager was made. */
export interface LockStats {
  readonly acquired: number;
  /** How many of `acquired` had to wait for somebody. */
  readonly waited: number;
  readonly timedOut: number;
  readonly aborted: number;
  readonly failed: number;
  /** Tries that found it busy. */
  readonly busy: number;
  readonly deadlocks: number;
  /** Locks that ended while they were in use. */
  readonly lost: number;
  readonly lostBy: Readonly<Record<LostReason, number>>;
  readonly released: number;
  readonly reentries: number;
  /** Turns that were passed on inside this process, without a round trip. */
  readonly localHandovers: number;
  readonly renewals: number;
  readonly renewalFailures: number;
  /** How many are held, and waited for, now. */
  readonly held: number;
  readonly waiting: number;
  readonly waitMs: readonly HistogramBucket[];
  readonly holdMs: readonly HistogramBucket[];
}

const BOUNDS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, Infinity];
const SECONDS = BOUNDS.slice(0, -1).map((bound) => bound / 1_000);
const OUTCOMES = ['acquired', 'timeout', 'aborted', 'deadlock', 'error'] as const;
const MODES = ['exclusive', 'shared', 'reentrant', 'permits'] as const;

class Histogram {
  readonly #counts = BOUNDS.map(() => 0);

  observe(value: number): void {
    let index = 0;
    while (value > (BOUNDS[index] ?? Infinity)) index += 1;
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  read(): readonly HistogramBucket[] {
    return BOUNDS.map((upToMs, index) => ({ upToMs, count: this.#counts[index] ?? 0 }));
  }
}

/** Counts, for {@link LockStats} and for the metrics sink; both are bounded. */
export class LockStatistics {
  readonly #counts = {
    acquired: 0,
    waited: 0,
    timedOut: 0,
    aborted: 0,
    failed: 0,
    deadlocks: 0,
    released: 0,
  };
  readonly #events: Record<LockEvent, number> = { 'local-handover': 0, reentry: 0, busy: 0 };
  readonly #lost: Record<LostReason, number> = {
    expired: 0,
    connection: 0,
    'max-hold': 0,
    stolen: 0,
    forced: 0,
    released: 0,
  };
  readonly #renewals = { ok: 0, error: 0 };
  readonly #waitMs = new Histogram();
  readonly #holdMs = new Histogram();
  /** Absent when nobody collects: labels are not looked up for nothing. */
  readonly #metrics: ReturnType<typeof defineMetrics> | undefined;
  readonly #bound = new Map<string, BoundHistogram>();
  #held = 0;
  #waiting = 0;

  constructor(sink: MetricsSink) {
    this.#metrics = sink === noopMetrics ? undefined : defineMetrics(sink);
  }

  count(event: LockEvent, label?: string): void {
    this.#events[event] += 1;
    if (event === 'reentry' && label !== undefined) this.#metrics?.reentries.inc({ lock: label });
  }

  waiting(label: string, mode: HeldType, change: 1 | -1): void {
    this.#waiting += change;
    this.#gauge('waiters', label, mode, change);
  }

  ended(label: string, mode: HeldType, { outcome, waitedMs, waited }: AcquireEnd): void {
    this.#countOutcome(outcome, waited);
    if (outcome === 'acquired') {
      this.#waitMs.observe(waitedMs);
      this.#held += 1;
      this.#gauge('held', label, mode, 1);
    }
    this.#observe('acquire', label, mode, outcome)?.observe(waitedMs / 1_000);
    if (outcome === 'deadlock') this.#metrics?.deadlocks.inc({ lock: label });
  }

  /** An upgrade or a downgrade. */
  converted(label: string, from: HeldType, to: HeldType): void {
    this.#gauge('held', label, from, -1);
    this.#gauge('held', label, to, 1);
  }

  over(label: string, mode: HeldType, heldMs: number, reason: LostReason): void {
    this.#held -= 1;
    this.#gauge('held', label, mode, -1);
    this.#holdMs.observe(heldMs);
    this.#observe('hold', label, mode, 'acquired')?.observe(heldMs / 1_000);
    if (reason === 'released') {
      this.#counts.released += 1;
      return;
    }
    this.#lost[reason] += 1;
    const cause =
      reason === 'connection' ? reason : reason === 'stolen' || reason === 'forced' ? 'fenced' : 'expired';
    this.#metrics?.lost.inc({ lock: label, reason: cause });
  }

  renewed(label: string, outcome: 'ok' | 'error'): void {
    this.#renewals[outcome] += 1;
    this.#metrics?.extensions.inc({ lock: label, outcome });
  }

  read(): LockStats {
    return {
      ...this.#counts,
      busy: this.#events.busy,
      reentries: this.#events.reentry,
      localHandovers: this.#events['local-handover'],
      lost: Object.values(this.#lost).reduce((sum, count) => sum + count, 0),
      lostBy: { ...this.#lost },
      renewals: this.#renewals.ok,
      renewalFailures: this.#renewals.error,
      held: this.#held,
      waiting: this.#waiting,
      waitMs: this.#waitMs.read(),
      holdMs: this.#holdMs.read(),
    };
  }

  #countOutcome(outcome: AcquireOutcome, waited: boolean): void {
    if (outcome === 'acquired') {
      this.#counts.acquired += 1;
      if (waited) this.#counts.waited += 1;
    } else if (outcome === 'timeout') this.#counts.timedOut += 1;
    else if (outcome === 'aborted') this.#counts.aborted += 1;
    else if (outcome === 'deadlock') this.#counts.deadlocks += 1;
    else this.#counts.failed += 1;
  }

  #gauge(what: 'held' | 'waiters', lock: string, mode: HeldType, change: 1 | -1): void {
    if (change > 0) this.#metrics?.[what].inc({ lock, mode });
    else this.#metrics?.[what].dec({ lock, mode });
  }

  /** Bound once per series: an acquisition must not look up its labels. */
  #observe(
    what: 'acquire' | 'hold',
    lock: string,
    mode: HeldType,
    outcome: AcquireOutcome,
  ): BoundHistogram | undefined {
    if (this.#metrics === undefined) return undefined;
    const id = `${what} ${mode} ${outcome} ${lock}`;
    let bound = this.#bound.get(id);
    if (bound === undefined) {
      const { acquire, hold, lost, deadlocks } = this.#metrics;
      // A rate sees the first loss only of a series that stood at zero before.
      for (const reason of LOST_LABELS) lost.inc({ lock, reason }, 0);
      deadlocks.inc({ lock }, 0);
      bound = what === 'acquire' ? acquire.with({ lock, mode, outcome }) : hold.with({ lock, mode });
      if (this.#bound.size < 1_000) this.#bound.set(id, bound);
    }
    return bound;
  }
}

const LOST_LABELS = ['expired', 'fenced', 'connection'] as const;

function defineMetrics(sink: MetricsSink) {
  const labels = { lock: String, mode: MODES } as const;
  const lock = { lock: String } as const;
  return {
    acquire: sink.histogram({
      name: 'xiaoke_lock_acquire_seconds',
      help: 'Time from asking for a lock to having it, or to giving up.',
      labels: { ...labels, outcome: OUTCOMES },
      buckets: SECONDS,
    }),
    hold: sink.histogram({
      name: 'xiaoke_lock_hold_seconds',
      help: 'Time for which locks were held.',
      labels,
      buckets: SECONDS,
    }),
    held: sink.gauge({ name: 'xiaoke_lock_held', help: 'Locks held now.', labels }),
    waiters: sink.gauge({ name: 'xiaoke_lock_waiters', help: 'Acquisitions that wait now.', labels }),
    extensions: sink.counter({
      name: 'xiaoke_lock_extensions_total',
      help: 'Lease extensions.',
      labels: { ...lock, outcome: ['ok', 'error'] },
    }),
    lost: sink.counter({
      name: 'xiaoke_lock_lost_total',
      help: 'Locks that were lost while in use.',
      labels: { ...lock, reason: LOST_LABELS },
    }),
    deadlocks: sink.counter({
      name: 'xiaoke_lock_deadlocks_total',
      help: 'Acquisitions that gave way to end a deadlock.',
      labels: lock,
    }),
    reentries: sink.counter({
      name: 'xiaoke_lock_reentries_total',
      help: 'Locks entered again by their own holder.',
      labels: lock,
    }),
  } as const;
}
