import type { Clock, Timer } from '@xiaoke/core';
import type { Scope } from '../engine/scope.ts';

/** One call that must end in time. */
export interface DeadlineEntry {
  readonly scope: Scope;
  /** The queue it is in; a timeout that is reconfigured has several. */
  readonly queue: DeadlineQueue;
  readonly due: number;
  previous: DeadlineEntry | undefined;
  next: DeadlineEntry | undefined;
  queued: boolean;
}

/**
 * Deadlines of one duration. Since all last equally long they expire in the order of arrival, so one list and one timer
 * serve any number of calls, and a call that ends in time costs two pointer changes instead of a timer of its own.
 *
 * The timer is left running when the list empties (the next call needs it again) but holds the process only while
 * somebody waits. Whether it does is decided when the turn of the event loop ends: calls that are over by then, such as
 * those that a cache answers, never ask the loop for anything.
 */
export class DeadlineQueue {
  readonly duration: number;
  readonly #clock: Clock;
  readonly #expire: (entry: DeadlineEntry) => void;
  #first: DeadlineEntry | undefined = undefined;
  #last: DeadlineEntry | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #holds = false;
  #deciding = false;

  constructor(duration: number, clock: Clock, expire: (entry: DeadlineEntry) => void) {
    this.duration = duration;
    this.#clock = clock;
    this.#expire = expire;
  }

  add(scope: Scope, now: number): DeadlineEntry {
    const last = this.#last;
    const entry: DeadlineEntry = {
      scope,
      queue: this,
      due: now + this.duration,
      previous: last,
      next: undefined,
      queued: true,
    };
    this.#last = entry;
    if (last === undefined) this.#startWith(entry);
    else last.next = entry;
    return entry;
  }

  remove(entry: DeadlineEntry): void {
    if (!entry.queued) return;
    entry.queued = false;
    const { previous, next } = entry;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    entry.previous = undefined;
    entry.next = undefined;
    if (this.#first === undefined && this.#holds) this.#hold(false);
  }

  #startWith(entry: DeadlineEntry): void {
    this.#first = entry;
    if (this.#timer === undefined) this.#arm(this.duration);
    if (this.#holds || this.#deciding) return;
    this.#deciding = true;
    process.nextTick(() => {
      this.#deciding = false;
      if (this.#first !== undefined) this.#hold(true);
    });
  }

  #hold(holds: boolean): void {
    this.#holds = holds;
    if (holds) this.#timer?.ref();
    else this.#timer?.unref();
  }

  #arm(delay: number): void {
    this.#timer = this.#clock.setTimeout(() => this.#fire(), delay);
    if (!this.#holds) this.#timer.unref();
  }

  #fire(): void {
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    let first = this.#first;
    while (first !== undefined && first.due <= now) {
      this.remove(first);
      this.#expire(first);
      first = this.#first;
    }
    // A timer may already have been armed by what the expired calls led to.
    if (first !== undefined && this.#timer === undefined) this.#arm(first.due - now);
  }
}
