import type { Clock } from '@xiaoke/core';
import {
  processOf,
  type BackendListener,
  type HoldRef,
  type HoldRequest,
  type Resource,
  type ResourceRecord,
} from '../backend.ts';
import { MemoryRecord, type MemoryHolder } from './memory-record.ts';

/** What {@link MemoryStore.acquire} found. */
export type MemoryAnswer =
  | { readonly holder: MemoryHolder }
  | { readonly position: number; readonly retryAfter: number };

/** The state that the managers of one process and namespace share: what a Redis server is to several processes. */
export class MemoryStore {
  readonly records: Map<string, MemoryRecord> = new Map();
  readonly listeners: Map<string, BackendListener> = new Map();
  readonly #clock: Clock;
  #token = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  acquire(request: HoldRequest, queue: boolean): MemoryAnswer {
    const record = this.open(request.resource);
    const own = record.holders.get(request.holdId);
    if (own !== undefined) return { holder: this.#renewOwn(own, request) };
    const waiting = { request, upgrade: false };
    if (record.queue.length === 0 && record.fits(waiting))
      return { holder: this.#place(record, request, request.lease) };
    if (!queue) {
      this.#settle(record);
      return this.#busy(record, request.holdId);
    }
    record.enqueue(request, this.#now(), false);
    const granted = this.#pump(record, request.holdId);
    if (granted !== undefined) return { holder: granted };
    this.#contend(record, request.urgent);
    return this.#busy(record, request.holdId);
  }

  /** Gives up a hold or a place in the queue. Tells whether there was a hold. */
  leave({ resource, holdId }: HoldRef): boolean {
    const record = this.open(resource);
    const held = record.holders.delete(holdId);
    record.dequeue(holdId);
    this.#settle(record);
    return held;
  }

  upgrade(request: HoldRequest): MemoryAnswer | 'conflict' | 'lost' {
    const record = this.open(request.resource);
    const own = record.holders.get(request.holdId);
    if (own === undefined) return 'lost';
    if (own.mode === 'exclusive') return { holder: this.#renewOwn(own, request) };
    const other = record.queue.find((waiter) => waiter.upgrade && waiter.request.holdId !== request.holdId);
    if (other !== undefined) return 'conflict';
    record.enqueue(request, this.#now(), true);
    const granted = this.#pump(record, request.holdId);
    return granted === undefined ? this.#busy(record, request.holdId) : { holder: granted };
  }

  downgrade(request: HoldRequest): boolean {
    const record = this.open(request.resource);
    const own = record.holders.get(request.holdId);
    record.dequeue(request.holdId);
    if (own !== undefined)
      record.holders.set(request.holdId, { ...own, mode: 'shared', expiresAt: this.#now() + request.lease });
    this.#settle(record);
    return own !== undefined;
  }

  /** The hold if its lease still runs, extended to `lease` from now. */
  renew(hold: HoldRef, lease: number): { readonly held: boolean; readonly contended: boolean } {
    const record = this.open(hold.resource);
    const own = record.holders.get(hold.holdId);
    if (own !== undefined) own.expiresAt = this.#now() + lease;
    const contended = record.queue.length > 0;
    this.#settle(record);
    return { held: own !== undefined, contended };
  }

  force(resource: Resource): number {
    const record = this.open(resource);
    const revoked = [...record.holders.keys()];
    record.holders.clear();
    for (const holdId of revoked) this.#tell(holdId, (listener) => listener.onRevoked(holdId));
    this.#settle(record);
    return revoked.length;
  }

  inspect(resource: Resource): ResourceRecord {
    const record = this.open(resource);
    const now = this.#now();
    this.#settle(record);
    return {
      resource,
      holders: [...record.holders.values()].map((holder) => ({
        holdId: holder.holdId,
        mode: holder.mode,
        token: holder.token,
        owner: holder.owner,
        ageMs: now - holder.since,
        expiresInMs: holder.expiresAt - now,
        permits: holder.weight,
      })),
      waiters: record.queue.map(({ request, since, upgrade }) => ({
        holdId: request.holdId,
        mode: upgrade ? 'upgrade' : request.mode,
        owner: request.owner,
        priority: request.priority,
        waitedMs: now - since,
      })),
    };
  }

  /** Takes `block` tokens and gives the first. Microseconds since the epoch, or one more than the last. */
  mint(block: number): number {
    const first = Math.max(this.#token, Math.floor(this.#clock.now() * 1000)) + 1;
    this.#token = first + block - 1;
    return first;
  }

  raise(token: number): void {
    this.#token = Math.max(this.#token, token);
  }

  /** The record of a resource with the lapsed holds swept out. */
  open(resource: Resource): MemoryRecord {
    const id = `${resource.kind}:${resource.key}`;
    let record = this.records.get(id);
    if (record === undefined) {
      record = new MemoryRecord(resource);
      this.records.set(id, record);
    }
    record.sweep(this.#now());
    return record;
  }

  #now(): number {
    return this.#clock.monotonic();
  }

  /** Grants to the head of the queue for as long as it fits. Everyone but `self` is told. */
  #pump(record: MemoryRecord, self: string): MemoryHolder | undefined {
    let own: MemoryHolder | undefined;
    for (let head = record.queue[0]; head !== undefined && record.fits(head); head = record.queue[0]) {
      const { request } = head;
      record.queue.shift();
      if (head.upgrade) record.holders.delete(request.holdId);
      const holder = this.#place(record, request, request.lease);
      if (request.holdId === self) own = holder;
      else this.#announce(record, holder, request.lease);
    }
    return own;
  }

  #announce(record: MemoryRecord, { holdId, token }: MemoryHolder, lease: number): void {
    const grant = { holdId, token, lease, serverTime: this.#now(), contended: record.queue.length > 0 };
    this.#tell(holdId, (listener) => listener.onGrant(grant));
  }

  #place(record: MemoryRecord, request: HoldRequest, lease: number): MemoryHolder {
    const { holdId, mode, owner, weight } = request;
    const since = this.#now();
    const token = this.mint(request.block);
    const holder = { holdId, mode, owner, weight, since, token, expiresAt: since + lease };
    record.holders.set(holdId, holder);
    this.#changed(record);
    return holder;
  }

  #renewOwn(own: MemoryHolder, request: HoldRequest): MemoryHolder {
    own.expiresAt = this.#now() + request.lease;
    own.token = this.mint(request.block);
    return own;
  }

  /** After a departure: the next ones get it, and an empty record goes. */
  #settle(record: MemoryRecord): void {
    this.#pump(record, '');
    if (!record.empty) return;
    this.records.delete(`${record.resource.kind}:${record.resource.key}`);
    this.#changed(record);
  }

  #busy(record: MemoryRecord, holdId: string): MemoryAnswer {
    const retryAfter = Math.max(1, record.nextExpiry() - this.#now());
    return { position: record.position(holdId), retryAfter };
  }

  #contend(record: MemoryRecord, urgent: boolean): void {
    const { exclusive } = record;
    if (exclusive === undefined || (record.queue.length > 1 && !urgent)) return;
    this.#tell(exclusive.holdId, (listener) => listener.onContended(exclusive.holdId, urgent));
  }

  #changed(record: MemoryRecord): void {
    for (const listener of this.listeners.values()) listener.onChanged(record.resource);
  }

  // Later, as a message would come: a listener must never run inside the step that caused it.
  #tell(holdId: string, message: (listener: BackendListener) => void): void {
    const listener = this.listeners.get(processOf(holdId));
    if (listener !== undefined) queueMicrotask(() => message(listener));
  }
}
