import { sleep, systemClock, systemRandom, withTimeout, type Background } from '@xiaoke/core';
import type { RedisConnection } from '@xiaoke/core/redis';
import type { Session, SessionListener, TurnReply, TurnRequest } from '../backend.ts';
import { QueueError } from '../errors.ts';
import { chunks } from './enqueue-buffer.ts';
import type { Keys, PartitionKeys } from './keys.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import { isTransient, RedisLink } from './link.ts';
import { claimsOf } from './orphans.ts';
import { scripts, sendTurn } from './scripts.ts';
import { toReply, type RawReply } from './turn-reply.ts';

/** What a session is made of. */
export interface RedisSessionOptions {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly partition: number;
  readonly worker: string;
  readonly slots: number;
  readonly queues: readonly string[];
  readonly leaseMs: number;
  readonly background: Background;
  readonly listener: SessionListener;
  readonly keeper: LeaseKeeper | undefined;
  /** A turn ended tasks that other tasks wait for. */
  readonly relay: () => void;
  readonly closed: (session: RedisSession) => void;
}

/** Numbered turns of a queue, in two rows: even and odd. A row has one turn under way at most. */
interface Rows {
  readonly last: [number, number];
  readonly free: (0 | 1)[];
}

const BLOCK_SILENCE = 13_000;

/** A worker pool's place at one partition: an identity with a lease, a connection for turns, and one that waits. */
export class RedisSession implements Session {
  readonly turnsAtOnce = 2;
  readonly partition: number;
  readonly worker: string;
  readonly listener: SessionListener;
  readonly #options: RedisSessionOptions;
  readonly #partitionKeys: PartitionKeys;
  readonly #link: RedisLink;
  readonly #blocking: RedisLink;
  readonly #rows = new Map<string, Rows>();
  readonly #needsAll = new Set<string>();
  /** Turns that were sent more than once and have no answer: it may give claims of old. */
  readonly #repeated = new Set<string>();
  #slots: number;
  #renewedAt = -Infinity;
  #announcedAt = -Infinity;
  #searchedAt: number = systemClock.monotonic();
  #blocked = false;
  #troubled = false;
  #closed = false;

  constructor(options: RedisSessionOptions) {
    this.#options = options;
    this.partition = options.partition;
    this.worker = options.worker;
    this.#slots = options.slots;
    this.listener = options.listener;
    this.#partitionKeys = options.keys.partition(options.partition);
    // A dead connection has to be replaced before the lease has run out.
    this.#link = new RedisLink(options.connection, Math.max(200, Math.min(3_000, options.leaseMs / 4)));
    this.#blocking = new RedisLink(options.connection, BLOCK_SILENCE);
    options.background.run(() => this.beat(), 'announce a worker');
  }

  async turn(queue: string, request: TurnRequest): Promise<TurnReply> {
    const rows = this.#rowsOf(queue);
    const row = rows.free.pop();
    if (row === undefined) throw new QueueError('UNSUPPORTED', 'Two turns of this queue are under way');
    try {
      const starting = this.#options.keeper?.starting;
      if (starting !== undefined) await starting;
      rows.last[row] += 2;
      return await this.#repeat(queue, rows.last[row], request);
    } finally {
      this.#repeated.delete(`${queue}\n${rows.last[row]}`);
      rows.free.push(row);
    }
  }

  async #repeat(queue: string, turn: number, request: TurnRequest): Promise<TurnReply> {
    const full = this.#needsAll.delete(queue);
    const keys = this.#options.keys.queue(this.partition, queue);
    let lost: readonly string[] | undefined;
    for (let tries = 0; ; tries += 1) {
      if (this.#closed) throw new QueueError('WORKER_CLOSING', 'The session is closed');
      if (tries > 0) this.#repeated.add(`${queue}\n${turn}`);
      const leaseMs = this.#leaseDue();
      const sentAt = systemClock.monotonic();
      try {
        const frame = {
          worker: this.worker,
          queue,
          turn,
          again: tries > 0,
          leaseMs,
          channel: this.#partitionKeys.finishedChannel,
          full,
        };
        const raw = (await sendTurn(this.#link, keys, frame, request)) as RawReply;
        this.#recovered();
        if (leaseMs > 0) this.#renewed();
        const reply = toReply(raw);
        if (reply.needsAll) this.#needsAll.add(queue);
        if (request.settlements.some(({ links }) => links?.parent !== undefined)) this.#options.relay();
        // What the first answer says of the settlements holds; to a repeated turn they are old.
        lost ??= reply.lost;
        // Who was stopped for so long may have lost these claims already. Asked again, the turn gives those that stand.
        if (reply.claims.length > 0 && this.#mayHaveLapsed(sentAt)) continue;
        return lost === reply.lost ? reply : { ...reply, lost };
      } catch (error) {
        if (!isTransient(error) || this.#closed) throw error;
        this.#trouble(error);
        this.listener.onDelay(queue);
        await sleep(Math.min(10 * 2 ** Math.min(tries, 7), 500) * (0.5 + systemRandom() / 2), { ref: false });
      }
    }
  }

  async wait(queues: readonly string[], timeoutMs: number): Promise<readonly string[]> {
    const markers = queues.map((queue) => this.#options.keys.queue(this.partition, queue).marker);
    const seconds = Math.max(0.001, timeoutMs / 1_000);
    this.#blocked = true;
    try {
      const popped = (await this.#blocking.call(
        'BZPOPMIN',
        ...markers,
        this.#partitionKeys.wake(this.worker),
        seconds,
      )) as [string, string, string] | null;
      if (popped === null) return (await this.#hasTasks(queues)) ? queues : [];
      const index = markers.indexOf(popped[0]);
      return index < 0 ? [] : [queues[index] ?? ''];
    } catch (error) {
      if (this.#closed) return [];
      this.#trouble(error);
      await sleep(50 + 100 * systemRandom(), { ref: false });
      return queues;
    } finally {
      this.#blocked = false;
    }
  }

  /** Whether anything waits or is delayed: one command, where a turn that finds nothing makes eight. */
  async #hasTasks(queues: readonly string[]): Promise<boolean> {
    const keys = queues.map((queue) => this.#options.keys.queue(this.partition, queue));
    const places = keys.flatMap(({ ready, delayed }) => [...ready, delayed]);
    return Number(await this.#link.call('EXISTS', ...places)) > 0;
  }

  passOn(queue: string): void {
    const { marker } = this.#options.keys.queue(this.partition, queue);
    this.#options.background.run(() => this.#link.call('ZADD', marker, '0', '0'), 'pass a wake-up on');
  }

  async beat(): Promise<void> {
    if (this.#closed) return;
    await this.#giveUpOrphans();
    const held = this.listener.held();
    if (held.length === 0 && systemClock.monotonic() - this.#renewedAt < this.#options.leaseMs / 3 - 50)
      return;
    await this.#announce();
    const byQueue = groupBy(held);
    const keys = [this.#partitionKeys.leases];
    const args: (string | number)[] = [this.worker, this.#options.leaseMs];
    const asked: string[] = [];
    for (const [queue, claims] of byQueue) {
      keys.push(this.#options.keys.queue(this.partition, queue).claims);
      args.push(claims.length);
      for (const { id, token } of claims) {
        args.push(id, `${token}|`);
        asked.push(id);
      }
    }
    const reply = (await this.#link.run(scripts.beat, keys, args)) as string[];
    this.#renewed();
    const lost = asked.filter((_, index) => reply[index] === '!');
    if (lost.length > 0) this.listener.onLost(lost);
    asked.forEach((id, index) => {
      const why = reply[index] ?? '';
      if (why !== '' && why !== '!') this.listener.onCancel(id, reasonOf(why));
    });
  }

  interrupt(): void {
    if (!this.#blocked || this.#closed) return;
    const key = this.#partitionKeys.wake(this.worker);
    this.#options.background.run(async () => {
      await this.#link.call('ZADD', key, '0', '0');
      await this.#link.call('PEXPIRE', key, 60_000);
    }, 'interrupt a wait');
  }

  resize(slots: number): void {
    this.#slots = slots;
    this.#announcedAt = -Infinity;
    this.#options.background.run(() => this.#announce(), 'announce a worker');
  }

  async close(timeoutMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.keeper?.drop(this.worker);
    this.#blocking.close();
    try {
      await withTimeout(this.#giveBack(), Math.max(1, timeoutMs), 'leaving');
    } catch {
      // With Redis away, the lease runs out and what is held comes back by itself.
    }
    this.#link.close();
    this.#options.closed(this);
  }

  /** Puts back what this worker has by Redis's account and does not know of. */
  async #giveUpOrphans(): Promise<void> {
    const { leaseMs, queues, keys } = this.#options;
    if (systemClock.monotonic() - this.#searchedAt < leaseMs) return;
    this.#searchedAt = systemClock.monotonic();
    for (const queue of queues) {
      const { claims, all } = keys.queue(this.partition, queue);
      const found = await claimsOf(this.#link, { claims, worker: this.worker, olderThanMs: leaseMs });
      const held = new Set(this.listener.held().map(({ id }) => id));
      // A turn that is repeated may be about to bring them.
      const orphans = this.#repeated.size > 0 ? [] : found.filter((id) => !held.has(id)).slice(0, 500);
      if (orphans.length > 0) await this.#leave(queue, all, { ids: orphans, leaves: false });
    }
  }

  async #leave(
    queue: string,
    all: readonly string[],
    { ids, leaves }: { readonly ids: readonly string[]; readonly leaves: boolean },
  ): Promise<void> {
    const frame = [this.worker, queue, this.#partitionKeys.finishedChannel, leaves ? '1' : ''];
    for (const part of chunks(ids)) await this.#link.run(scripts.leave, all, [...frame, ...part]);
  }

  async #giveBack(): Promise<void> {
    const held = this.listener.held();
    for (const queue of this.#options.queues) {
      const ids = held.filter((claim) => claim.queue === queue).map(({ id }) => id);
      const { all } = this.#options.keys.queue(this.partition, queue);
      await this.#leave(queue, all, { ids, leaves: true });
    }
    await Promise.all([
      this.#link.call('ZREM', this.#partitionKeys.leases, this.worker),
      this.#link.call('HDEL', this.#partitionKeys.workers, this.worker),
      this.#link.call('DEL', this.#partitionKeys.wake(this.worker)),
    ]);
  }

  async #announce(): Promise<void> {
    if (this.#closed || systemClock.monotonic() - this.#announcedAt < 60_000) return;
    const { queues } = this.#options;
    const slots = this.#slots;
    await Promise.all([
      this.#link.call('HSET', this.#partitionKeys.workers, this.worker, JSON.stringify({ slots, queues })),
      this.#link.call('SADD', this.#partitionKeys.queues, ...queues),
    ]);
    this.#announcedAt = systemClock.monotonic();
  }

  #rowsOf(queue: string): Rows {
    const known = this.#rows.get(queue);
    if (known !== undefined) return known;
    const made: Rows = { last: [0, 1], free: [0, 1] };
    this.#rows.set(queue, made);
    return made;
  }

  /** The lease is renewed by turns, but not by each of them. */
  #leaseDue(): number {
    const { leaseMs } = this.#options;
    return systemClock.monotonic() - this.#renewedAt > leaseMs / 6 ? leaseMs : 0;
  }

  /** Whether the lease can have run out since: it was at most a sixth of it old then. */
  #mayHaveLapsed(since: number): boolean {
    return systemClock.monotonic() - since > (this.#options.leaseMs * 5) / 6;
  }

  #renewed(): void {
    this.#renewedAt = systemClock.monotonic();
    this.#options.keeper?.renewed(this.worker);
  }

  // One outage is one error, however many commands it fails.
  #trouble(error: unknown): void {
    if (this.#troubled) return;
    this.#troubled = true;
    this.listener.onError(error);
  }

  #recovered(): void {
    this.#troubled = false;
  }
}

/** The reason inside what a cancellation leaves with a claim. */
export function reasonOf(why: string): string {
  const { reason } = JSON.parse(why) as { reason?: string };
  return reason ?? 'cancelled';
}

function groupBy<T extends { readonly queue: string }>(items: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(item.queue);
    if (group === undefined) groups.set(item.queue, [item]);
    else group.push(item);
  }
  return groups;
}
