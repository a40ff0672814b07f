import { runInBackground, type Logger } from '@xiaoke/core';
import type { HoldRequest, RenewRequest } from '../backend.ts';
import type { Voter } from './voter.ts';

interface Life {
  /** Answers that have not come, and voters that the hold is being given back to. */
  open: number;
  ended: boolean;
}

/**
 * Gives a hold that a majority has back to a voter that lost it, so that servers may be restarted one after the other
 * under a lock that is held for long.
 */
export class Healer {
  readonly #logger: Logger;
  /** Holds about which something is under way. */
  readonly #lives = new Map<string, Life>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** So many voters are asked about a hold. Until each has answered, it is remembered if the hold ends. */
  asked(holdId: string, voters: number): void {
    const life = this.#lives.get(holdId) ?? { open: 0, ended: false };
    life.open += voters;
    this.#lives.set(holdId, life);
  }

  /** One of them has answered, or cannot. */
  answered(holdId: string): void {
    const life = this.#lives.get(holdId);
    if (life === undefined) return;
    life.open -= 1;
    if (life.open === 0) this.#lives.delete(holdId);
  }

  /** Called with an answer of a voter that was asked, before {@link answered}. */
  heal(voter: Voter, { resource, holdId, mode, lease, token }: RenewRequest): void {
    const life = this.#lives.get(holdId);
    // The answer came after the release, and nobody would take the hold from this voter again before its lease ends.
    if (life === undefined || life.ended) return;
    life.open += 1;
    const request: HoldRequest = {
      resource,
      holdId,
      mode,
      lease,
      block: 0,
      priority: 0,
      urgent: false,
      weight: 0,
      limit: 0,
      owner: '',
    };
    const work = async (): Promise<void> => {
      try {
        const answer = await voter.attempt(request, false);
        // It is shown with the token that its holder has, not with the one that was minted here just now.
        if (answer.kind === 'granted' && token !== undefined)
          await voter.confirm(request, token, answer.token);
      } finally {
        this.answered(holdId);
        // Released while it was given back.
        if (life.ended) await voter.cancel(request);
      }
    };
    runInBackground(work, 'give a lock back to a server of the quorum', { logger: this.#logger });
  }

  /** The hold has ended. */
  ended(holdId: string): void {
    const life = this.#lives.get(holdId);
    if (life !== undefined) life.ended = true;
  }
}
