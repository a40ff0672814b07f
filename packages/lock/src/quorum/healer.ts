import { runInBackground, type Logger } from '@xiaoke/core';
import type { HoldRequest, RenewRequest } from '../backend.ts';
import type { Voter } from './voter.ts';

/**
 * Gives a hold that a majority has back to a voter that lost it, so that servers may be restarted one after the other
 * under a lock that is held for long.
 */
export class Healer {
  readonly #logger: Logger;
  /** Per hold under way, how many voters; a hold that ended meanwhile is taken out. */
  readonly #underWay = new Map<string, number>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  heal(voter: Voter, { resource, holdId, mode, lease, token }: RenewRequest): void {
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
    this.#underWay.set(holdId, (this.#underWay.get(holdId) ?? 0) + 1);
    const work = async (): Promise<void> => {
      try {
        const answer = await voter.attempt(request, false);
        // It is shown with the token that its holder has, not with the one that was minted here just now.
        if (answer.kind === 'granted' && token !== undefined)
          await voter.confirm(request, token, answer.token);
      } finally {
        const open = this.#underWay.get(holdId);
        // Released while it was given back: nobody would take it from this voter again before its lease ends.
        if (open === undefined) await voter.cancel(request);
        else if (open === 1) this.#underWay.delete(holdId);
        else this.#underWay.set(holdId, open - 1);
      }
    };
    runInBackground(work, 'give a lock back to a server of the quorum', { logger: this.#logger });
  }

  /** The hold has ended. */
  ended(holdId: string): void {
    this.#underWay.delete(holdId);
  }
}
