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
    this.#pending = new Map();
    await this.#store.note(notes);
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
