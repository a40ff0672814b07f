import type { Waiting, WaitHost } from './attempt.ts';
import type { Grant, Resource } from './backend.ts';
import type { LockEngine } from './engine.ts';
import type { Part } from './part.ts';
import type { Release } from './release.ts';
import { RemoteRequest, type RequestUser } from './remote-request.ts';
import { Tenure } from './tenure.ts';
import type { Turn } from './turn.ts';
import { TurnQueue } from './turn-queue.ts';

/**
 * The tokens that come with a grant, for as many turns. So few of them at first that 250,000 acquisitions a second use them
 * up no faster than a clock counts microseconds, which is what keeps them growing after Redis lost its counter.
 */
const MIN_BLOCK = 4;
const MAX_BLOCK = 1024;

/**
 * The exclusive waits of this process for one key. One of them asks the backend on behalf of all; what it gets is passed
 * on locally without a round trip, first in, first out, and each turn has a fencing token of its own out of a block.
 * While another process waits, at most `maxLocalHandovers` turns are taken before the hold goes back.
 */
export class KeyQueue implements RequestUser, WaitHost {
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
    const { idle } = this;
    if (!idle && !waiting.attempt.patient) {
      waiting.refuse();
      return false;
    }
    waiting.host = this;
    this.#queue.push(waiting);
    if (idle) this.#lead(waiting);
    return !idle;
  }

  /** The turn is over: the hold goes to the next caller of this process, or back. */
  endTurn(turn: Turn): Release | 'passed on' {
    const tenure = this.#tenure;
    // Lost, taken over or detached meanwhile: the hold is not ours to pass on.
    if (tenure?.turn !== turn) return this.#engine.giveUp(turn.hold);
    const next = this.#queue.peek();
    if (next !== undefined && this.#passOn(tenure, next)) return 'passed on';
    this.#tenure = undefined;
    this.#contended = tenure.hold.contended;
    this.#block = Math.min(MAX_BLOCK, Math.max(MIN_BLOCK, 2 * tenure.turns));
    const release = this.#engine.giveUp(tenure.hold);
    this.#advance();
    return release;
  }

  detach(turn: Turn): void {
    if (this.#tenure?.turn !== turn) return;
    this.#tenure = undefined;
    turn.hold.user = { onLost: (error) => turn.user?.onLost(error), onContended: () => {} };
    this.#advance();
  }

  onTenureLost(tenure: Tenure): void {
    if (this.#tenure !== tenure) return;
    this.#tenure = undefined;
    this.#advance();
  }

  blockersOf(): Iterable<Part> {
    const turn = this.#tenure?.turn;
    return turn === undefined ? this.#engine.holdersOf(this.resource) : [turn];
  }

  positionOf(waiting: Waiting): number {
    let position = this.#leader?.position ?? 1;
    // The backend has not told its place yet.
    if (position === 0) return 0;
    for (const other of this.#queue.waiting()) {
      if (other === waiting) return position;
      position += 1;
    }
    return position;
  }

  onLeft(): void {
    if (this.#queue.peek() !== undefined) return;
    // Nobody of this process waits any more.
    const leader = this.#leader;
    this.#leader = undefined;
    if (leader !== undefined) this.#engine.background(() => leader.cancel(), 'leave the queue of a lock');
  }

  onGranted({ request }: RemoteRequest, grant: Grant): void {
    this.#leader = undefined;
    const hold = this.#engine.adopt(request, grant);
    const first = this.#queue.shift();
    if (first === undefined) {
      this.#engine.giveUp(hold);
      return;
    }
    this.#tenure = new Tenure(this, hold, request, grant);
    this.#give(this.#tenure, first);
  }

  onBusy(): void {
    this.#leader = undefined;
    this.#queue.peek()?.refuse();
    this.#advance();
  }

  onFailed(_request: RemoteRequest, error: unknown): void {
    this.#leader = undefined;
    for (const waiting of this.#queue.waiting()) waiting.fail(error);
  }

  onQueued(): void {
    for (const waiting of this.#queue.waiting()) this.#engine.blocked(waiting);
  }

  #advance(): void {
    const next = this.#queue.peek();
    if (next !== undefined) this.#lead(next);
  }

  /** Asks the backend, for `head` and whoever comes after it. */
  #lead(head: Waiting): void {
    const request = this.#engine.requestFor(this.resource, head.attempt.config, 'exclusive', this.#block);
    const asking = { queue: head.attempt.patient, fresh: !this.#contended };
    this.#leader = new RemoteRequest(this.#engine, request, asking, this);
    this.#leader.start();
  }

  /** Gives the next turn of the same hold to `next`, if that is fair, certain and possible. */
  #passOn(tenure: Tenure, next: Waiting): boolean {
    const { hold } = tenure;
    const { config } = next.attempt;
    const fair =
      !tenure.urgent && !(hold.contended && tenure.turns >= this.#engine.options.maxLocalHandovers);
    const same = config.autoExtend && hold.autoExtend && config.ttl === hold.ttl;
    if (!fair || !same || hold.sealed || !tenure.provided || hold.remaining() < hold.ttl / 3) return false;
    this.#queue.shift();
    this.#engine.counted('local-handover');
    this.#give(tenure, next);
    if (tenure.left < this.#block / 2) this.#fetchTokens(tenure);
    return true;
  }

  #give(tenure: Tenure, waiting: Waiting): void {
    this.#engine.begin(tenure.hold, waiting.attempt.config);
    waiting.grant(tenure.next());
  }

  // Ahead of time, so that a busy key never waits for the server only because its tokens ran out.
  #fetchTokens(tenure: Tenure): void {
    if (tenure.fetching) return;
    tenure.fetching = true;
    this.#block = Math.min(MAX_BLOCK, this.#block * 2);
    const block = this.#block;
    const work = async (): Promise<void> => {
      try {
        const token = await this.#engine.refresh(tenure.hold, block);
        if (token > 0) tenure.provide(token, block);
      } finally {
        tenure.fetching = false;
      }
    };
    this.#engine.background(work, 'fetch fencing tokens');
  }
}
