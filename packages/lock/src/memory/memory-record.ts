import type { HoldMode, HoldRequest, Resource, WaitEdge } from '../backend.ts';

/** A hold in memory. Times are on the monotonic clock. */
export interface MemoryHolder {
  readonly holdId: string;
  readonly mode: HoldMode;
  readonly owner: string;
  readonly since: number;
  readonly weight: number;
  token: number;
  expiresAt: number;
}

/** A place in a queue. */
export interface MemoryWaiter {
  readonly request: HoldRequest;
  /** Goes first when it is smaller. */
  readonly rank: number;
  readonly since: number;
  readonly upgrade: boolean;
}

/** One resource: who holds it, who waits, who waits while holding it. It exists only while one of these is not empty. */
export class MemoryRecord {
  readonly resource: Resource;
  readonly holders: Map<string, MemoryHolder> = new Map();
  readonly edges: Map<string, WaitEdge> = new Map();
  readonly queue: MemoryWaiter[] = [];
  #tickets = 0;

  constructor(resource: Resource) {
    this.resource = resource;
  }

  get empty(): boolean {
    return this.holders.size === 0 && this.queue.length === 0;
  }

  get exclusive(): MemoryHolder | undefined {
    for (const holder of this.holders.values()) return holder.mode === 'exclusive' ? holder : undefined;
    return undefined;
  }

  /** Lets go of the holds whose lease has run out. */
  sweep(now: number): void {
    for (const holder of this.holders.values()) {
      if (holder.expiresAt <= now) this.holders.delete(holder.holdId);
    }
  }

  /** Whether the request is compatible with those who hold it now. */
  fits({ request, upgrade }: Pick<MemoryWaiter, 'request' | 'upgrade'>): boolean {
    if (upgrade) return this.holders.size === 1 && this.holders.has(request.holdId);
    if (this.holders.size === 0) return true;
    if (request.mode === 'exclusive' || this.exclusive !== undefined) return false;
    return request.mode === 'shared' || this.#used() + request.weight <= request.limit;
  }

  position(holdId: string): number {
    return this.queue.findIndex(({ request }) => request.holdId === holdId) + 1;
  }

  /** Joins the queue behind everybody of the same or a higher priority; an upgrade goes to its head. */
  enqueue(request: HoldRequest, now: number, upgrade: boolean): void {
    if (this.position(request.holdId) > 0) return;
    this.#tickets += 1;
    const rank = upgrade ? -Infinity : this.#tickets - request.priority * 2 ** 40;
    const after = this.queue.findIndex((waiter) => waiter.rank > rank);
    this.queue.splice(after < 0 ? this.queue.length : after, 0, { request, rank, since: now, upgrade });
  }

  dequeue(holdId: string): void {
    const position = this.position(holdId);
    if (position > 0) this.queue.splice(position - 1, 1);
  }

  /** When the first lease runs out. */
  nextExpiry(): number {
    let next = Infinity;
    for (const holder of this.holders.values()) next = Math.min(next, holder.expiresAt);
    return next;
  }

  #used(): number {
    let used = 0;
    for (const holder of this.holders.values()) used += holder.weight;
    return used;
  }
}
