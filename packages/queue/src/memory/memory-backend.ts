import type { Clock, HealthIndication } from '@xiaoke/core';
import type {
  Backend,
  EnqueueReply,
  NewTask,
  QueueCounts,
  QueueLimits,
  ScheduleFire,
  SchedulePut,
  SessionListener,
  StalledTask,
  StoredSchedule,
  StoredTask,
  TaskNote,
} from '../backend.ts';
import { MemorySession } from './memory-session.ts';
import { ScheduleBook } from './schedule-book.ts';
import { isLive, MemoryStore, type MemoryRetention } from './store.ts';
import { storedTask, type MemoryTask } from './task.ts';

/** What the memory backend needs. */
export interface MemoryBackendOptions {
  readonly clock: Clock;
  readonly retention: MemoryRetention;
  readonly maxLogLines: number;
}

const DEFAULT_KEEP = 3_600_000;

/** Tasks in this process's memory: the same behaviour as Redis, gone with the process. */
export class MemoryBackend implements Backend {
  readonly type = 'memory';
  readonly partitions = 1;
  readonly #store: MemoryStore;
  readonly #clock: Clock;
  readonly #maxLogLines: number;
  readonly #sessions = new Set<MemorySession>();
  readonly #schedules = new ScheduleBook();
  readonly #finishedListeners = new Set<(ids: readonly string[]) => void>();
  readonly #scheduleListeners = new Set<() => void>();

  constructor(options: MemoryBackendOptions) {
    this.#clock = options.clock;
    this.#maxLogLines = options.maxLogLines;
    this.#store = new MemoryStore(options.retention, {
      wake: (queue) => {
        for (const session of this.#sessions) session.wake(queue);
      },
      finished: (id) => {
        for (const listener of this.#finishedListeners) listener([id]);
      },
    });
  }

  now(): number {
    return this.#clock.now();
  }

  newId(id: string): string {
    return id;
  }

  async open(): Promise<void> {}

  async enqueue(tasks: readonly NewTask[]): Promise<readonly EnqueueReply[]> {
    const now = this.#clock.now();
    return tasks.map((task) => this.#store.enqueue(task, now));
  }

  session(
    _partition: number,
    slots: number,
    queues: readonly string[],
    listener: SessionListener,
  ): MemorySession {
    const session = new MemorySession({
      store: this.#store,
      clock: this.#clock,
      slots,
      queues,
      listener,
      closed: (closed) => this.#sessions.delete(closed),
    });
    this.#sessions.add(session);
    return session;
  }

  async recover(): Promise<readonly StalledTask[]> {
    return [];
  }

  async maintain(): Promise<void> {
    this.#store.sweep(this.#clock.now());
  }

  async cancel(id: string, reason: string): Promise<'cancelled' | 'requested' | 'none'> {
    const task = this.#store.tasks.get(id);
    if (task === undefined) return 'none';
    if (task.state === 'active') {
      task.cancelReason ??= JSON.stringify({
        name: 'QueueError',
        code: 'TASK_CANCELLED',
        message: reason,
        reason,
      });
      for (const session of this.#sessions) session.listener.onCancel(id, reason);
      return 'requested';
    }
    const error = JSON.stringify({ name: 'QueueError', code: 'TASK_CANCELLED', message: reason, reason });
    return this.#store.stop(task, error, DEFAULT_KEEP, this.#clock.now()) ? 'cancelled' : 'none';
  }

  async deadLetters(
    queue: string,
    limit: number,
    cursor: string | undefined,
  ): Promise<{ ids: readonly string[]; cursor: string | undefined }> {
    const start = cursor === undefined ? 0 : Number(cursor);
    const all = [...this.#store.queue(queue).dead].map((task) => task.id);
    const ids = all.slice(start, start + limit);
    return { ids, cursor: start + limit < all.length ? String(start + limit) : undefined };
  }

  async retryDead(ids: readonly string[]): Promise<number> {
    const now = this.#clock.now();
    return this.#existing(ids).filter((task) => this.#store.revive(task, now)).length;
  }

  async purgeDead(ids: readonly string[]): Promise<number> {
    const dead = this.#existing(ids).filter((task) => task.state === 'dead');
    for (const task of dead) this.#store.drop(task);
    return dead.length;
  }

  async setPaused(queue: string | undefined, paused: boolean): Promise<void> {
    if (queue === undefined) {
      this.#store.allPaused = paused;
      if (!paused) for (const state of this.#store.queues.values()) state.paused = false;
    } else this.#store.queue(queue).paused = paused;
    if (!paused) for (const name of this.#store.queues.keys()) this.#wake(name);
  }

  async setLimits(queue: string, limits: QueueLimits): Promise<void> {
    this.#store.queue(queue).limits = limits;
    this.#wake(queue);
  }

  async drain(queue: string, delayed: boolean): Promise<number> {
    const now = this.#clock.now();
    let drained = 0;
    for (const task of this.#store.tasks.values()) {
      if (task.queue !== queue || (task.state !== 'waiting' && !(delayed && task.state === 'delayed')))
        continue;
      const error = JSON.stringify({
        name: 'QueueError',
        code: 'TASK_CANCELLED',
        message: 'drained',
        reason: 'drained',
      });
      if (this.#store.stop(task, error, DEFAULT_KEEP, now)) drained += 1;
    }
    return drained;
  }

  async queues(): Promise<readonly string[]> {
    return [...this.#store.queues.keys()];
  }

  async counts(queues: readonly string[]): Promise<readonly QueueCounts[]> {
    const now = this.#clock.now();
    return queues.map((name) => {
      const queue = this.#store.queue(name);
      this.#store.promote(queue, now);
      const serving = [...this.#sessions].filter((session) => session.queues.includes(name));
      const slots = serving.reduce((sum, session) => sum + session.slots, 0);
      const counts = queue.counts(now);
      const paused = counts.paused || this.#store.allPaused;
      return { ...counts, paused, workers: serving.length, slots };
    });
  }

  async health(): Promise<HealthIndication> {
    return { status: 'healthy' };
  }

  async close(): Promise<void> {
    this.#sessions.clear();
  }

  async read(ids: readonly string[]): Promise<readonly (StoredTask | undefined)[]> {
    this.#store.expire(this.#clock.now());
    return ids.map((id) => {
      const task = this.#store.tasks.get(id);
      return task === undefined ? undefined : storedTask(task);
    });
  }

  async note(notes: readonly TaskNote[]): Promise<void> {
    for (const { id, token, progress, lines } of notes) {
      const task = this.#store.tasks.get(id);
      if (task?.state !== 'active' || task.token !== token) continue;
      task.progress = progress ?? task.progress;
      if (lines.length > 0 && this.#maxLogLines > 0)
        task.logs = [...(task.logs ?? []), ...lines].slice(-this.#maxLogLines);
    }
  }

  async childResults(id: string): Promise<ReadonlyMap<string, string>> {
    return this.#store.tasks.get(id)?.childResults ?? new Map();
  }

  onFinished(listener: (ids: readonly string[]) => void): () => void {
    this.#finishedListeners.add(listener);
    return () => this.#finishedListeners.delete(listener);
  }

  onScheduleChange(listener: () => void): () => void {
    this.#scheduleListeners.add(listener);
    return () => this.#scheduleListeners.delete(listener);
  }

  async putSchedule(put: SchedulePut): Promise<boolean> {
    const done = this.#schedules.put(put);
    if (done) for (const listener of this.#scheduleListeners) listener();
    return done;
  }

  async removeSchedule(id: string): Promise<boolean> {
    return this.#schedules.remove(id);
  }

  async listSchedules(): Promise<readonly StoredSchedule[]> {
    return this.#schedules.list();
  }

  async dueSchedules(
    limit: number,
  ): Promise<{ now: number; due: readonly StoredSchedule[]; nextMs: number | undefined }> {
    const now = this.#clock.now();
    return { now, ...this.#schedules.due(limit, now) };
  }

  async fireSchedule(fire: ScheduleFire): Promise<'fired' | 'skipped' | 'raced'> {
    const moved = this.#schedules.advance(fire.id, fire.expected, fire.next);
    if (moved === undefined) return 'raced';
    if (fire.overlap === 'skip' && moved.last !== undefined && this.#isLive(moved.last)) return 'skipped';
    const now = this.#clock.now();
    for (const task of fire.tasks) {
      const { id } = this.#store.enqueue(task, now);
      this.#schedules.setLast(fire.id, id);
    }
    return 'fired';
  }

  #isLive(id: string): boolean {
    const task = this.#store.tasks.get(id);
    return task !== undefined && isLive(task);
  }

  #wake(queue: string): void {
    for (const session of this.#sessions) session.wake(queue);
  }

  #existing(ids: readonly string[]): MemoryTask[] {
    return ids.flatMap((id) => this.#store.tasks.get(id) ?? []);
  }
}
