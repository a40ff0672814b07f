import type { HolderRecord, HoldMode, Resource, ResourceRecord, WaiterRecord } from '../backend.ts';
import { LockUnavailableError } from '../errors.ts';

/** Replies after which the same command can succeed by itself. */
const TRANSIENT = /^(LOADING|READONLY|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|BUSY|NOREPLICAS|MOVED|ASK|UNBLOCKED)\b/;

/** A refusal of the server that trying again will not change becomes an error that ends the wait. */
export function classify(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (error.name !== 'ReplyError' || TRANSIENT.test(error.message)) return error;
  return new LockUnavailableError(`Redis refused: ${error.message.slice(0, 200)}`, { cause: error });
}

/** An owner's name as the scripts keep it: without their separators. */
export function encodeOwner(owner: string): string {
  return owner === '' ? '' : encodeURIComponent(owner).replaceAll('!', '%21');
}

function decodeOwner(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

/** Reads what `inspect.lua` returns. */
export function parseInspection(resource: Resource, reply: unknown): ResourceRecord {
  const [time, value, ttl, holders, waiters] = reply as [number, string, number, string[], string[]];
  return {
    resource,
    holders: value.startsWith('*') ? parseShared(time, holders, resource) : parseExclusive(time, value, ttl),
    waiters: parseWaiters(time, waiters),
  };
}

function parseExclusive(time: number, value: string, ttl: number): HolderRecord[] {
  if (value === '') return [];
  const [holdId = '', token, owner = ''] = value.replace(/!$/, '').split('|');
  return [
    {
      holdId,
      mode: 'exclusive',
      token: Number(token),
      owner: decodeOwner(owner),
      // A token is the server's clock in microseconds at the grant, or little more.
      ageMs: time - Number(token) / 1_000,
      expiresInMs: ttl,
      permits: 0,
    },
  ];
}

function parseShared(time: number, entries: readonly string[], { kind }: Resource): HolderRecord[] {
  const mode: HoldMode = kind === 'lock' ? 'shared' : 'permits';
  const holders: HolderRecord[] = [];
  for (let index = 0; index + 2 < entries.length; index += 3) {
    const [holdId = '', end, info = ''] = entries.slice(index, index + 3);
    const [since, token, weight, owner = ''] = info.split('|');
    const expiresInMs = Number(end) - time;
    if (expiresInMs <= 0) continue;
    holders.push({
      holdId,
      mode,
      expiresInMs,
      owner: decodeOwner(owner),
      token: Number(token),
      ageMs: time - Number(since),
      permits: Number(weight),
    });
  }
  return holders;
}

function parseWaiters(time: number, entries: readonly string[]): WaiterRecord[] {
  const waiters: WaiterRecord[] = [];
  for (let index = 0; index + 1 < entries.length; index += 2) {
    const [holdId = '', info = ''] = entries.slice(index, index + 2);
    const [mode, , , deadline, , , since, priority, owner = ''] = info.split('|');
    // A place that nobody has shown interest in for long is one of a dead process.
    if (mode === undefined || Number(deadline) < time) continue;
    waiters.push({
      holdId,
      mode: mode as HoldMode | 'upgrade',
      owner: decodeOwner(owner),
      priority: Number(priority),
      waitedMs: time - Number(since),
    });
  }
  return waiters;
}
