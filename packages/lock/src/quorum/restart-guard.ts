import { InvalidOptionError, withTimeout, type Clock, type Logger } from '@xiaoke/core';
import { majorityOf } from './ballot.ts';
import type { Voter, VoterPast } from './voter.ts';

/** What is known of a voter while its connection stands. */
interface Standing {
  readonly past: VoterPast;
  /** When it started at the latest, on the monotonic clock. */
  readonly startedAt: number;
}

/** What the guard needs beside its voters. */
export interface RestartGuardOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly commandTimeout: number;
  /** The default lease, in milliseconds. */
  readonly lease: number;
}

/** How often, and after how many milliseconds, a voter without a mark is looked at again: others may be founding. */
const LOOKS = 3;
const LOOK_AGAIN = 100;

/**
 * Keeps voters that may have forgotten a hold out of the count until every hold that they can have forgotten has ended:
 * the delayed restart that Redis's documentation asks for, without delaying any restart.
 *
 * A voter keeps a mark: the run id under which it joined. It votes when the mark names its present run, or when it has run
 * for longer than the longest lease. A quorum of which no reachable voter has a mark is a new one, and is founded by
 * marking all of them.
 */
export class RestartGuard {
  readonly #voters: readonly Voter[];
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #timeout: number;
  readonly #standings: (Standing | undefined)[];
  /** Once a mark was seen, a voter without one is no sign of a new quorum any more. */
  #founded = false;
  #started = false;
  #last: Promise<void> = Promise.resolve();
  /** The longest lease that anybody can rely on, in milliseconds. */
  #longestLease: number;

  constructor(voters: readonly Voter[], { clock, logger, lease, commandTimeout }: RestartGuardOptions) {
    this.#voters = voters;
    this.#clock = clock;
    this.#logger = logger;
    this.#timeout = commandTimeout;
    this.#longestLease = lease;
    this.#standings = voters.map(() => undefined);
  }

  /** A hold of this lease is asked for. */
  sawLease(lease: number): void {
    if (lease > this.#longestLease) this.#longestLease = lease;
  }

  mayVote(index: number): boolean {
    const standing = this.#standings[index];
    if (standing === undefined) return false;
    const { past, startedAt } = standing;
    return past.joinedAs === past.runId || this.#clock.monotonic() - startedAt >= this.#longestLease;
  }

  /** The connection to a voter is gone: what it says next counts only after another look. */
  lost(index: number): void {
    this.#standings[index] = undefined;
  }

  /** Looks at every voter. Rejects when two of them are the same server. */
  lookAtAll(): Promise<void> {
    this.#started = true;
    return this.#inTurn(() => this.#lookAtAll());
  }

  /** Looks at a voter whose connection stands again. */
  lookAt(index: number): Promise<void> {
    // What connects before the first look at all of them is part of that one.
    if (!this.#started) return Promise.resolve();
    return this.#inTurn(async () => {
      if (this.#standings[index] !== undefined) return;
      await this.#see(index);
      await this.#decide();
    });
  }

  // One after the other, so that a quorum is never founded from half of a picture.
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async #lookAtAll(): Promise<void> {
    await Promise.all(this.#voters.map((_, index) => this.#see(index)));
    const runs = this.#known().map(({ past }) => past.runId);
    if (new Set(runs).size < runs.length) {
      throw new InvalidOptionError('redis.quorum', 'names the same server twice');
    }
    await this.#decide();
  }

  async #decide(): Promise<void> {
    for (let look = 0; ; look += 1) {
      const known = this.#known();
      if (known.length < majorityOf(this.#voters.length)) return;
      if (known.some(({ past }) => past.joinedAs !== undefined)) this.#founded = true;
      if (!this.#founded) {
        await this.#found();
        return;
      }
      if (look === LOOKS || known.every(({ past }) => past.joinedAs !== undefined)) return;
      await new Promise<void>((resolve) => {
        this.#clock.setTimeout(resolve, LOOK_AGAIN).unref();
      });
      await Promise.all(this.#voters.map((_, index) => this.#seeUnmarked(index)));
    }
  }

  async #found(): Promise<void> {
    this.#founded = true;
    await Promise.all(
      this.#voters.map(async (voter, index) => {
        const runId = this.#standings[index]?.past.runId;
        if (runId === undefined) return;
        await voter.join(runId).catch((error: unknown) => {
          this.#logger.warn({ err: error }, 'a voter of a new quorum could not be marked');
        });
        await this.#see(index);
      }),
    );
  }

  async #seeUnmarked(index: number): Promise<void> {
    const standing = this.#standings[index];
    if (standing !== undefined && standing.past.joinedAs === undefined) await this.#see(index);
  }

  async #see(index: number): Promise<void> {
    try {
      const voter = this.#voters[index];
      if (voter === undefined) return;
      const past = await withTimeout(voter.look(), this.#timeout, 'The look at a server', {
        clock: this.#clock,
        ref: false,
      });
      this.#standings[index] = { past, startedAt: this.#clock.monotonic() - past.uptimeMs };
    } catch (error) {
      this.#standings[index] = undefined;
      this.#logger.debug({ err: error }, 'a voter of a quorum cannot be looked at');
    }
  }

  #known(): Standing[] {
    return this.#standings.filter((standing) => standing !== undefined);
  }
}
