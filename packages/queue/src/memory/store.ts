import type { EnqueueReply, NewTask, Settlement, TurnReply, TurnRequest, UniqueRule } from '../backend.ts';
import { childFailure } from '../flows.ts';
import { Groups } from './groups.ts';
import { TimeHeap } from './heap.ts';
import { QueueState } from './queue-state.ts';
import { memoryTask, type MemoryTask } from './task.ts';
import { UniqueKeys } from './unique-keys.ts';

/** How records are dropped. */
export interface MemoryRetention {
  readonly finished: number;
  readonly dead: number;
  readonly deadAgeMs: number;
}

/** What the store tells its backend. */
export interface StoreEvents {
  /** `queue` has something to claim, or will have sooner than was known. */
  wake(queue: string): void;
  finished(id: string): void;
}

interface TaskEnd {
  readonly state: 'completed' | 'dead' | 'cancelled' | 'expired';
  readonly error: string | undefined;
  readonly keepMs: number;
}

interface ChildEnd {
  readonly parentId: string;
  readonly childId: string;
  readonly result: string | undefined;
  /** The error that ends the parent too. */
  readonly fatal: string | undefined;
}

const KEEP_CANCELLED = 3_600_000;

/** Every task of a namespace in memory and all transitions between their states. Nothing in here waits. */
export class MemoryStore {
  readonly tasks: Map<string, MemoryTask> = new Map();
  readonly queues: Map<string, QueueState> = new Map();
  readonly #groups = new Groups();
  readonly #unique = new UniqueKeys();
  readonly #expiry = new TimeHeap<MemoryTask>();
  readonly #retention: MemoryRetention;
  readonly #events: StoreEvents;
  /** No queue hands out anything. */
  allPaused = false;
  #finished = 0;
  #token = 0;

  constructor(retention: MemoryRetention, events: StoreEvents) {
    this.#retention = retention;
    this.#events = events;
  }

  queue(name: string): QueueState {
    const existing = this.queues.get(name);
    if (existing !== undefined) return existing;
    const made = new QueueState(name);
    this.queues.set(name, made);
    return made;
  }

  enqueue(task: NewTask, now: number): EnqueueReply {
    if (this.tasks.has(task.id)) return { id: task.id, duplicate: true };
    const rule = task.unique;
    if (rule !== undefined) {
      const holder = this.#unique.holder(rule.key, now);
      if (holder !== undefined) return this.#collide(task, rule, holder, now);
      this.#unique.hold(rule.key, task.id, rule.forMs > 0 ? now + rule.forMs : 0);
    }
    const made = memoryTask(task, now);
    this.tasks.set(task.id, made);
    const queue = this.queue(task.queue);
    queue.enqueued += 1;
    this.#place(made, queue, now);
    return { id: task.id, duplicate: false };
  }

  turn(queueName: string, owner: object, request: TurnRequest, now: number): TurnReply {
    const queue = this.queue(queueName);
    const lost: string[] = [];
    for (const settlement of request.settlements) {
      if (!this.#settle(settlement, owner, now)) lost.push(settlement.id);
    }
    this.promote(queue, now);
    if (request.want === 0 || this.allPaused) return { now, lost, claims: [], nextMs: undefined };
    const { allowed, nextMs } = queue.allowance(request.want, now);
    const claims = queue.claim(allowed, request.quotas, now).map((task) => {
      this.#token += 1;
      task.state = 'active';
      task.token = this.#token;
      task.owner = owner;
      task.startedAt = now;
      return {
        id: task.id,
        token: task.token,
        blob: task.blob,
        attempts: task.attempts,
        stalls: task.stalls,
      };
    });
    return { now, lost, claims, nextMs: soonest(nextMs, queue.nextMs(now)) };
  }

  promote(queue: QueueState, now: number): void {
    for (const task of queue.due(now)) {
      if (task.group !== undefined && !task.admitted) this.#groups.enter(task, queue, now);
      else queue.makeReady(task);
    }
  }

  /** Cancels a task that has not been started. Returns whether there was one. */
  stop(task: MemoryTask, error: string, keepMs: number, now: number): boolean {
    if (task.state !== 'waiting' && task.state !== 'delayed') return false;
    this.queue(task.queue).take(task);
    this.#end(task, { state: 'cancelled', error, keepMs }, now);
    return true;
  }

  /** Puts a dead letter back with fresh attempts, unless another live task has its unique key. */
  revive(task: MemoryTask, now: number): boolean {
    if (task.state !== 'dead') return false;
    if (task.unique !== undefined) {
      const holder = this.tasks.get(this.#unique.holder(task.unique, now) ?? '');
      if (holder !== undefined && holder !== task && isLive(holder)) return false;
      this.#unique.retake(task.unique, task.id);
    }
    const queue = this.queue(task.queue);
    queue.dead.delete(task);
    task.attempts = 0;
    task.stalls = 0;
    task.finishedAt = undefined;
    task.cancelReason = undefined;
    task.runAt = undefined;
    if (task.group === undefined) queue.makeReady(task);
    else this.#groups.enter(task, queue, now);
    this.#events.wake(task.queue);
    return true;
  }

  /** Forgets a task that has ended. */
  drop(task: MemoryTask): void {
    if (task.state === 'dead') this.queue(task.queue).dead.delete(task);
    if (this.tasks.get(task.id) === task) this.tasks.delete(task.id);
  }

  /** A child has ended; the last one lets its parent go, a failed one may end it. */
  #childEnded(link: ChildEnd, now: number): void {
    const { parentId, childId, result, fatal } = link;
    const parent = this.tasks.get(parentId);
    if (parent?.pendingChildren?.delete(childId) !== true) return;
    if (result !== undefined) (parent.childResults ??= new Map()).set(childId, result);
    const queue = this.queue(parent.queue);
    if (parent.state !== 'waiting' || !parent.held) return;
    if (fatal !== undefined) {
      queue.take(parent);
      this.#end(parent, { state: 'dead', error: fatal, keepMs: 0 }, now);
    } else if (parent.pendingChildren.size === 0) {
      queue.take(parent);
      this.#place(parent, queue, now);
    }
  }

  /** Drops what retention lets go. */
  expire(now: number): void {
    for (let top = this.#expiry.peek(); top !== undefined; top = this.#expiry.peek()) {
      if (top.at > now && this.#finished <= this.#retention.finished) break;
      this.#expiry.pop();
      this.#finished -= 1;
      this.drop(top.value);
    }
    for (const queue of this.queues.values()) {
      for (const task of queue.dead) {
        const old = (task.finishedAt ?? now) + this.#retention.deadAgeMs <= now;
        if (!old && queue.dead.size <= this.#retention.dead) break;
        this.drop(task);
      }
    }
  }

  sweep(now: number): void {
    this.expire(now);
    this.#groups.sweep(now);
    this.#unique.sweep(now);
  }

  #place(task: MemoryTask, queue: QueueState, now: number): void {
    if (task.pendingChildren !== undefined && task.pendingChildren.size > 0) queue.makeHeld(task);
    else if (task.runAt !== undefined && task.runAt > now) queue.makeDelayed(task, task.runAt);
    else if (task.group !== undefined && !task.admitted) this.#groups.enter(task, queue, now);
    else queue.makeReady(task);
    this.#events.wake(task.queue);
  }

  #collide(task: NewTask, { mode, key }: UniqueRule, holderId: string, now: number): EnqueueReply {
    const holder = this.tasks.get(holderId);
    // What waits in another queue stays as it is.
    if (mode !== 'replace' || holder === undefined || holder.queue !== task.queue)
      return { id: holderId, duplicate: true };
    const nextId = this.#unique.next(key);
    const next = nextId === undefined ? undefined : this.tasks.get(nextId);
    const target = holder.state === 'active' ? next : holder;
    if (target !== undefined) {
      this.#replace(target, task, now, target === next);
      return { id: target.id, duplicate: true };
    }
    if (holder.state !== 'active') return { id: holderId, duplicate: true };
    const made = memoryTask(task, now);
    this.tasks.set(task.id, made);
    this.#unique.setNext(key, task.id);
    const queue = this.queue(task.queue);
    queue.enqueued += 1;
    queue.makeHeld(made);
    return { id: task.id, duplicate: false };
  }

  /** The old object stays behind, ended, so that entries which still point to it are stale; its place is taken anew. */
  #replace(old: MemoryTask, task: NewTask, now: number, isNext: boolean): void {
    if (old.state !== 'waiting' && old.state !== 'delayed') return;
    const queue = this.queue(old.queue);
    queue.take(old);
    old.state = 'cancelled';
    if (old.admitted) this.#groups.leave(old, queue, now);
    const made = { ...memoryTask({ ...task, id: old.id }, now), pendingChildren: old.pendingChildren };
    this.tasks.set(old.id, made);
    const home = this.queue(made.queue);
    if (isNext) home.makeHeld(made);
    else this.#place(made, home, now);
  }

  #settle(settlement: Settlement, owner: object, now: number): boolean {
    const task = this.tasks.get(settlement.id);
    if (
      task === undefined ||
      task.state !== 'active' ||
      task.token !== settlement.token ||
      task.owner !== owner
    )
      return false;
    const queue = this.queue(task.queue);
    queue.active -= 1;
    task.owner = undefined;
    const { outcome } = settlement;
    if (task.cancelReason !== undefined && (outcome.kind === 'return' || outcome.kind === 'retry')) {
      this.#end(task, { state: 'cancelled', error: task.cancelReason, keepMs: KEEP_CANCELLED }, now);
    } else if (outcome.kind === 'return') {
      queue.makeReady(task, 'head');
      this.#events.wake(task.queue);
    } else if (outcome.kind === 'retry') this.#retry(task, queue, outcome, now);
    else if (outcome.kind === 'completed') {
      task.result = outcome.result;
      task.attempts += 1;
      queue.completed += 1;
      this.#end(task, { state: 'completed', error: undefined, keepMs: outcome.keepMs }, now);
    } else {
      if (outcome.counted) {
        task.attempts += 1;
        queue.failedAttempts += 1;
      }
      this.#end(task, { state: outcome.kind, error: outcome.error, keepMs: outcome.keepMs }, now);
    }
    return true;
  }

  #retry(
    task: MemoryTask,
    queue: QueueState,
    outcome: { delayMs: number; counted: boolean; error: string },
    now: number,
  ): void {
    if (outcome.counted) {
      task.attempts += 1;
      queue.failedAttempts += 1;
    }
    task.error = outcome.error;
    const at = this.#groups.slot(task, now + outcome.delayMs);
    if (at > now) queue.makeDelayed(task, at);
    else queue.makeReady(task);
    this.#events.wake(task.queue);
  }

  #end(task: MemoryTask, { state, error, keepMs }: TaskEnd, now: number): void {
    const queue = this.queue(task.queue);
    task.state = state;
    task.held = false;
    task.error = error;
    task.finishedAt = now;
    if (state === 'dead') queue.dead.add(task);
    else if (keepMs > 0 && this.#retention.finished > 0) {
      this.#expiry.push(now + keepMs, task);
      this.#finished += 1;
    } else this.tasks.delete(task.id);
    this.#release(task, queue, now);
    if (this.#finished > this.#retention.finished || queue.dead.size > this.#retention.dead) this.expire(now);
    this.#events.finished(task.id);
  }

  #release(task: MemoryTask, queue: QueueState, now: number): void {
    if (task.unique !== undefined) {
      const next = this.#unique.release(task.unique, task.id, now);
      const waiting = next === undefined ? undefined : this.tasks.get(next);
      if (waiting !== undefined && waiting.held) {
        const home = this.queue(waiting.queue);
        home.take(waiting);
        this.#place(waiting, home, now);
      }
    }
    if (task.admitted) {
      this.#groups.leave(task, queue, now);
      this.#events.wake(task.queue);
    }
    this.#tellParent(task, now);
  }

  #tellParent(task: MemoryTask, now: number): void {
    const { parent } = task;
    if (parent === undefined) return;
    const failed = task.state !== 'completed';
    const fatal = failed && parent.onFailure === 'fail' ? childFailure(task.id) : undefined;
    this.#childEnded({ parentId: parent.id, childId: task.id, result: task.result, fatal }, now);
  }
}

/** Whether a task has not come to its end. */
export function isLive({ state }: MemoryTask): boolean {
  return state === 'waiting' || state === 'delayed' || state === 'active';
}

/** The smaller of two optional numbers. */
export function soonest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}
