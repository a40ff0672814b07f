import type { Background, Clock, Timer } from '@xiaoke/core';
import type { StatusStore, TaskNote } from '../backend.ts';
import { QueueError } from '../errors.ts';
import type { ActiveTask } from './active-task.ts';

const EVERY = 50;
const MAX_LINE = 4_000;
const MAX_PENDING_LINES = 1_000;

interface Pending {
  readonly task: ActiveTask;
  progress: string | undefined;
  lines: string[];
}

/** Gathers progress and log lines of all running tasks and writes them together, at most every 50 ms. */
export class Notes {
  readonly #store: StatusStore;
  readonly #clock: Clock;
  readonly #background: Background;
  #pending = new Map<ActiveTask, Pending>();
  #timer: Timer | undefined;
  #writing: { readonly tasks: ReadonlySet<ActiveTask>; readonly done: Promise<void> } | undefined;

  constructor(store: StatusStore, clock: Clock, background: Background) {
    this.#store = store;
    this.#clock = clock;
    this.#background = background;
  }

  progress(task: ActiveTask, value: unknown): void {
    const text = JSON.stringify(value);
    if (text === undefined) throw new QueueError('PAYLOAD_NOT_SERIALIZABLE', 'Progress must be JSON');
    this.#of(task).progress = text;
  }

  line(task: ActiveTask, line: string): void {
    const { lines } = this.#of(task);
    lines.push(line.slice(0, MAX_LINE));
    if (lines.length > MAX_PENDING_LINES) lines.shift();
  }

  /** Resolves once what the task has said is written; `undefined` when there is nothing to wait for. */
  written(task: ActiveTask): Promise<void> | undefined {
    if (this.#pending.has(task)) return this.flush();
    return this.#writing?.tasks.has(task) === true ? this.#writing.done : undefined;
  }

  /** Writes what is pending now. */
  async flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#pending.size === 0) return;
    const notes: TaskNote[] = [...this.#pending.values()].map(({ task, progress, lines }) => ({
      id: task.id,
      queue: task.queue,
      token: task.fencingToken,
      progress,
      lines,
    }));
    const writing = { tasks: new Set(this.#pending.keys()), done: this.#store.note(notes) };
    this.#pending = new Map();
    this.#writing = writing;
    try {
      await writing.done;
    } finally {
      if (this.#writing === writing) this.#writing = undefined;
    }
  }

  #of(task: ActiveTask): Pending {
    const existing = this.#pending.get(task);
    if (existing !== undefined) return existing;
    const made: Pending = { task, progress: undefined, lines: [] };
    this.#pending.set(task, made);
    this.#timer ??= this.#clock
      .setTimeout(() => this.#background.run(() => this.flush(), 'write task notes'), EVERY)
      .unref();
    return made;
  }
}
