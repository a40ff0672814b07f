import type { Clock, Timer } from '@xiaoke/core';
import type { CallPriority } from '../engine/context.ts';
import type { Cancellable, Scope } from '../engine/scope.ts';

/** Who goes first: who came first, who came last (under overload the newest has the best chance to be in time), or by priority. */
export type QueueOrder = 'fifo' | 'lifo' | 'priority';

interface Waiter extends Cancellable {
  readonly grant: () => void;
  readonly refuse: (error: unknown) => void;
  previous: Waiter | undefined;
  next: Waiter | undefined;
  line: Line | undefined;
  timer: Timer | undefined;
}

/** A doubly linked list: joining, leaving from anywhere and taking either end cost the same however long it is. */
class Line {
  first: Waiter | undefined = undefined;
  last: Waiter | undefined = undefined;

  push(waiter: Waiter): void {
    waiter.line = this;
    waiter.previous = this.last;
    if (this.last === undefined) this.first = waiter;
    else this.last.next = waiter;
    this.last = waiter;
  }

  remove(waiter: Waiter): void {
    const { previous, next } = waiter;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    waiter.line = undefined;
    waiter.previous = undefined;
    waiter.next = undefined;
  }
}

const LINE_OF: Readonly<Record<CallPriority, number>> = { high: 0, normal: 1, low: 2 };

/** Calls that wait for a place. Bounded by whoever uses it; an abort or a limit of time takes a call out at once. */
export class WaitQueue {
  readonly #clock: Clock;
  readonly #lines: readonly [Line, Line, Line] = [new Line(), new Line(), new Line()];
  #size = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#size;
  }

  /** Waits for a place. `tooLong` makes the error of one that waited for `maxWait` milliseconds. */
  wait(scope: Scope, order: QueueOrder, maxWait: number, tooLong: () => Error): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        grant: () => resolve(),
        refuse: reject,
        cancel: (reason) => this.#refuse(waiter, reason),
        previous: undefined,
        next: undefined,
        line: undefined,
        timer: undefined,
      };
      const line = order === 'priority' ? LINE_OF[scope.call.priority] : 1;
      this.#lines[line as 0 | 1 | 2].push(waiter);
      this.#size += 1;
      scope.child = waiter;
      if (maxWait !== Infinity)
        waiter.timer = this.#clock.setTimeout(() => this.#refuse(waiter, tooLong()), maxWait);
    });
  }

  /** Gives a place to whoever is next. `false` when nobody waits. */
  grantNext(order: QueueOrder): boolean {
    const line = this.#lines.find(({ first }) => first !== undefined);
    const waiter = order === 'lifo' ? line?.last : line?.first;
    if (waiter === undefined) return false;
    this.#take(waiter);
    waiter.grant();
    return true;
  }

  /** Sends away the one that would be last, to make room. `false` when nobody waits. */
  refuseLast(order: QueueOrder, error: () => Error): boolean {
    const line = this.#lines.findLast(({ first }) => first !== undefined);
    const waiter = order === 'lifo' ? line?.first : line?.last;
    if (waiter === undefined) return false;
    this.#refuse(waiter, error());
    return true;
  }

  /** Whether somebody of lower priority waits. */
  holdsBelow(priority: CallPriority): boolean {
    return this.#lines.some((line, index) => index > LINE_OF[priority] && line.first !== undefined);
  }

  #refuse(waiter: Waiter, error: unknown): void {
    if (waiter.line === undefined) return;
    this.#take(waiter);
    waiter.refuse(error);
  }

  #take(waiter: Waiter): void {
    waiter.line?.remove(waiter);
    waiter.timer?.cancel();
    this.#size -= 1;
  }
}
