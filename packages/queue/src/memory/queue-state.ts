import type { PriorityIndex, QueueCounts, QueueLimits, TurnRequest } from '../backend.ts';
import { gcraAllowance, gcraTake } from '../gcra.ts';
import { Deque } from './deque.ts';
import { TimeHeap } from './heap.ts';
import type { MemoryTask } from './task.ts';

/** One queue in memory: its ready lists, what is delayed, what runs. Lists may hold entries of tasks that moved on. */
export class QueueState {
  readonly name: string;
  readonly #ready: readonly [Deque<MemoryTask>, Deque<MemoryTask>, Deque<MemoryTask>] = [
    new Deque(),
    new Deque(),
    new Deque(),
  ];
  readonly #delayed = new TimeHeap<MemoryTask>();
  readonly #waiting: [number, number, number] = [0, 0, 0];
  readonly dead: Set<MemoryTask> = new Set();
  delayedCount = 0;
  heldCount = 0;
  active = 0;
  completed = 0;
  failedAttempts = 0;
  enqueued = 0;
  paused = false;
  limits: QueueLimits = {};
  #tat = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Puts a task where workers take it from. */
  makeReady(task: MemoryTask, end: 'head' | 'tail' = 'tail'): void {
    task.state = 'waiting';
    task.held = false;
    const list = this.#ready[task.priority];
    if (end === 'tail') list.pushBack(task);
    else list.pushFront(task);
    this.#waiting[task.priority] += 1;
  }

  makeDelayed(task: MemoryTask, at: number): void {
    task.state = 'delayed';
    task.held = false;
    task.runAt = at;
    task.entry = this.#delayed.push(at, task);
    this.delayedCount += 1;
  }

  makeHeld(task: MemoryTask): void {
    task.state = 'waiting';
    task.held = true;
    this.heldCount += 1;
  }

  /** Takes a task that waits, is held or delayed out of its place; its stale entry is skipped later. */
  take(task: MemoryTask): void {
    if (task.state === 'delayed') {
      this.delayedCount -= 1;
      task.entry = 0;
    } else if (task.held) this.heldCount -= 1;
    else this.#waiting[task.priority] -= 1;
  }

  /** Gives the delayed tasks that are due, in order. */
  *due(now: number): Generator<MemoryTask> {
    for (let top = this.#delayed.peek(); top !== undefined && top.at <= now; top = this.#delayed.peek()) {
      this.#delayed.pop();
      if (top.value.state !== 'delayed' || top.value.entry !== top.order) continue;
      this.take(top.value);
      yield top.value;
    }
  }

  /** Milliseconds until something may change by time alone. */
  nextMs(now: number): number | undefined {
    let top = this.#delayed.peek();
    while (top !== undefined && (top.value.state !== 'delayed' || top.value.entry !== top.order)) {
      this.#delayed.pop();
      top = this.#delayed.peek();
    }
    return top === undefined ? undefined : Math.max(1, top.at - now);
  }

  /** How many may be claimed now, and when more may. */
  allowance(want: number, now: number): { allowed: number; nextMs: number | undefined } {
    if (this.paused) return { allowed: 0, nextMs: undefined };
    const { concurrency, rate } = this.limits;
    let allowed = concurrency === undefined ? want : Math.max(0, Math.min(want, concurrency - this.active));
    if (rate === undefined || allowed === 0) return { allowed, nextMs: undefined };
    const tokens = gcraAllowance(rate, this.#tat, now);
    allowed = Math.min(allowed, tokens.allowed);
    return { allowed, nextMs: tokens.allowed === 0 ? tokens.nextMs : undefined };
  }

  /** Takes tasks by the quotas, then what is left over in order of priority. */
  claim(allowed: number, quotas: TurnRequest['quotas'], now: number): MemoryTask[] {
    const tasks: MemoryTask[] = [];
    for (const [priority, count] of quotas)
      this.#pop(priority, Math.min(count, allowed - tasks.length), tasks);
    for (const priority of [0, 1, 2] as const) this.#pop(priority, allowed - tasks.length, tasks);
    const { rate } = this.limits;
    if (rate !== undefined && tasks.length > 0) this.#tat = gcraTake(rate, this.#tat, now, tasks.length);
    this.active += tasks.length;
    return tasks;
  }

  counts(now: number): Omit<QueueCounts, 'workers' | 'slots'> {
    return {
      queue: this.name,
      waiting: [...this.#waiting],
      grouped: this.heldCount,
      delayed: this.delayedCount,
      active: this.active,
      dead: this.dead.size,
      completed: this.completed,
      failedAttempts: this.failedAttempts,
      enqueued: this.enqueued,
      oldestWaitingAt: this.#oldest(),
      paused: this.paused,
      now,
    };
  }

  /** Whether a worker could take something. */
  get hasReady(): boolean {
    return this.#waiting[0] + this.#waiting[1] + this.#waiting[2] > 0;
  }

  #pop(priority: PriorityIndex, count: number, into: MemoryTask[]): void {
    const list = this.#ready[priority];
    for (let left = count; left > 0 && this.#waiting[priority] > 0;) {
      const task = list.popFront();
      if (task === undefined) return;
      if (task.state !== 'waiting' || task.held) continue;
      this.#waiting[priority] -= 1;
      left -= 1;
      into.push(task);
    }
  }

  #oldest(): number | undefined {
    let oldest: number | undefined;
    for (const list of this.#ready) {
      for (const task of list) {
        if (task.state !== 'waiting' || task.held) continue;
        if (oldest === undefined || task.enqueuedAt < oldest) oldest = task.enqueuedAt;
        break;
      }
    }
    return oldest;
  }
}
