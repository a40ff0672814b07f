import { sleep, systemClock, systemRandom, type Timer } from '@xiaoke/core';
import type { EnqueueReply, NewTask } from '../backend.ts';
import { QueueError } from '../errors.ts';
import type { QueueKeys } from './keys.ts';
import { isTransient, unavailable, type RedisLink } from './link.ts';
import { addTasks } from './scripts.ts';

interface Entry {
  readonly tasks: readonly NewTask[];
  readonly deadline: number;
  settled: boolean;
  resolve(replies: EnqueueReply[]): void;
  reject(error: unknown): void;
}

// Lua's unpack() ends near 8,000 values, and a script must stay far below a millisecond per hundred tasks.
const MAX_TASKS = 500;
const MAX_BYTES = 1_000_000;
const MAX_FLYING = 2;
// With fewer calls, what a batch costs by itself outweighs what two at once gain.
const FEW_CALLS = 40;

/** What all buffers of a manager share. */
export interface BufferLimits {
  readonly timeoutMs: number;
  readonly maxBuffered: number;
  buffered: number;
}

/**
 * Tasks of one queue on their way to Redis. What is enqueued in one turn of the event loop travels together, and while two
 * batches fly the next one gathers. A batch whose answer was lost is sent again: the script knows its own tasks.
 */
export class EnqueueBuffer {
  readonly #link: RedisLink;
  readonly #keys: QueueKeys;
  readonly #queue: string;
  readonly #limits: BufferLimits;
  readonly #waiting: Entry[] = [];
  /** Batches under way. */
  #flying: (readonly Entry[])[] = [];
  #scheduled = false;
  #sweep: Timer | undefined;

  constructor(link: RedisLink, keys: QueueKeys, queue: string, limits: BufferLimits) {
    this.#link = link;
    this.#keys = keys;
    this.#queue = queue;
    this.#limits = limits;
  }

  add(tasks: readonly NewTask[]): Promise<EnqueueReply[]> {
    if (this.#limits.buffered + tasks.length > this.#limits.maxBuffered) {
      const details = { buffered: this.#limits.buffered };
      return Promise.reject(
        new QueueError('QUEUE_UNAVAILABLE', 'Too many tasks wait to be sent', { details }),
      );
    }
    return new Promise((resolve, reject) => {
      const deadline = systemClock.monotonic() + this.#limits.timeoutMs;
      this.#limits.buffered += tasks.length;
      this.#waiting.push({ tasks, deadline, settled: false, resolve, reject });
      this.#kick();
      // One coarse timer for all: a timer for each task would cost more than sending it.
      this.#sweep ??= systemClock.setInterval(
        () => this.#expire(),
        Math.max(10, Math.min(100, this.#limits.timeoutMs / 4)),
      );
    });
  }

  #kick(): void {
    if (this.#scheduled || this.#flying.length >= MAX_FLYING) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#waiting.length === 0 || this.#flying.length >= MAX_FLYING) return;
      void this.#fly(this.#takeBatch(this.#share()));
      if (this.#waiting.length > 0) this.#kick();
    });
  }

  /** How many calls travel next: of many, a part for each batch that may fly, so that this process and Redis work at the same time. */
  #share(): number {
    const { length } = this.#waiting;
    return length < FEW_CALLS ? length : Math.ceil(length / (MAX_FLYING - this.#flying.length));
  }

  #takeBatch(most: number): Entry[] {
    const batch: Entry[] = [];
    let [count, bytes] = [0, 0];
    while (batch.length < most) {
      const entry = this.#waiting[batch.length];
      if (entry === undefined) break;
      count += entry.tasks.length;
      for (const task of entry.tasks) bytes += task.blob.length;
      if (batch.length > 0 && (count > MAX_TASKS || bytes > MAX_BYTES)) break;
      batch.push(entry);
    }
    this.#waiting.splice(0, batch.length);
    return batch;
  }

  async #fly(batch: readonly Entry[]): Promise<void> {
    this.#flying.push(batch);
    for (let tries = 0; ; tries += 1) {
      const live = batch.filter((entry) => !entry.settled);
      if (live.length === 0) break;
      try {
        const reply = await addTasks(this.#link, this.#keys, this.#queue, tasksOf(live));
        this.#deliver(live, reply);
        break;
      } catch (error) {
        if (!isTransient(error)) {
          this.#rejectAll(live, error);
          break;
        }
        await sleep(Math.min(10 * 2 ** Math.min(tries, 8), 250) * (0.5 + systemRandom() / 2));
      }
    }
    this.#flying = this.#flying.filter((other) => other !== batch);
    if (this.#waiting.length > 0) this.#kick();
  }

  #deliver(entries: readonly Entry[], reply: readonly string[]): void {
    let at = 0;
    for (const entry of entries) {
      const replies: EnqueueReply[] = [];
      for (const task of entry.tasks) {
        const other = reply[at] ?? '';
        replies.push(other === '' ? { id: task.id, duplicate: false } : { id: other, duplicate: true });
        at += 1;
      }
      this.#settle(entry, () => entry.resolve(replies));
    }
  }

  #rejectAll(entries: readonly Entry[], error: unknown): void {
    const reason = unavailable(error, this.#limits.timeoutMs);
    for (const entry of entries) this.#settle(entry, () => entry.reject(reason));
  }

  #expire(): void {
    const now = systemClock.monotonic();
    const entries = [...this.#flying.flat(), ...this.#waiting];
    for (const entry of entries) {
      if (entry.deadline > now || entry.settled) continue;
      this.#settle(entry, () =>
        entry.reject(unavailable(new Error('no answer in time'), this.#limits.timeoutMs)),
      );
    }
    while (this.#waiting[0]?.settled === true) this.#waiting.shift();
    if (this.#waiting.length === 0 && this.#flying.length === 0) {
      this.#sweep?.cancel();
      this.#sweep = undefined;
    }
  }

  #settle(entry: Entry, how: () => void): void {
    if (entry.settled) return;
    entry.settled = true;
    this.#limits.buffered -= entry.tasks.length;
    how();
  }
}

function tasksOf(entries: readonly Entry[]): readonly NewTask[] {
  const [first] = entries;
  if (first !== undefined && entries.length === 1) return first.tasks;
  const tasks: NewTask[] = [];
  for (const entry of entries) tasks.push(...entry.tasks);
  return tasks;
}

/** Splits what one script could not take at once. */
export function chunks<T>(items: readonly T[], size: number = MAX_TASKS): readonly (readonly T[])[] {
  if (items.length <= size) return [items];
  const parts: (readonly T[])[] = [];
  for (let start = 0; start < items.length; start += size) parts.push(items.slice(start, start + size));
  return parts;
}
