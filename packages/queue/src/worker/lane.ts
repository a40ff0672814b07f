import { sleep, TransientMap, type Clock, type Logger, type Random } from '@xiaoke/core';
import type { Outcome, Session, Settlement, TurnReply } from '../backend.ts';
import { linksOf } from '../envelope.ts';
import { QueueError } from '../errors.ts';
import type { ActiveTask } from './active-task.ts';
import type { Quotas } from './quotas.ts';
import type { Runner } from './runner.ts';
import type { Slots, SlotTaker } from './slots.ts';

/** The most that one turn settles or takes. */
export const MAX_BATCH = 500;
// With fewer, what a turn costs by itself outweighs what two at once gain.
const MANY_SLOTS = 8;

/** What a lane needs of its pool. */
export interface LaneOptions {
  readonly queue: string;
  readonly session: Session;
  readonly slots: Slots;
  readonly quotas: Quotas;
  readonly runner: Runner;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The backend has the outcome. */
  readonly settled: (task: ActiveTask, outcome: Outcome) => void;
  /** Nothing is to be had; wake it when that may have changed. */
  idle(lane: Lane): void;
  readonly failed: (error: unknown) => void;
}

/** A turn under way, and the slots that it has reserved. */
interface Flight {
  readonly slots: number;
  lent: boolean;
}

/**
 * One queue as one pool sees it. While a turn flies, what finishes gathers for the next (group commit), and a slot is used
 * again only by the turn that commits its outcome, or later. Where the session allows two turns at once, each takes half of
 * the slots, so that this process and the backend work at the same time; a second one starts only when it is worth it.
 */
export class Lane implements SlotTaker {
  readonly queue: string;
  /** Everything claimed and not yet known to be settled. */
  readonly tasks: TransientMap<string, ActiveTask> = new TransientMap();
  /** When something may become claimable by time alone, on the monotonic clock. */
  nextAt: number = Infinity;
  readonly #options: LaneOptions;
  #finished: ActiveTask[] = [];
  readonly #flights = new Set<Flight>();
  #scheduled = false;
  #turning = 0;
  #mayHaveWork = true;
  #accepting = true;
  #closed = false;
  #failures = 0;

  constructor(options: LaneOptions) {
    this.queue = options.queue;
    this.#options = options;
  }

  /** Whether it waits to be woken. */
  get isIdle(): boolean {
    return this.#turning === 0 && !this.#scheduled && !this.#mayHaveWork && this.#accepting;
  }

  /** Whether it holds nothing, and no turn under way can bring it anything. */
  get isEmpty(): boolean {
    return this.tasks.size === 0 && this.#turning === 0;
  }

  /** There may be work. */
  wake(): void {
    this.#mayHaveWork = true;
    this.kick();
  }

  kick(): void {
    if (this.#closed || !this.#worthATurn()) return;
    if (this.#isComplete()) {
      void this.#run();
      return;
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#worthATurn()) void this.#run();
    });
  }

  /** Claims no more. */
  stopClaiming(): void {
    this.#accepting = false;
    this.#options.slots.leave(this);
  }

  /** The backend does not answer the turns under way: until it does, other lanes may use their slots. */
  lend(): void {
    // Who waits for such a turn cannot use a slot, and must not keep the others waiting.
    this.#options.slots.leave(this);
    for (const flight of this.#flights) {
      if (flight.lent) continue;
      flight.lent = true;
      this.#options.slots.release(flight.slots);
    }
  }

  /** Runs no more turns. */
  close(): void {
    this.#closed = true;
  }

  /** A claim that is no longer ours. */
  lose(id: string): void {
    const task = this.tasks.get(id);
    if (task === undefined) return;
    if (task.outcome === undefined) {
      task.stop('lost', new QueueError('LEASE_LOST', 'The claim of this task was lost', { details: { id } }));
      return;
    }
    // It was settled, and the backend no longer has the claim: either that settlement went through, or it came too late.
    const before = this.#finished.length;
    this.#finished = this.#finished.filter((other) => other !== task);
    if (this.#finished.length < before) this.#forget(task, 1);
    else this.tasks.delete(id);
  }

  async #run(): Promise<void> {
    if (this.#closed) return;
    const most = this.#most();
    const batch = this.#finished.splice(0, most);
    const want = this.#want(batch.length, most);
    if (batch.length > 0 || want > 0) {
      this.#turning += 1;
      // Another half may be waiting.
      if (this.#turning < this.#turnsAtOnce()) this.kick();
      await this.#turn(batch, want);
      this.#turning -= 1;
      // Not at once: the tasks that just started may be about to end, and travel together then.
      if (this.#finished.length > 0 || this.#mayHaveWork) this.kick();
    }
    if (this.isIdle && !this.#closed) this.#options.idle(this);
  }

  /** Whether all that the next turn can settle is there, so that nobody has to be waited for. */
  #isComplete(): boolean {
    return this.#finished.length > 0 && this.#finished.length >= Math.min(this.#most(), this.tasks.size);
  }

  #turnsAtOnce(): number {
    const { session, slots } = this.#options;
    return slots.total < MANY_SLOTS ? 1 : (session.turnsAtOnce ?? 1);
  }

  /** How many tasks one turn settles or takes. */
  #most(): number {
    const turns = this.#turnsAtOnce();
    return turns === 1 ? MAX_BATCH : Math.min(MAX_BATCH, Math.ceil(this.#options.slots.total / turns));
  }

  /** The first turn always is; another one beside it only with a good part of a batch, or the group commit were for nothing. */
  #worthATurn(): boolean {
    if (this.#turning === 0) return true;
    const turns = this.#turnsAtOnce();
    if (this.#turning >= turns) return false;
    const { slots } = this.#options;
    const ready = this.#finished.length + (this.#mayHaveWork && this.#accepting ? slots.free : 0);
    return ready >= slots.total / (2 * turns);
  }

  /** How many slots this turn can fill: those of the tasks it settles, and free ones. */
  #want(held: number, most: number): number {
    const { slots } = this.#options;
    if (!this.#accepting) return 0;
    const over = Math.max(0, slots.used - slots.total);
    if (slots.contended(this)) {
      if (this.#mayHaveWork) slots.take(this, 0);
      return 0;
    }
    if (!this.#mayHaveWork && held === 0) return 0;
    const extra = this.#mayHaveWork ? slots.take(this, most - held) : 0;
    return Math.max(0, held - over) + extra;
  }

  async #turn(batch: readonly ActiveTask[], want: number): Promise<void> {
    const { session, slots, quotas, clock } = this.#options;
    const held = batch.length;
    const extra = Math.max(0, want - held);
    const flight = { slots: held + extra, lent: false };
    this.#flights.add(flight);
    try {
      const reply = await session.turn(this.queue, {
        settlements: toSettlements(batch),
        want,
        quotas: quotas.next(want),
      });
      this.#land(flight);
      this.#failures = 0;
      const lost = new Set(reply.lost);
      for (const task of batch) {
        this.tasks.delete(task.id);
        if (task.outcome !== undefined && !lost.has(task.id)) this.#options.settled(task, task.outcome);
      }
      this.#note(reply, want);
      const left = flight.slots - reply.claims.length;
      this.#start(reply, flight.lent ? Math.max(0, slots.used - left - slots.total) : 0);
      slots.release(left);
      this.nextAt = reply.nextMs === undefined ? Infinity : clock.monotonic() + reply.nextMs;
    } catch (error) {
      this.#land(flight);
      slots.release(extra);
      await this.#recover(batch, error);
    }
  }

  #land(flight: Flight): void {
    this.#flights.delete(flight);
    if (flight.lent) this.#options.slots.retake(flight.slots);
  }

  #note(reply: TurnReply, want: number): void {
    if (want > 0) this.#mayHaveWork = reply.claims.length === want;
    // Who stood in line and found nothing left must not keep the others waiting.
    if (!this.#mayHaveWork) this.#options.slots.leave(this);
  }

  /** Starts what was claimed, but for `tooMany` at the end, which go back: their slots were lent and are in use. */
  #start(reply: TurnReply, tooMany: number): void {
    // Nobody would settle them: their claims lapse with the lease of this worker.
    if (this.#closed) return;
    const { runner } = this.#options;
    let room = reply.claims.length - tooMany;
    for (const claim of reply.claims) {
      const task = runner.open(claim, this.queue, reply.now);
      if (room <= 0) task.outcome ??= { kind: 'return' };
      room -= 1;
      this.tasks.set(claim.id, task);
      runner.start(task, this.#done);
    }
  }

  // A closure for each task would cost as much as the rest of starting it.
  readonly #done = (task: ActiveTask, outcome: Outcome | undefined): void => {
    if (outcome === undefined) {
      this.#forget(task, 1);
      return;
    }
    task.outcome = outcome;
    this.#finished.push(task);
    this.kick();
  };

  #forget(task: ActiveTask, slots: number): void {
    if (this.tasks.get(task.id) === task) this.tasks.delete(task.id);
    this.#options.slots.release(slots);
    this.kick();
  }

  /** What stands is sent again; what was lost meanwhile gives its slot back. */
  async #recover(batch: readonly ActiveTask[], error: unknown): Promise<void> {
    const { slots, clock, random } = this.#options;
    this.#failures += 1;
    this.#options.failed(error);
    const standing = batch.filter((task) => this.tasks.get(task.id) === task);
    slots.release(batch.length - standing.length);
    this.#finished = [...standing, ...this.#finished];
    const delay = Math.min(50 * 2 ** Math.min(this.#failures, 6), 2_000) * (0.5 + random() / 2);
    if (!this.#closed) await sleep(delay, { clock, ref: false });
    // Claims may lie at the backend that we never heard of.
    this.#mayHaveWork = true;
  }
}

function toSettlements(batch: readonly ActiveTask[]): Settlement[] {
  const settlements: Settlement[] = [];
  for (const { id, claim, envelope, outcome } of batch) {
    if (outcome === undefined) continue;
    settlements.push({
      id,
      token: claim.token,
      priority: envelope.priority,
      outcome,
      links: linksOf(envelope),
      repeated: claim.attempts + claim.stalls > 0,
    });
  }
  return settlements;
}
