import type { Grant, HoldRequest } from './backend.ts';
import type { LockLostError } from './errors.ts';
import type { Hold, HoldUser } from './hold.ts';
import type { KeyQueue } from './key-queue.ts';
import { Turn } from './turn.ts';

/** A hold at the backend while the callers of this process take turns on it, each with a token out of a block. */
export class Tenure implements HoldUser {
  readonly hold: Hold;
  turn: Turn | undefined;
  /** How many turns there were. */
  turns = 0;
  /** Somebody waits who must not be passed by. */
  urgent = false;
  /** More tokens are on their way. */
  fetching = false;
  readonly #queue: KeyQueue;
  #nextToken: number;
  #lastToken: number;
  /** Tokens that were fetched ahead. */
  #spare: { readonly first: number; readonly last: number } | undefined;

  constructor(queue: KeyQueue, hold: Hold, { block }: HoldRequest, { token }: Grant) {
    this.#queue = queue;
    this.hold = hold;
    this.#nextToken = token;
    this.#lastToken = token + block - 1;
    hold.user = this;
  }

  /** Whether there is a token for one more turn. */
  get provided(): boolean {
    return this.#nextToken <= this.#lastToken || this.#spare !== undefined;
  }

  /** How many turns the tokens are for, without those fetched ahead; Infinity when some were. */
  get left(): number {
    return this.#spare === undefined ? this.#lastToken - this.#nextToken + 1 : Infinity;
  }

  /** Tokens that were fetched ahead. */
  provide(first: number, block: number): void {
    this.#spare = { first, last: first + block - 1 };
  }

  /** Begins the next turn. */
  next(): Turn {
    if (this.#nextToken > this.#lastToken && this.#spare !== undefined) {
      this.#nextToken = this.#spare.first;
      this.#lastToken = this.#spare.last;
      this.#spare = undefined;
    }
    this.turn = new Turn(this.#queue, this.hold, this.#nextToken);
    this.#nextToken += 1;
    this.turns += 1;
    return this.turn;
  }

  onLost(error: LockLostError): void {
    this.#queue.onTenureLost(this);
    this.turn?.user?.onLost(error);
  }

  onContended(urgent: boolean): void {
    this.urgent ||= urgent;
  }
}
