import { gcraSlot, gcraTake } from '../gcra.ts';
import { Deque } from './deque.ts';
import type { QueueState } from './queue-state.ts';
import type { MemoryTask } from './task.ts';

interface Group {
  admitted: number;
  tat: number;
  readonly waiting: Deque<MemoryTask>;
  concurrency: number;
}

/**
 * Lets the tasks of a group into their queue one after the other. A task that was let in counts until its end, through
 * retries too, which is what keeps a group in order.
 */
export class Groups {
  readonly #groups = new Map<string, Group>();

  /** Lets the task in, or holds it until its group has room. */
  enter(task: MemoryTask, queue: QueueState, now: number): void {
    const group = this.#of(task);
    if (group.admitted >= group.concurrency || this.#hasWaiting(group)) {
      group.waiting.pushBack(task);
      queue.makeHeld(task);
      return;
    }
    this.#admit(group, task, queue, now);
  }

  /** The task has reached its end: the next one may come in. */
  leave(task: MemoryTask, queue: QueueState, now: number): void {
    if (!task.admitted || task.group === undefined) return;
    task.admitted = false;
    const key = keyOf(task);
    const group = this.#groups.get(key);
    if (group === undefined) return;
    group.admitted -= 1;
    while (group.admitted < group.concurrency && this.#hasWaiting(group)) {
      const next = group.waiting.popFront();
      if (next === undefined) break;
      queue.take(next);
      this.#admit(group, next, queue, now);
    }
    const idle = group.admitted === 0 && !this.#hasWaiting(group);
    // A rate's memory has to outlive the group's last task.
    if (idle && group.tat <= now) this.#groups.delete(key);
  }

  /** When a task that was let in may run again, as far as its group's rate goes. */
  slot(task: MemoryTask, earliest: number): number {
    const rate = task.group?.rate;
    if (rate === undefined) return earliest;
    const group = this.#of(task);
    const at = gcraSlot(rate, group.tat, earliest);
    group.tat = gcraTake(rate, group.tat, earliest, 1);
    return at;
  }

  /** Forgets groups that hold nothing and whose rate has recovered. */
  sweep(now: number): void {
    for (const [key, group] of this.#groups) {
      if (group.admitted === 0 && group.tat <= now && !this.#hasWaiting(group)) this.#groups.delete(key);
    }
  }

  #admit(group: Group, task: MemoryTask, queue: QueueState, now: number): void {
    group.admitted += 1;
    task.admitted = true;
    const at = this.slot(task, now);
    if (at > now) queue.makeDelayed(task, at);
    else queue.makeReady(task);
  }

  #hasWaiting(group: Group): boolean {
    for (let head = group.waiting.peekFront(); head !== undefined; head = group.waiting.peekFront()) {
      if (head.state === 'waiting' && head.held) return true;
      group.waiting.popFront();
    }
    return false;
  }

  #of(task: MemoryTask): Group {
    const key = keyOf(task);
    const concurrency = task.group?.concurrency ?? 1;
    const existing = this.#groups.get(key);
    if (existing !== undefined) {
      existing.concurrency = concurrency;
      return existing;
    }
    const made: Group = { admitted: 0, tat: 0, waiting: new Deque(), concurrency };
    this.#groups.set(key, made);
    return made;
  }
}

function keyOf(task: MemoryTask): string {
  return `${task.queue}\u0000${task.group?.key ?? ''}`;
}
