import { hostname } from 'node:os';
import { Background, type Clock } from '@xiaoke/core';
import type {
  BackendListener,
  Grant,
  HoldMode,
  HoldRequest,
  LockBackend,
  PushedGrant,
  Resource,
} from './backend.ts';
import type { Attempt, Waiting } from './attempt.ts';
import { Bounded } from './bounded.ts';
import type { DeadlockDetector } from './deadlock/detector.ts';
import type { LockLostError, LostReason } from './errors.ts';
import { Hold, marginOf, type HoldOwner } from './hold.ts';
import { HoldTable } from './hold-table.ts';
import { KeyQueue } from './key-queue.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { LinkedSet } from './linked-set.ts';
import type { Lock } from './lock.ts';
import type { ResolvedConfig, ResolvedOptions } from './options.ts';
import type { Part } from './part.ts';
import { Release } from './release.ts';
import type { RemoteRequest } from './remote-request.ts';
import type { Solo } from './solo.ts';
import type { LockStatistics, LockEvent } from './statistics.ts';
import { Timeline } from './timeline.ts';

/** How many queues are kept at least, whether anybody stands in them or not. */
const MIN_QUEUES = 1_000;

/** What the engine is made of. */
export interface EngineParts {
  readonly backend: LockBackend;
  readonly options: ResolvedOptions;
  readonly statistics: LockStatistics;
}

/**
 * What one manager knows: its holds, its open requests, its queues; and what it does to the backend. It is the only one
 * that the backend talks to.
 */
export class LockEngine implements BackendListener, HoldOwner {
  /** Host, process and a random part; readable, since errors and inspections show it. */
  readonly processId: string;
  readonly backend: LockBackend;
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly statistics: LockStatistics;
  /** Deadlines of those who wait; they keep the process alive. */
  readonly waits: Timeline;
  /** Deadlines of leases and commands; they do not. */
  readonly leases: Timeline;
  readonly bounded: Bounded;
  readonly requests: Map<string, RemoteRequest> = new Map();
  readonly holds: HoldTable = new HoldTable();
  readonly attempts: LinkedSet<Attempt> = new LinkedSet();
  /** Releases that were sent and not answered. */
  readonly releases: LinkedSet<Release> = new LinkedSet();
  /** Upgrades that wait; a grant makes them look. */
  readonly upgrades: Map<string, { ask(): void }> = new Map();
  detector: DeadlockDetector | undefined;
  onLockLost: (lock: Lock, error: LockLostError) => void = () => {};
  closed = false;
  readonly #keeper: LeaseKeeper;
  readonly #background: Background;
  readonly #queues = new Map<string, KeyQueue>();
  readonly #solos = new Map<string, Set<Solo>>();
  readonly #watchers = new Map<string, Set<() => void>>();
  #maxQueues = MIN_QUEUES;
  #lastId = 0;

  constructor({ backend, options, statistics }: EngineParts) {
    const host = hostname()
      .replaceAll(/[^\w.-]/g, '-')
      .slice(0, 60);
    const unique = Math.floor(options.random() * 36 ** 7).toString(36);
    this.processId = `${host}~${process.pid}~${unique}`;
    this.backend = backend;
    this.options = options;
    this.clock = options.clock;
    this.statistics = statistics;
    this.waits = new Timeline(options.clock, true);
    this.leases = new Timeline(options.clock, false);
    this.bounded = new Bounded(this.leases, options.clock, options.commandTimeout);
    this.#background = new Background({ logger: options.logger });
    this.#keeper = new LeaseKeeper(backend, this.leases, options, {
      onRenewed: (hold) => statistics.renewed(hold.label, 'ok'),
      onRenewalFailed: (hold) => statistics.renewed(hold.label, 'error'),
    });
  }

  /** Whether there is next to nothing that a question could be sent together with. */
  get alone(): boolean {
    return this.attempts.size <= 1 && this.holds.size <= 1;
  }

  nextId(): string {
    this.#lastId += 1;
    return `${this.processId}:${this.#lastId.toString(36)}`;
  }

  requestFor(resource: Resource, config: ResolvedConfig, mode: HoldMode, block: number): HoldRequest {
    return {
      resource,
      holdId: this.nextId(),
      mode,
      lease: Math.ceil(Math.min(config.ttl, config.maxHold)),
      block,
      priority: config.priority,
      urgent: config.fair || config.priority > 0,
      weight: 0,
      limit: 0,
      owner: config.owner,
    };
  }

  queueOf(resource: Resource): KeyQueue {
    let queue = this.#queues.get(resource.key);
    if (queue === undefined) {
      if (this.#queues.size >= this.#maxQueues) this.#dropIdle();
      queue = new KeyQueue(this, resource);
      this.#queues.set(resource.key, queue);
    }
    return queue;
  }

  findQueue(resource: Resource): KeyQueue | undefined {
    return resource.kind === 'lock' ? this.#queues.get(resource.key) : undefined;
  }

  addSolo(solo: Solo): void {
    const id = solo.resource.kind + solo.resource.key;
    const solos = this.#solos.get(id);
    if (solos === undefined) this.#solos.set(id, new Set([solo]));
    else solos.add(solo);
  }

  deleteSolo(solo: Solo): void {
    const id = solo.resource.kind + solo.resource.key;
    const solos = this.#solos.get(id);
    if (solos?.delete(solo) === true && solos.size === 0) this.#solos.delete(id);
  }

  /** Those of this process who have `resource`. */
  *holdersOf(resource: Resource): Iterable<Part> {
    const turn = this.findQueue(resource)?.turn;
    if (turn !== undefined) yield turn;
    yield* this.#solos.get(resource.kind + resource.key) ?? [];
  }

  /** A grant becomes a hold. It is not watched before {@link begin}. */
  adopt(request: HoldRequest, grant: Grant): Hold {
    const hold = new Hold(request, grant, this);
    this.holds.add(hold);
    // A pushed grant has a short lease, in case that nobody is there to take it.
    if (grant.lease < request.lease) this.background(() => this.refresh(hold, 0), 'claim a lock');
    return hold;
  }

  /** Somebody starts to use `hold`, by the terms of `config`. */
  begin(hold: Hold, config: ResolvedConfig): void {
    hold.label = config.name;
    const until = config.maxHold === Infinity ? Infinity : this.clock.monotonic() + config.maxHold;
    if (hold.autoExtend === config.autoExtend && hold.until === until && hold.heapIndex >= 0) return;
    hold.autoExtend = config.autoExtend;
    hold.until = until;
    this.#keeper.watch(hold);
  }

  /** Renews `hold` now. Resolves to the first of `block` more tokens, or 0. */
  async refresh(hold: Hold, block: number): Promise<number> {
    const { resource, holdId, mode, token, ttl } = hold;
    const lease = Math.ceil(Math.min(ttl, hold.until - this.clock.monotonic() + marginOf(ttl)));
    const renewal = await this.bounded.run(
      () => this.backend.claim({ resource, holdId, mode, lease, token }, block),
      'renewal',
    );
    if (hold.over !== undefined) return 0;
    if (!renewal.held) {
      hold.lose('stolen');
      return 0;
    }
    hold.confirm(lease, renewal.from);
    if (renewal.contended) this.onContended(holdId, false);
    this.#keeper.watch(hold);
    return renewal.token;
  }

  /** Releases `hold`, unless it is over already. */
  giveUp(hold: Hold): Release {
    const release = new Release(this, hold);
    if (hold.over === undefined) {
      hold.over = 'released';
      this.#forget(hold);
      release.start(this.alone);
    }
    return release;
  }

  /** The answer to a release did not come: it is asked for until the lease has ended anyway. */
  releaseAgain(hold: Hold): void {
    this.background(() => this.#insist(() => this.backend.release(hold), hold.lease), 'release a lock again');
  }

  /** Takes `hold` from its user, for the end of the manager. */
  async retire(hold: Hold): Promise<void> {
    hold.lose('released');
    await this.bounded.run(() => this.backend.release(hold), 'release');
  }

  /** Calls `listener` whenever a lock may have changed hands, until it is taken back. */
  watch(key: string, listener: () => void): () => void {
    const listeners = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#watchers.delete(key);
    };
  }

  /** Leaves the queue, and gives back what was granted meanwhile. */
  giveBack(hold: HoldRequest): Promise<void> {
    return this.#insist(() => this.backend.cancel(hold), hold.lease);
  }

  background(work: () => Promise<unknown>, reason: string): void {
    this.#background.run(work, reason);
  }

  blocked(waiting: Waiting): void {
    if (waiting.done) return;
    waiting.attempt.onBlocked();
    this.detector?.blocked(waiting);
  }

  counted(event: LockEvent): void {
    this.statistics.count(event);
  }

  onGrant(grant: PushedGrant): void {
    const request = this.requests.get(grant.holdId);
    if (request !== undefined) request.onPush(grant);
    else this.upgrades.get(grant.holdId)?.ask();
    // A grant for somebody who gave up is given back by the cancellation that is on its way.
  }

  onContended(holdId: string, urgent: boolean): void {
    const hold = this.holds.get(holdId);
    if (hold === undefined) return;
    hold.contended = true;
    hold.user?.onContended(urgent);
  }

  onRevoked(holdId: string): void {
    this.holds.get(holdId)?.lose('forced');
  }

  onVictim(attempt: string, cycle: string): void {
    this.detector?.onVictim(attempt, cycle);
  }

  onGap(): void {
    for (const request of [...this.requests.values(), ...this.upgrades.values()]) request.ask();
    // Also who took a lock from us, or waits for it, may have been told to nobody.
    for (const hold of this.holds) this.#keeper.renewNow(hold);
  }

  onChanged(resource: Resource): void {
    for (const listener of this.#watchers.get(resource.key) ?? []) listener();
  }

  /** Waits for releases and what else runs in the background. */
  settled(timeout: number): Promise<boolean> {
    this.background(() => Promise.all([...this.releases].map((release) => release.result())), 'release');
    return this.#background.settled(timeout);
  }

  /** A queue that nobody stands in is kept for the next one, up to a number. */
  #dropIdle(): void {
    for (const [key, queue] of this.#queues) if (queue.idle) this.#queues.delete(key);
    this.#maxQueues = Math.max(MIN_QUEUES, 2 * this.#queues.size);
  }

  keep(hold: Hold): void {
    this.#keeper.onDue(hold);
  }

  onOver(hold: Hold, reason: LostReason): void {
    this.#forget(hold);
    // Nobody relies on it any more; others need not wait for the rest of the lease.
    if (reason === 'expired' || reason === 'connection' || reason === 'max-hold') this.releaseAgain(hold);
  }

  #forget(hold: Hold): void {
    this.#keeper.drop(hold);
    this.holds.delete(hold);
  }

  /** Tries until it works, or until the lease has ended it anyway. */
  async #insist(work: () => Promise<unknown>, lease: number): Promise<void> {
    const end = this.clock.monotonic() + lease;
    for (let delay = 25; ; delay = Math.min(delay * 2, 500)) {
      try {
        await this.bounded.run(work, 'clean-up');
        return;
      } catch {
        if (this.closed || this.clock.monotonic() + delay > end) return;
        await this.bounded.pause(delay);
      }
    }
  }
}
