import type { Clock } from '@xiaoke/core';

/** How many of `voters` are a majority: any two majorities have a voter in common. */
export function majorityOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** What is known of a vote as soon as its outcome is certain. */
export interface Count<T> {
  readonly accepted: readonly T[];
  readonly refused: readonly T[];
  readonly failed: readonly unknown[];
}

/** One question to all voters. */
export interface Ballot<V, T> {
  readonly voters: readonly V[];
  readonly ask: (voter: V) => Promise<T>;
  readonly accepts: (answer: T, voter: V) => boolean;
  /** How long an answer is waited for, in milliseconds. */
  readonly timeout: number;
  readonly clock: Clock;
}

/**
 * Asks all voters at once and resolves when a majority has accepted, when none can come about any more, or when the time
 * is over; a voter that is slow or gone costs time only when its vote decides. Never rejects.
 */
export function vote<V, T>({ voters, ask, accepts, timeout, clock }: Ballot<V, T>): Promise<Count<T>> {
  const majority = majorityOf(voters.length);
  const accepted: T[] = [];
  const refused: T[] = [];
  const failed: unknown[] = [];
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel();
      resolve({ accepted: [...accepted], refused: [...refused], failed: [...failed] });
    };
    const timer = clock.setTimeout(end, timeout).unref();
    const check = (): void => {
      const against = refused.length + failed.length;
      if (accepted.length >= majority || against > voters.length - majority) end();
    };
    for (const voter of voters) {
      ask(voter).then(
        (answer) => {
          (accepts(answer, voter) ? accepted : refused).push(answer);
          check();
        },
        (error: unknown) => {
          failed.push(error);
          check();
        },
      );
    }
  });
}
