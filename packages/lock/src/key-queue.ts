import type { Waiting } from './attempt.ts';
import type { Grant, Resource } from './backend.ts';
import type { LockEngine } from './engine.ts';
import type { LockLostError } from './errors.ts';
import type { Hold } from './hold.ts';
import type { Part } from './part.ts';
import { RemoteRequest } from './remote-request.ts';
import { Turn } from './turn.ts';
import { TurnQueue } from './turn-queue.ts';

/** The tokens that come with a grant, for as many turns. */
const MIN_BLOCK = 8;
const MAX_BLOCK = 1024;

/** A hold at the backend while the callers of this process take turns on it. */
interface Tenure {
  readonly hold: Hold;
  turn: Turn | undefined;
  /** How many turns there were. */
  turns: number;
  nextToken: number;
  lastToken: number;
  /** Tokens that were fetched ahead. */
  spare: { readonly first: number; readonly last: number } | undefined;
  fetching: boolean;
  urgent: boolean;
}

/**
 * The exclusive waits of this process for one key. One of them asks the backend on behalf of all; what it gets is passed
 * on locally without a round trip, first in, first out, and each turn has a fencing token of its own out of a block.
 * While another process waits, at most `maxLocalHandovers` turns are taken before the hold goes back.
 */
export class KeyQueue {
  readonly resource: Resource;
  readonly #engine: LockEngine;
  readonly #queue = new TurnQueue();
  #tenure: Tenure | undefined;
  #leader: RemoteRequest | undefined;
  #block = MIN_BLOCK;
  /** Somebody of another process waited at the end of the last tenure. */
  #contended = false;

  constructor(engine: LockEngine, resource: Resource) {
    this.#engine = engine;
    this.resource = resource;
  }

  /** Whose turn it is. */
  get turn(): Turn | undefined {
    return this.#tenure?.turn;
  }

  get idle(): boolean {
    return this.#tenure === undefined && this.#leader === undefined;
  }

  /** The place of the one that asks the backend for all, and those behind it. */
  get place(): { readonly holdId: string | undefined; readonly waiting: Iterable<Waiting> } {
    return { holdId: this.#leader?.request.holdId, waiting: this.#queue.waiting() };
  }

  /** Lets `waiting` have a turn as soon as it can. Returns whether it has to wait for somebody of this process. */
  enter(waiting: Waiting): boolean {
    if (this.idle) {
      this.#queue.push(waiting);
      this.#prepare(waiting);
      this.#lead(waiting);
      return false;
    }
    if (!waiting.attempt.patient) {
      waiting.refuse();
      return false;
    }
    this.#queue.push(waiting);
    this.#prepare(waiting);
    return true;
  }

  endTurn(turn: Turn): Promise<boolean> {
    const tenure = this.#tenure;
    // Lost, taken over or detached meanwhile: the hold is not ours to pass on.
    if (tenure?.turn !== turn) return this.#engine.giveUp(turn.hold);
    const held = tenure.hold.remaining() > 0;
    const next = this.#queue.peek();
    if (next !== undefined && held && this.#passOn(tenure, next)) return Promise.resolve(true);
    this.#tenure = undefined;
    this.#contended = tenure.hold.contended;
    this.#block = Math.min(MAX_BLOCK, Math.max(MIN_BLOCK, 2 * tenure.turns));
    const released = this.#engine.giveUp(tenure.hold);
    this.#advance();
    return released;
  }

  detach(turn: Turn): void {
    if (this.#tenure?.turn !== turn) return;
    this.#tenure = undefined;
    turn.hold.onLost = (error) => turn.onLost(error);
    this.#advance();
  }

  #prepare(waiting: Waiting): void {
    waiting.blockers = () => this.#blockers();
    waiting.place = () => ({ position: this.#positionOf(waiting) });
    waiting.leave = () => {
      if (this.#queue.peek() === undefined) this.#abandon();
    };
  }

  #blockers(): Iterable<Part> {
    const turn = this.#tenure?.turn;
    return turn === undefined ? this.#engine.holdersOf(this.resource) : [turn];
  }

  #positionOf(waiting: Waiting): number {
    let position = Math.max(this.#leader?.position ?? 1, 1);
    for (const other of this.#queue.waiting()) {
      if (other === waiting) return position;
      position += 1;
    }
    return position;
  }

  /** Nobody of this process waits any more. */
  #abandon(): void {
    const leader = this.#leader;
    this.#leader = undefined;
    if (leader !== undefined) this.#engine.background(() => leader.cancel(), 'leave the queue of a lock');
    this.#engine.forgetIdle(this);
  }

  #advance(): void {
    const next = this.#queue.peek();
    if (next === undefined) this.#engine.forgetIdle(this);
    else this.#lead(next);
  }

  /** Asks the backend, for `head` and whoever comes after it. */
  #lead(head: Waiting): void {
    const request = this.#engine.requestFor(this.resource, head.attempt.config, 'exclusive', this.#block);
    const asking = { queue: head.attempt.patient, fresh: !this.#contended };
    const leader = new RemoteRequest(this.#engine, request, asking, {
      onGranted: (grant) => this.#onGranted(leader, grant),
      onBusy: () => {
        this.#leader = undefined;
        head.refuse();
        this.#advance();
      },
      onFailed: (error) => {
        this.#leader = undefined;
        for (const waiting of this.#queue.waiting()) waiting.fail(error);
        this.#engine.forgetIdle(this);
      },
      onQueued: () => this.#onQueued(),
    });
    this.#leader = leader;
    leader.start();
  }

  #onQueued(): void {
    for (const waiting of this.#queue.waiting()) this.#engine.blocked(waiting);
  }

  #onGranted(leader: RemoteRequest, grant: Grant): void {
    this.#leader = undefined;
    const hold = this.#engine.adopt(leader.request, grant);
    const tenure: Tenure = {
      hold,
      turn: undefined,
      turns: 0,
      nextToken: grant.token,
      lastToken: grant.token + leader.request.block - 1,
      spare: undefined,
      fetching: false,
      urgent: false,
    };
    hold.onLost = (error) => this.#onLost(tenure, error);
    hold.onContended = (urgent) => (tenure.urgent ||= urgent);
    this.#tenure = tenure;
    const first = this.#queue.shift();
    if (first !== undefined) this.#give(tenure, first);
    else {
      this.#tenure = undefined;
      this.#engine.background(() => this.#engine.giveUp(hold), 'release a lock that nobody wants any more');
      this.#engine.forgetIdle(this);
    }
  }

  #onLost(tenure: Tenure, error: LockLostError): void {
    if (this.#tenure === tenure) {
      this.#tenure = undefined;
      this.#advance();
    }
    tenure.turn?.onLost(error);
  }

  /** Gives the next turn of the same hold to `next`, if that is fair, certain and possible. */
  #passOn(tenure: Tenure, next: Waiting): boolean {
    const { hold } = tenure;
    const { config } = next.attempt;
    const fair =
      !tenure.urgent && !(hold.contended && tenure.turns >= this.#engine.options.maxLocalHandovers);
    const same = config.autoExtend && hold.autoExtend && config.ttl === hold.ttl;
    if (!fair || !same || hold.sealed || hold.remaining() < hold.ttl / 3) return false;
    if (tenure.nextToken > tenure.lastToken) {
      if (tenure.spare === undefined) return false;
      tenure.nextToken = tenure.spare.first;
      tenure.lastToken = tenure.spare.last;
      tenure.spare = undefined;
    }
    this.#queue.shift();
    this.#engine.counted('local-handover');
    this.#give(tenure, next);
    if (tenure.lastToken - tenure.nextToken < this.#block / 2) this.#fetchTokens(tenure);
    return true;
  }

  #give(tenure: Tenure, waiting: Waiting): void {
    const { hold } = tenure;
    const { config } = waiting.attempt;
    this.#engine.begin(hold, config);
    const turn = new Turn(this, hold, tenure.nextToken);
    tenure.nextToken += 1;
    tenure.turns += 1;
    tenure.turn = turn;
    waiting.grant(turn);
  }

  // Ahead of time, so that a busy key never waits for the server only because its tokens ran out.
  #fetchTokens(tenure: Tenure): void {
    if (tenure.fetching || tenure.spare !== undefined) return;
    tenure.fetching = true;
    this.#block = Math.min(MAX_BLOCK, this.#block * 2);
    const block = this.#block;
    const work = async (): Promise<void> => {
      try {
        const token = await this.#engine.refresh(tenure.hold, block);
        if (token > 0) tenure.spare = { first: token, last: token + block - 1 };
      } finally {
        tenure.fetching = false;
      }
    };
    this.#engine.background(work, 'fetch fencing tokens');
  }
}
