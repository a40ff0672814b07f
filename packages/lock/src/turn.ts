import type { Hold } from './hold.ts';
import type { KeyQueue } from './key-queue.ts';
import { Part } from './part.ts';

/** One caller's turn on a hold that the callers of this process pass on among themselves. */
export class Turn extends Part {
  readonly hold: Hold;
  readonly token: number;
  readonly #queue: KeyQueue;
  #ended = false;

  constructor(queue: KeyQueue, hold: Hold, token: number) {
    super(hold.resource);
    this.#queue = queue;
    this.hold = hold;
    this.token = token;
  }

  remaining(): number {
    return this.#ended ? 0 : this.hold.remaining();
  }

  release(): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false);
    this.#ended = true;
    const end = this.#queue.endTurn(this);
    return end === 'passed on' ? Promise.resolve(true) : end.result();
  }

  releaseQuietly(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#queue.endTurn(this);
  }

  /** Makes the hold this turn's own: nobody else of the process will get it. For a downgrade. */
  detach(): void {
    this.#queue.detach(this);
  }
}
