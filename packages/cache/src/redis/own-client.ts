import type { Random } from '@xiaoke/core';

/** For a client of our own: nothing is kept for later or sent twice, since whoever asked has gone on without it. */
export function ownClientOptions(random: Random): object {
  return {
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    retryStrategy: (times: number) => Math.min(25 * 2 ** Math.min(times, 5), 500) * (0.5 + random() / 2),
  };
}
