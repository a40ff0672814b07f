import { runInBackground, type Clock, type Logger, type Random } from '@xiaoke/core';
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
import { majorityOf, vote, type Count } from './ballot.ts';
import { Healer } from './healer.ts';
import { mergeEdges, mergeRecords } from './merge-records.ts';
import { RestartGuard } from './restart-guard.ts';
import type { Voter } from './voter.ts';

/** What the backend needs beside its voters. */
export interface QuorumBackendOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly commandTimeout: number;
  /** The manager's default lease, in milliseconds. */
  readonly lease: number;
}

/** How long a loser waits before it tries again, in milliseconds: at random, so that two do not split votes for ever. */
const RETRY_MIN = 5;
const RETRY_SPREAD = 20;
/** How long a process that gave a contended hold back lets others try first, in milliseconds. */
const REST = 40;
const MAX_RESTS = 1_000;
/** How long one voter may take over a vote, in milliseconds; its vote is rarely the one that decides. */
const MIN_VOTE = 100;
const MAX_VOTE = 500;

/**
 * Holds at several independent servers: whoever has a majority has the lock. Sound for exclusive and shared locks, since
 * two majorities have a server in common and that one admits only what goes together. There is no queue: a server's own
 * order would be no order of all, so losers try again after a random pause.
 */
export class QuorumBackend implements LockBackend {
  readonly kind = 'quorum';
  readonly tokensAreGlobal = false;
  readonly #voters: readonly Voter[];
  readonly #indexes: readonly number[];
  readonly #majority: number;
  readonly #options: QuorumBackendOptions;
  readonly #guard: RestartGuard;
  readonly #healer: Healer;
  readonly #unwatch: (() => void)[] = [];
  /** Until when this process does not ask for a key again. */
  readonly #rests = new Map<string, number>();

  constructor(voters: readonly Voter[], options: QuorumBackendOptions) {
    this.#voters = voters;
    this.#indexes = voters.map((_, index) => index);
    this.#majority = majorityOf(voters.length);
    this.#options = options;
    this.#guard = new RestartGuard(voters, options);
    this.#healer = new Healer(options.logger);
  }

  async start(processId: string, listener: BackendListener): Promise<void> {
    for (const [index, voter] of this.#voters.entries()) {
      const unwatch = voter.onConnection((up) => {
        // Never rejects: a voter that cannot be looked at does not vote.
        if (up)
          runInBackground(() => this.#guard.lookAt(index), 'look at a server of the quorum', this.#options);
        else this.#guard.lost(index);
      });
      this.#unwatch.push(unwatch);
    }
    await Promise.all(this.#voters.map(({ backend }) => backend.start(processId, listener)));
    await this.#guard.lookAtAll();
  }

  async acquire(request: HoldRequest, { queue }: Asking): Promise<Grant | Busy> {
    const from = this.#instant();
    const rest = this.#restOf(request.resource);
    if (rest > 0) return this.#busy(from, rest);
    this.#guard.sawLease(request.lease);
    const count = await this.#vote(
      (voter) => voter.attempt(request, queue),
      (answer, index) => answer.kind === 'granted' && this.#guard.mayVote(index),
      request.lease,
    );
    const grant = await this.#settleGrant(request, count.accepted, from);
    if (grant !== undefined) return grant;
    // Also where the answer did not come in time: it may have been granted all the same.
    await this.#vote(
      (voter) => voter.cancel(request).then(() => true),
      (gone) => gone,
      request.lease,
    );
    return this.#busy(from, RETRY_MIN + this.#options.random() * RETRY_SPREAD);
  }

  async cancel(hold: HoldRef): Promise<void> {
    this.#healer.ended(hold.holdId);
    await this.#need('cancellation', (voter) => voter.cancel(hold).then(() => true));
  }

  async release(hold: HoldRef, contended = false): Promise<boolean> {
    if (contended) this.#rest(hold.resource);
    this.#healer.ended(hold.holdId);
    const { accepted, refused } = await this.#vote(
      (voter) => voter.release(hold),
      (released) => released,
      this.#options.lease,
    );
    if (accepted.length >= this.#majority) return true;
    if (refused.length > this.#voters.length - this.#majority) return false;
    throw new Error('Too few servers of the quorum answered the release');
  }

  async renew(holds: readonly RenewRequest[]): Promise<readonly (Renewal | Error)[]> {
    return await Promise.all(
      holds.map((hold) => this.claim(hold, 0).catch((error: unknown) => error as Error)),
    );
  }

  async claim(hold: RenewRequest, block: number): Promise<Renewal> {
    const from = this.#instant();
    const without: Voter[] = [];
    let held = 0;
    this.#healer.asked(hold.holdId, this.#voters.length);
    const { accepted, refused } = await this.#vote(
      ({ backend }) =>
        backend.claim(hold, block).catch((error: unknown) => {
          this.#healer.answered(hold.holdId);
          throw error;
        }),
      (renewal, index) => {
        if (renewal.held) held += 1;
        else without.push(this.#voter(index));
        // Answers go on coming after the majority has decided.
        if (held >= this.#majority) for (const voter of without.splice(0)) this.#healer.heal(voter, hold);
        this.#healer.answered(hold.holdId);
        return renewal.held;
      },
      hold.lease,
    );
    const contended = accepted.some((renewal) => renewal.contended);
    if (accepted.length >= this.#majority) {
      const token = block === 0 ? 0 : Math.max(...accepted.map((renewal) => renewal.token));
      if (block > 0) await this.raise(hold.resource, token + block - 1);
      return { held: true, contended, token, from };
    }
    if (refused.length > this.#voters.length - this.#majority)
      return { held: false, contended, token: 0, from };
    throw new Error('Too few servers of the quorum answered the renewal');
  }

  async raise(resource: Resource, token: number): Promise<void> {
    await this.#need('raising of a token', ({ backend }) => backend.raise(resource, token).then(() => true));
  }

  async upgrade(request: HoldRequest): Promise<Grant | Busy | 'conflict' | 'lost'> {
    const from = this.#instant();
    const count = await this.#vote(
      ({ backend }) => backend.upgrade(request),
      (answer, index) =>
        typeof answer === 'object' && answer.kind === 'granted' && this.#guard.mayVote(index),
      request.lease,
    );
    const grants = count.accepted.filter((answer) => typeof answer === 'object');
    const grant = await this.#settleGrant(request, grants, from);
    if (grant !== undefined) return grant;
    const tolerable = this.#voters.length - this.#majority;
    for (const verdict of ['lost', 'conflict'] as const) {
      if (count.refused.filter((answer) => answer === verdict).length > tolerable) return verdict;
    }
    return this.#busy(from, RETRY_MIN + this.#options.random() * RETRY_SPREAD);
  }

  async downgrade(request: HoldRequest): Promise<boolean> {
    const { accepted, refused } = await this.#vote(
      ({ backend }) => backend.downgrade(request),
      (held) => held,
      request.lease,
    );
    if (accepted.length >= this.#majority) return true;
    if (refused.length > this.#voters.length - this.#majority) return false;
    throw new Error('Too few servers of the quorum answered the downgrade');
  }

  async inspect(resource: Resource): Promise<ResourceRecord> {
    const records = await this.#need('inspection', ({ backend }) => backend.inspect(resource));
    return mergeRecords(resource, records, this.#majority);
  }

  async *inspectAll(): AsyncIterable<ResourceRecord> {
    const seen = new Set<string>();
    for await (const resource of this.#listed()) {
      const id = `${resource.kind}:${resource.key}`;
      if (seen.has(id)) continue;
      seen.add(id);
      const record = await this.inspect(resource);
      if (record.holders.length + record.waiters.length > 0) yield record;
    }
  }

  /** What any server that can be listed has. */
  async *#listed(): AsyncIterable<Resource> {
    for (const { backend } of this.#voters) {
      try {
        for await (const { resource } of backend.inspectAll()) yield resource;
      } catch (error) {
        this.#options.logger.debug({ err: error }, 'a server of the quorum cannot be listed');
      }
    }
  }

  async force(resource: Resource): Promise<number> {
    const counts = await this.#need('forced release', ({ backend }) => backend.force(resource));
    return Math.max(...counts);
  }

  async addEdge(resource: Resource, edge: WaitEdge): Promise<void> {
    await this.#need('edge', ({ backend }) => backend.addEdge(resource, edge));
  }

  async removeEdge(resource: Resource, attempt: string): Promise<void> {
    await this.#need('removal of an edge', ({ backend }) => backend.removeEdge(resource, attempt));
  }

  async readEdges(resource: Resource): Promise<readonly HolderEdges[]> {
    const answers = await this.#need('edges', ({ backend }) => backend.readEdges(resource));
    return mergeEdges(answers, this.#majority);
  }

  async tellVictim(processId: string, attempt: string, cycle: string): Promise<void> {
    await this.#need('message', ({ backend }) => backend.tellVictim(processId, attempt, cycle));
  }

  async check(signal: AbortSignal): Promise<'healthy' | 'degraded' | 'unhealthy'> {
    const { commandTimeout } = this.#options;
    const states = await Promise.all(
      this.#voters.map(
        async ({ backend }) =>
          await this.#within(
            backend.check(signal).catch(() => 'unhealthy' as const),
            commandTimeout,
            'unhealthy' as const,
          ),
      ),
    );
    const healthy = states.filter((state) => state === 'healthy').length;
    if (healthy === states.length) return 'healthy';
    return healthy >= this.#majority ? 'degraded' : 'unhealthy';
  }

  async close(timeout: number): Promise<void> {
    for (const unwatch of this.#unwatch.splice(0)) unwatch();
    await Promise.all(this.#voters.map(({ backend }) => backend.close(timeout)));
  }

  /** A majority becomes a grant whose tokens exceed all earlier ones, also at the servers that did not take part. */
  async #settleGrant(
    request: HoldRequest,
    accepted: readonly (Grant | Busy)[],
    from: Instant,
  ): Promise<Grant | undefined> {
    if (accepted.length < this.#majority) return undefined;
    const token = Math.max(...accepted.map((answer) => (answer.kind === 'granted' ? answer.token : 0)));
    try {
      // The next majority has a server of this one in common, and mints more than that one has seen.
      const last = token + request.block - 1;
      await this.#need('token', (voter) => voter.confirm(request, token, last).then(() => true));
    } catch {
      return undefined;
    }
    return { kind: 'granted', token, lease: request.lease, from, contended: false };
  }

  #vote<T>(
    ask: (voter: Voter) => Promise<T>,
    accepts: (answer: T, index: number) => boolean,
    lease: number,
  ): Promise<Count<T>> {
    const timeout = Math.min(
      Math.max(lease * 0.05, MIN_VOTE),
      lease / 3,
      MAX_VOTE,
      this.#options.commandTimeout,
    );
    return vote({
      voters: this.#indexes,
      ask: async (index) => await ask(this.#voter(index)),
      accepts,
      timeout,
      clock: this.#options.clock,
    });
  }

  /** The answers of a majority; rejects when it cannot be had. */
  async #need<T>(what: string, ask: (voter: Voter) => Promise<T>): Promise<readonly T[]> {
    const { accepted, failed } = await vote({
      voters: this.#voters,
      ask,
      accepts: () => true,
      timeout: this.#options.commandTimeout,
      clock: this.#options.clock,
    });
    if (accepted.length >= this.#majority) return accepted;
    throw new Error(`Too few servers of the quorum answered: ${what}`, { cause: failed[0] });
  }

  #within<T>(work: Promise<T>, timeout: number, otherwise: T): Promise<T> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.setTimeout(() => resolve(otherwise), timeout).unref();
      void work.then((value) => {
        timer.cancel();
        resolve(value);
      });
    });
  }

  #voter(index: number): Voter {
    const voter = this.#voters[index];
    if (voter === undefined) throw new RangeError(`There is no voter ${index}`);
    return voter;
  }

  #rest({ key }: Resource): void {
    if (this.#rests.size >= MAX_RESTS) this.#rests.clear();
    this.#rests.set(key, this.#options.clock.monotonic() + REST);
  }

  #restOf({ key }: Resource): number {
    const until = this.#rests.get(key);
    if (until === undefined) return 0;
    const left = until - this.#options.clock.monotonic();
    if (left <= 0) this.#rests.delete(key);
    return left;
  }

  #busy(from: Instant, retryAfter: number): Busy {
    return { kind: 'busy', position: 0, retryAfter, from, serverTime: 0 };
  }

  #instant(): Instant {
    return { monotonic: this.#options.clock.monotonic(), wall: this.#options.clock.now() };
  }
}
