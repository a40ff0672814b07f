import type { Background, Clock, Logger, Timer } from '@xiaoke/core';
import type { Backend, NewTask, StoredSchedule } from './backend.ts';
import type { EnvelopeExtras } from './envelope.ts';
import { planFires, type ScheduleDefinition } from './schedules.ts';
import type { TaskOptions } from './task-options.ts';

/** What a scheduler needs. */
export interface SchedulerOptions {
  readonly backend: Backend;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly background: Background;
  readonly prepare: (name: string, payload: unknown, options: TaskOptions, extras: EnvelopeExtras) => NewTask;
  /** The queue that tasks with these options go to. */
  readonly queueOf: (options: TaskOptions) => string;
  readonly fired: (id: string, lagSeconds: number) => void;
  failed(error: unknown): void;
}

// A change made elsewhere is noticed this late at most, should its announcement be lost.
const LONGEST_SLEEP = 5_000;
// The same while there is no schedule at all.
const SLEEP_WITHOUT = 15_000;
const BATCH = 100;

/**
 * Fires what is due. Every process with workers runs one; a compare-and-set on the schedule's next time decides which of
 * them fires, so there is no leader that could be missing.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #unsubscribe: () => void;
  #timer: Timer | undefined;
  #running = false;
  #again = false;
  #closed = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#unsubscribe = options.backend.onScheduleChange(() => this.kick());
    this.kick();
  }

  /** Looks now. */
  kick(): void {
    if (this.#closed) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    this.#options.background.run(() => this.#run(), 'fire schedules');
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#unsubscribe();
  }

  async #run(): Promise<void> {
    let sleep = LONGEST_SLEEP;
    try {
      do {
        this.#again = false;
        const { now, due, nextMs } = await this.#options.backend.dueSchedules(BATCH);
        for (const schedule of due) await this.#fire(schedule, now);
        sleep =
          due.length === BATCH ? 0 : nextMs === undefined ? SLEEP_WITHOUT : Math.min(nextMs, LONGEST_SLEEP);
        if (due.length > 0) this.#again = true;
      } while (this.#again && !this.#closed);
    } catch (error) {
      this.#options.failed(error);
    }
    this.#running = false;
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#options.clock.setTimeout(() => this.kick(), Math.max(1, sleep)).unref();
  }

  async #fire(stored: StoredSchedule, now: number): Promise<void> {
    const { backend, logger, fired, prepare, queueOf } = this.#options;
    const definition = JSON.parse(stored.definition) as ScheduleDefinition;
    const { fires, next } = planFires(definition, stored.nextAt, now);
    const { name, payload, options } = definition;
    const tasks = fires.map((at) =>
      // The id names the fire, so that even a fire that is repeated enqueues once.
      prepare(name, payload, { ...options, id: `${stored.id}@${at}` }, { schedule: stored.id }),
    );
    const outcome = await backend.fireSchedule({
      id: stored.id,
      definition: stored.definition,
      expected: stored.nextAt,
      next,
      tasks,
      queue: queueOf(options),
      overlap: definition.rule.overlap,
      home: stored.home,
    });
    if (outcome === 'fired' && tasks.length > 0) fired(stored.id, (now - stored.nextAt) / 1_000);
    else if (outcome === 'skipped')
      logger.info({ schedule: stored.id }, 'a fire was skipped: the last task is still live');
  }
}
