import { Background, type Clock, type Logger, type Random, type Timer } from '@xiaoke/core';
import type { Backend, Outcome, Session } from '../backend.ts';
import { QueueError } from '../errors.ts';
import { checkInteger } from '../task-options.ts';
import type { ActiveTask } from './active-task.ts';
import { Lane } from './lane.ts';
import { Quotas } from './quotas.ts';
import type { Runner } from './runner.ts';
import { Slots } from './slots.ts';

/** Workers that were started. */
export interface WorkerPool extends AsyncDisposable {
  readonly queues: readonly string[];
  /** How many tasks it runs at once. */
  readonly count: number;
  /** How many it runs now. */
  readonly active: number;
  /** Changes `count`; running tasks are not touched. @throws InvalidOptionError */
  resize(count: number): void;
  /** Stops claiming, finishes what runs up to `timeoutMs`, gives the rest back. Idempotent. */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/** What a pool needs. */
export interface PoolOptions {
  readonly backend: Backend;
  readonly queues: readonly string[];
  readonly count: number;
  readonly weights: readonly [number, number, number] | 'strict';
  readonly leaseMs: number;
  readonly runner: Runner;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settled: (task: ActiveTask, outcome: Outcome) => void;
  readonly failed: (error: unknown) => void;
  closed(pool: Pool): void;
}

// A wake-up that got lost costs this much at most.
const LONGEST_WAIT = 10_000;

interface Place {
  readonly session: Session;
  readonly lanes: ReadonlyMap<string, Lane>;
  waiting: boolean;
}

/** Slots, and a lane for every queue in every partition. */
export class Pool implements WorkerPool {
  readonly queues: readonly string[];
  readonly #options: PoolOptions;
  readonly #slots: Slots;
  readonly #places: readonly Place[];
  readonly #background: Background;
  readonly #heartbeat: Timer;
  #closing: Promise<void> | undefined;
  #stopped = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.queues = options.queues;
    this.#slots = new Slots(options.count);
    this.#background = new Background({ logger: options.logger, onError: (error) => options.failed(error) });
    const partitions = Array.from({ length: options.backend.partitions }, (_, index) => index);
    this.#places = partitions.map((partition) => this.#open(partition));
    this.#heartbeat = options.clock
      .setInterval(() => this.#beat(), Math.max(100, Math.min(5_000, options.leaseMs / 3)))
      .unref();
    for (const lane of this.#lanes()) lane.kick();
  }

  get count(): number {
    return this.#slots.total;
  }

  get active(): number {
    return this.#lanes().reduce((sum, lane) => sum + lane.tasks.size, 0);
  }

  resize(count: number): void {
    this.#slots.resize(checkSlots(count));
    for (const { session } of this.#places) session.resize(count);
  }

  /** Tells the task to stop, if this pool runs it. */
  cancel(id: string, reason: string): void {
    for (const lane of this.#lanes()) lane.tasks.get(id)?.stop('cancelled', cancelled(id, reason));
  }

  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? 30_000);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #open(partition: number): Place {
    const { backend, queues, runner, clock, random, logger, weights } = this.#options;
    const lanes = new Map<string, Lane>();
    const session = backend.session(partition, this.#options.count, queues, {
      onCancel: (id, reason) => {
        for (const lane of lanes.values()) lane.tasks.get(id)?.stop('cancelled', cancelled(id, reason));
      },
      onError: (error) => this.#options.failed(error),
      onDelay: (queue) => lanes.get(queue)?.lend(),
      onLost: (ids) => {
        for (const id of ids) for (const lane of lanes.values()) lane.lose(id);
      },
      held: () =>
        [...lanes.values()].flatMap((lane) =>
          [...lane.tasks.values()].map((task) => ({
            queue: lane.queue,
            id: task.id,
            token: task.claim.token,
          })),
        ),
    });
    const place: Place = { session, lanes, waiting: false };
    for (const queue of queues) {
      lanes.set(
        queue,
        new Lane({
          queue,
          session,
          slots: this.#slots,
          quotas: new Quotas(weights),
          runner,
          clock,
          random,
          logger,
          settled: this.#options.settled,
          failed: this.#options.failed,
          idle: () => this.#idle(place),
        }),
      );
    }
    return place;
  }

  #lanes(): Lane[] {
    return this.#places.flatMap((place) => [...place.lanes.values()]);
  }

  /** One wait per place serves all its idle lanes. */
  #idle(place: Place): void {
    if (place.waiting) {
      // The wait in progress may not cover this lane, or lasts past its next due task.
      place.session.interrupt();
      return;
    }
    if (this.#stopped) return;
    place.waiting = true;
    this.#background.run(() => this.#wait(place), 'wait for work');
  }

  async #wait(place: Place): Promise<void> {
    try {
      const idle = [...place.lanes.values()].filter((lane) => lane.isIdle);
      if (idle.length === 0) return;
      const nextAt = Math.min(...idle.map((lane) => lane.nextAt));
      const timeout = Math.min(
        LONGEST_WAIT,
        Math.max(1, Math.ceil(nextAt - this.#options.clock.monotonic())),
      );
      const woken = await place.session.wait(
        idle.map((lane) => lane.queue),
        timeout,
      );
      if (this.#stopped) return;
      for (const queue of woken) {
        if (this.#slots.free === 0) place.session.passOn(queue);
        place.lanes.get(queue)?.wake();
      }
    } finally {
      place.waiting = false;
    }
    if ([...place.lanes.values()].some((lane) => lane.isIdle)) this.#idle(place);
  }

  #beat(): void {
    for (const { session } of this.#places) this.#background.run(() => session.beat(), 'renew the lease');
  }

  async #close(timeoutMs: number): Promise<void> {
    const { clock, runner } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    this.#stopped = true;
    for (const lane of this.#lanes()) lane.stopClaiming();
    for (const { session } of this.#places) session.interrupt();
    runner.flush();
    // Part of the time is kept for telling the backend what is given back.
    await this.#emptied(Math.max(0, timeoutMs * 0.9 - 50));
    if (this.active > 0) {
      for (const lane of this.#lanes()) {
        for (const task of lane.tasks.values())
          task.stop('closing', new QueueError('WORKER_CLOSING', 'The worker pool is closing'));
      }
      await this.#emptied(Math.min(50, Math.max(0, deadline - clock.monotonic()) / 4));
      for (const lane of this.#lanes()) runner.abandon([...lane.tasks.values()]);
      await this.#emptied(Math.max(0, deadline - clock.monotonic()) / 2);
    }
    for (const lane of this.#lanes()) lane.close();
    this.#heartbeat.cancel();
    const left = Math.max(10, deadline - clock.monotonic());
    await Promise.all(this.#places.map(({ session }) => session.close(left)));
    this.#options.closed(this);
  }

  async #emptied(timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    // A turn that is under way may still bring tasks.
    const isEmpty = (): boolean => this.#lanes().every((lane) => lane.isEmpty);
    if (isEmpty()) return;
    await new Promise<void>((resolve) => {
      const poll = clock.setInterval(() => {
        if (isEmpty()) finish();
      }, 5);
      const timer = clock.setTimeout(() => finish(), timeoutMs);
      const finish = (): void => {
        poll.cancel();
        timer.cancel();
        resolve();
      };
    });
  }
}

/** Checks a number of slots. @throws InvalidOptionError */
export function checkSlots(count: number): number {
  return checkInteger(count, 'count', 1, 100_000);
}

function cancelled(id: string, reason: string): QueueError {
  return new QueueError('TASK_CANCELLED', reason, { details: { id, reason } });
}
