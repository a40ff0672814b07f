import type { Background, Clock, Timer } from '@xiaoke/core';
import type { StatusStore, TaskNote } from '../backend.ts';
import { QueueError } from '../errors.ts';

const EVERY = 50;
const MAX_LINE = 4_000;
const MAX_PENDING_LINES = 1_000;

/** Gathers progress and log lines of all running tasks and writes them together, at most every 50 ms. */
export class Notes {
  readonly #store: StatusStore;
  readonly #clock: Clock;
  readonly #background: Background;
  #pending = new Map<string, { progress: string | undefined; lines: string[] }>();
  #timer: Timer | undefined;
  #writing: { readonly ids: ReadonlySet<string>; readonly done: Promise<void> } | undefined;

  constructor(store: StatusStore, clock: Clock, background: Background) {
    this.#store = store;
    this.#clock = clock;
    this.#background = background;
  }

  progress(id: string, value: unknown): void {
    const text = JSON.stringify(value);
    if (text === undefined) throw new QueueError('PAYLOAD_NOT_SERIALIZABLE', 'Progress must be JSON');
    this.#of(id).progress = text;
  }

  line(id: string, line: string): void {
    const { lines } = this.#of(id);
    lines.push(line.slice(0, MAX_LINE));
    if (lines.length > MAX_PENDING_LINES) lines.shift();
  }

  /** Resolves once what the task has said is written; `undefined` when there is nothing to wait for. */
  written(id: string): Promise<void> | undefined {
    if (this.#pending.has(id)) return this.flush();
    return this.#writing?.ids.has(id) === true ? this.#writing.done : undefined;
  }

  /** Writes what is pending now. */
  async flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#pending.size === 0) return;
    const notes: TaskNote[] = [...this.#pending].map(([id, { progress, lines }]) => ({
      id,
      progress,
      lines,
    }));
    const writing = { ids: new Set(this.#pending.keys()), done: this.#store.note(notes) };
    this.#pending = new Map();
    this.#writing = writing;
    try {
      await writing.done;
    } finally {
      if (this.#writing === writing) this.#writing = undefined;
    }
  }

  #of(id: string): { progress: string | undefined; lines: string[] } {
    const existing = this.#pending.get(id);
    if (existing !== undefined) return existing;
    const made = { progress: undefined, lines: [] };
    this.#pending.set(id, made);
    this.#timer ??= this.#clock
      .setTimeout(() => this.#background.run(() => this.flush(), 'write task notes'), EVERY)
      .unref();
    return made;
  }
}
