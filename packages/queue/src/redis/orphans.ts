import type { RedisLink } from './link.ts';

/** Which claims to look for. */
export interface OrphanQuery {
  /** The hash of the queue's claims. */
  readonly claims: string;
  readonly worker: string;
  /** Claims younger than this, in milliseconds, may still be on their way to the worker. */
  readonly olderThanMs: number;
}

/**
 * Ids that Redis says a worker has. One that the worker does not know of was claimed by an exchange whose answer was lost
 * together with what is kept for its repetition (a lease that ran out under load takes that along), and as long as the worker
 * lives, nobody else would take it.
 */
export async function claimsOf(link: RedisLink, query: OrphanQuery): Promise<string[]> {
  const [seconds] = (await link.call('TIME')) as [string, string];
  const before = Number(seconds) * 1_000 - query.olderThanMs;
  const ids: string[] = [];
  let cursor = '0';
  do {
    const [next, fields] = (await link.call('HSCAN', query.claims, cursor, 'COUNT', 500)) as [
      string,
      string[],
    ];
    cursor = next;
    for (let at = 0; at < fields.length; at += 2) {
      const [, worker, , startedAt] = (fields[at + 1] ?? '').split('|', 4);
      if (worker === query.worker && Number(startedAt) < before) ids.push(fields[at] ?? '');
    }
  } while (cursor !== '0');
  return ids;
}
