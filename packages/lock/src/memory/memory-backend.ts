import type { Clock } from '@xiaoke/core';
import type {
  Asking,
  BackendListener,
  Busy,
  Grant,
  HolderEdges,
  HoldRef,
  HoldRequest,
  Instant,
  LockBackend,
  Renewal,
  RenewRequest,
  Resource,
  ResourceRecord,
  WaitEdge,
} from '../backend.ts';
import { MemoryStore, type MemoryAnswer } from './memory-store.ts';

const stores = new WeakMap<Clock, Map<string, MemoryStore>>();

/** Managers of one process that share a namespace share their locks, as they would in Redis. */
function storeOf(clock: Clock, namespace: string): MemoryStore {
  const ofClock = stores.get(clock) ?? new Map<string, MemoryStore>();
  stores.set(clock, ofClock);
  const store = ofClock.get(namespace) ?? new MemoryStore(clock);
  ofClock.set(namespace, store);
  return store;
}

/** Holds in this process: the same rules as Redis, without a server. */
export class MemoryBackend implements LockBackend {
  readonly kind = 'memory';
  readonly tokensAreGlobal = true;
  readonly #clock: Clock;
  readonly #store: MemoryStore;
  #processId = '';

  constructor(clock: Clock, namespace: string) {
    this.#clock = clock;
    this.#store = storeOf(clock, namespace);
  }

  start(processId: string, listener: BackendListener): Promise<void> {
    this.#processId = processId;
    this.#store.listeners.set(processId, listener);
    return Promise.resolve();
  }

  acquire(request: HoldRequest, { queue }: Asking): Promise<Grant | Busy> {
    return Promise.resolve(this.#answer(this.#store.acquire(request, queue), request));
  }

  cancel(hold: HoldRef): Promise<void> {
    this.#store.leave(hold);
    return Promise.resolve();
  }

  release(hold: HoldRef): Promise<boolean> {
    return Promise.resolve(this.#store.leave(hold));
  }

  renew(holds: readonly RenewRequest[]): Promise<readonly Renewal[]> {
    return Promise.all(holds.map((hold) => this.claim(hold, 0)));
  }

  claim(hold: RenewRequest, block: number): Promise<Renewal> {
    const from = this.#instant();
    const { held, contended } = this.#store.renew(hold, hold.lease);
    const token = block > 0 && held ? this.#store.mint(block) : 0;
    return Promise.resolve({ held, contended, token, from });
  }

  raise(_resource: Resource, token: number): Promise<void> {
    this.#store.raise(token);
    return Promise.resolve();
  }

  upgrade(request: HoldRequest): Promise<Grant | Busy | 'conflict' | 'lost'> {
    const answer = this.#store.upgrade(request);
    return Promise.resolve(typeof answer === 'string' ? answer : this.#answer(answer, request));
  }

  downgrade(request: HoldRequest): Promise<boolean> {
    return Promise.resolve(this.#store.downgrade(request));
  }

  inspect(resource: Resource): Promise<ResourceRecord> {
    return Promise.resolve(this.#store.inspect(resource));
  }

  async *inspectAll(): AsyncIterable<ResourceRecord> {
    for (const { resource } of this.#store.records.values()) {
      const record = this.#store.inspect(resource);
      if (record.holders.length + record.waiters.length > 0) yield record;
    }
  }

  force(resource: Resource): Promise<number> {
    return Promise.resolve(this.#store.force(resource));
  }

  addEdge(resource: Resource, edge: WaitEdge): Promise<void> {
    this.#store.open(resource).edges.set(edge.attempt, edge);
    return Promise.resolve();
  }

  removeEdge(resource: Resource, attempt: string): Promise<void> {
    this.#store.open(resource).edges.delete(attempt);
    return Promise.resolve();
  }

  readEdges(resource: Resource): Promise<readonly HolderEdges[]> {
    const { holders, edges } = this.#store.open(resource);
    const all = [...edges.values()];
    return Promise.resolve(
      [...holders.keys()].map((holdId) => ({ holdId, edges: all.filter((edge) => edge.holdId === holdId) })),
    );
  }

  tellVictim(processId: string, attempt: string, cycle: string): Promise<void> {
    const listener = this.#store.listeners.get(processId);
    queueMicrotask(() => listener?.onVictim(attempt, cycle));
    return Promise.resolve();
  }

  check(): Promise<'healthy'> {
    return Promise.resolve('healthy');
  }

  close(): Promise<void> {
    this.#store.listeners.delete(this.#processId);
    return Promise.resolve();
  }

  #answer(answer: MemoryAnswer, request: HoldRequest): Grant | Busy {
    const from = this.#instant();
    if ('holder' in answer) {
      const contended = this.#store.open(request.resource).queue.length > 0;
      return { kind: 'granted', token: answer.holder.token, lease: request.lease, from, contended };
    }
    return { kind: 'busy', ...answer, from, serverTime: this.#clock.monotonic() };
  }

  #instant(): Instant {
    return { monotonic: this.#clock.monotonic(), wall: this.#clock.now() };
  }
}
