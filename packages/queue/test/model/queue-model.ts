import type { NewTask, PriorityIndex } from '../../src/backend.ts';

type State = 'waiting' | 'delayed' | 'active' | 'completed' | 'dead' | 'cancelled';

interface ModelTask {
  readonly id: string;
  readonly queue: string;
  blob: string;
  priority: PriorityIndex;
  delayed: boolean;
  group: NewTask['group'];
  readonly unique: NewTask['unique'];
  state: State;
  /** Where a waiting task is: claimable, held by its group, or waiting for its unique key. */
  place: 'ready' | 'group' | 'key' | 'none';
  admitted: boolean;
  attempts: number;
  /** Somebody asked to cancel it while it ran. */
  unwanted: boolean;
}

interface KeyHolder {
  readonly id: string;
  next: string | undefined;
  readonly throttled: boolean;
}

/** How the model ends a claim. */
export type ModelOutcome = 'completed' | 'retry' | 'retry later' | 'dead' | 'return';

/**
 * What a queue should do, written the plain way: arrays, and every rule in one place. A delayed task is delayed for ever, so
 * that no clock is needed.
 */
export class QueueModel {
  readonly tasks: Map<string, ModelTask> = new Map();
  readonly paused: Set<string> = new Set();
  readonly completed: Map<string, number> = new Map();
  readonly enqueued: Map<string, number> = new Map();
  readonly failed: Map<string, number> = new Map();
  readonly #ready = new Map<string, string[]>();
  readonly #held = new Map<string, string[]>();
  readonly #limits = new Map<string, number>();
  readonly #keys = new Map<string, KeyHolder>();

  enqueue(task: NewTask): { id: string; duplicate: boolean } {
    if (this.tasks.has(task.id)) return { id: task.id, duplicate: true };
    const made: ModelTask = {
      id: task.id,
      queue: task.queue,
      blob: task.blob,
      priority: task.priority,
      delayed: task.delayMs > 0,
      group: task.group,
      unique: task.unique,
      state: 'waiting',
      place: 'none',
      admitted: false,
      attempts: 0,
      unwanted: false,
    };
    const stands = task.unique === undefined ? undefined : this.#takeKey(made, task.unique);
    if (stands !== undefined) return { id: stands, duplicate: true };
    this.tasks.set(task.id, made);
    this.#count(this.enqueued, task.queue);
    if (made.place !== 'key') this.#place(made);
    return { id: task.id, duplicate: false };
  }

  claim(queue: string, want: number): string[] {
    if (this.paused.has(queue)) return [];
    const claimed: string[] = [];
    for (const priority of [0, 1, 2]) {
      const list = this.#list(queue, priority);
      while (claimed.length < want) {
        const id = list.shift();
        if (id === undefined) break;
        const task = this.#of(id);
        task.state = 'active';
        task.place = 'none';
        claimed.push(id);
      }
    }
    return claimed;
  }

  settle(id: string, outcome: ModelOutcome): void {
    const task = this.#of(id);
    if (task.state !== 'active') throw new Error(`${id} is not active`);
    if (task.unwanted && outcome !== 'completed' && outcome !== 'dead') {
      this.#end(task, 'cancelled');
      return;
    }
    if (outcome === 'return') {
      this.#ready_(task, 'head');
      return;
    }
    if (outcome === 'retry' || outcome === 'retry later') {
      task.attempts += 1;
      this.#count(this.failed, task.queue);
      if (outcome === 'retry') this.#ready_(task, 'tail');
      else task.state = 'delayed';
      return;
    }
    task.attempts += 1;
    this.#count(outcome === 'completed' ? this.completed : this.failed, task.queue);
    this.#end(task, outcome);
  }

  cancel(id: string): 'cancelled' | 'requested' | 'none' {
    const task = this.tasks.get(id);
    if (task === undefined) return 'none';
    if (task.state === 'active') {
      task.unwanted = true;
      return 'requested';
    }
    if (task.state !== 'waiting' && task.state !== 'delayed') return 'none';
    this.#remove(task);
    this.#end(task, 'cancelled');
    return 'cancelled';
  }

  /** Cancels what waits. The order in which groups let in what is cancelled right after plays no part. */
  drain(queue: string, delayed: boolean): number {
    let drained = 0;
    for (;;) {
      const next = [...this.tasks.values()].find(
        (task) => task.queue === queue && (task.state === 'waiting' || (delayed && task.state === 'delayed')),
      );
      if (next === undefined) return drained;
      this.cancel(next.id);
      drained += 1;
    }
  }

  revive(id: string): number {
    const task = this.tasks.get(id);
    if (task?.state !== 'dead') return 0;
    if (task.unique !== undefined && !this.#retakeKey(task.unique.key, id)) return 0;
    task.state = 'waiting';
    task.attempts = 0;
    task.unwanted = false;
    task.delayed = false;
    this.#place(task);
    return 1;
  }

  purge(id: string): number {
    if (this.tasks.get(id)?.state !== 'dead') return 0;
    this.tasks.delete(id);
    return 1;
  }

  /** What inspections count. */
  counts(queue: string): object {
    const own = [...this.tasks.values()].filter((task) => task.queue === queue);
    const count = (wanted: (task: ModelTask) => boolean): number => own.filter(wanted).length;
    return {
      waiting: [0, 1, 2].map((priority) => this.#list(queue, priority).length),
      grouped: count(({ state, place }) => state === 'waiting' && place !== 'ready'),
      delayed: count(({ state }) => state === 'delayed'),
      active: count(({ state }) => state === 'active'),
      dead: count(({ state }) => state === 'dead'),
      completed: this.completed.get(queue) ?? 0,
      enqueued: this.enqueued.get(queue) ?? 0,
      failedAttempts: this.failed.get(queue) ?? 0,
      paused: this.paused.has(queue),
    };
  }

  /** The id that stands for the task; `undefined` when it is its own. */
  #takeKey(task: ModelTask, { key, mode }: NonNullable<NewTask['unique']>): string | undefined {
    const holder = this.#keys.get(key);
    const held = holder === undefined ? undefined : this.tasks.get(holder.id);
    const live = held !== undefined && ['waiting', 'delayed', 'active'].includes(held.state);
    if (holder === undefined || (!live && !holder.throttled)) {
      this.#keys.set(key, { id: task.id, next: undefined, throttled: mode === 'throttle' });
      return undefined;
    }
    if (mode !== 'replace' || !live || held.queue !== task.queue) return holder.id;
    if (held.state === 'active') {
      const next = holder.next === undefined ? undefined : this.#of(holder.next);
      if (next === undefined) {
        holder.next = task.id;
        task.place = 'key';
        return undefined;
      }
      this.#rewrite(next, task);
      return next.id;
    }
    this.#remove(held);
    if (held.admitted) this.#leave(held);
    this.#rewrite(held, task);
    this.#place(held);
    return held.id;
  }

  #retakeKey(key: string, id: string): boolean {
    const holder = this.#keys.get(key);
    const held = holder === undefined ? undefined : this.tasks.get(holder.id);
    if (held !== undefined && held.id !== id && ['waiting', 'delayed', 'active'].includes(held.state))
      return false;
    this.#keys.set(key, { id, next: undefined, throttled: holder?.throttled ?? false });
    return true;
  }

  #rewrite(old: ModelTask, { blob, priority, delayed, group }: ModelTask): void {
    Object.assign(old, { blob, priority, delayed, group, attempts: 0 });
  }

  #place(task: ModelTask): void {
    if (task.delayed) {
      task.state = 'delayed';
      task.place = 'none';
      return;
    }
    task.state = 'waiting';
    if (task.group === undefined) {
      this.#ready_(task, 'tail');
      return;
    }
    const key = groupKey(task);
    this.#limits.set(key, task.group.concurrency);
    const waiting = this.#held.get(key) ?? [];
    if (this.#admitted(key) < task.group.concurrency && waiting.length === 0) this.#admit(task);
    else {
      task.place = 'group';
      this.#held.set(key, [...waiting, task.id]);
    }
  }

  #admit(task: ModelTask): void {
    task.admitted = true;
    this.#ready_(task, 'tail');
  }

  #leave(task: ModelTask): void {
    task.admitted = false;
    const key = groupKey(task);
    const waiting = this.#held.get(key) ?? [];
    while (waiting.length > 0 && this.#admitted(key) < (this.#limits.get(key) ?? 1))
      this.#admit(this.#of(waiting.shift() ?? ''));
  }

  #end(task: ModelTask, state: 'completed' | 'dead' | 'cancelled'): void {
    task.state = state;
    task.place = 'none';
    if (task.unique !== undefined) this.#releaseKey(task.unique.key, task.id);
    if (task.admitted) this.#leave(task);
  }

  #releaseKey(key: string, id: string): void {
    const holder = this.#keys.get(key);
    if (holder === undefined) return;
    if (holder.id !== id) {
      if (holder.next === id) holder.next = undefined;
    } else if (holder.next !== undefined) {
      const next = this.#of(holder.next);
      this.#keys.set(key, { id: next.id, next: undefined, throttled: false });
      this.#place(next);
    } else if (!holder.throttled) this.#keys.delete(key);
  }

  #ready_(task: ModelTask, end: 'head' | 'tail'): void {
    task.state = 'waiting';
    task.place = 'ready';
    const list = this.#list(task.queue, task.priority);
    if (end === 'head') list.unshift(task.id);
    else list.push(task.id);
  }

  #remove(task: ModelTask): void {
    for (const lists of [this.#ready, this.#held]) {
      for (const [key, list] of lists)
        lists.set(
          key,
          list.filter((id) => id !== task.id),
        );
    }
  }

  #list(queue: string, priority: number): string[] {
    const key = `${queue}/${priority}`;
    const list = this.#ready.get(key) ?? [];
    this.#ready.set(key, list);
    return list;
  }

  #admitted(key: string): number {
    return [...this.tasks.values()].filter((task) => task.admitted && groupKey(task) === key).length;
  }

  #count(counter: Map<string, number>, queue: string): void {
    counter.set(queue, (counter.get(queue) ?? 0) + 1);
  }

  #of(id: string): ModelTask {
    const task = this.tasks.get(id);
    if (task === undefined) throw new Error(`no task ${id}`);
    return task;
  }
}

function groupKey(task: ModelTask): string {
  return `${task.queue}/${task.group?.key ?? ''}`;
}
