import type { StoredTask } from '../backend.ts';

const STATES: Readonly<Record<string, StoredTask['state']>> = {
  c: 'completed',
  d: 'dead',
  x: 'cancelled',
  e: 'expired',
};

/** Reads one row of `read.lua`. */
export function parseStored(id: string, row: readonly string[]): StoredTask | undefined {
  const [
    blob = '',
    record = '',
    attempts = '',
    own = '',
    due = '',
    progress = '',
    logs = '',
    children = '0',
  ] = row;
  if (blob === '') return undefined;
  const before = parseAttempts(attempts);
  const shared = {
    id,
    blob,
    progress: progress === '' ? undefined : progress,
    logs: logs === '' ? [] : logs.split('\n').map((line) => JSON.parse(line) as string),
    pendingChildren: Number(children),
  };
  if (record !== '') return { ...shared, ...parseRecord(record) };
  if (own !== '') return { ...shared, state: 'active', ...parseClaim(own), error: before.error };
  const waiting =
    due === '' ? ({ state: 'waiting' } as const) : ({ state: 'delayed', runAt: Number(due) } as const);
  return { ...shared, ...waiting, ...before };
}

/** `attempts|stalls|error` of a task that failed before. */
function parseAttempts(text: string): { attempts: number; stalls: number; error: string | undefined } {
  const [attempts = '0', stalls = '0'] = text.split('|', 2);
  const error = text.slice(attempts.length + stalls.length + 2);
  return { attempts: Number(attempts), stalls: Number(stalls), error: error === '' ? undefined : error };
}

type ClaimFacts = Pick<StoredTask, 'token' | 'worker' | 'startedAt' | 'attempts' | 'stalls'>;

/** `token|worker|priority|started|attempts|stalls`, and after a line break why it is to be cancelled. */
function parseClaim(text: string): ClaimFacts {
  const [line = ''] = text.split('\n', 1);
  const [token = '', worker = '', , started = '', attempts = '0', stalls = '0'] = line.split('|');
  // A task that ended without a claim has only its counts.
  return {
    token: token === '' ? undefined : Number(token),
    worker: token === '' ? undefined : worker,
    startedAt: token === '' ? undefined : Number(started),
    attempts: Number(attempts),
    stalls: Number(stalls),
  };
}

/** `state|finished|claim`, an empty line, JSON. A capital state says that the last attempt counted. */
function parseRecord(
  record: string,
): Omit<StoredTask, 'id' | 'blob' | 'progress' | 'logs' | 'pendingChildren'> {
  const gap = record.indexOf('\n\n');
  const head = record.slice(0, gap);
  const body = record.slice(gap + 2);
  const letter = head.slice(0, 1);
  const finished = head.slice(2, head.indexOf('|', 2));
  const claim = parseClaim(head.slice(finished.length + 3));
  const state = STATES[letter.toLowerCase()] ?? 'completed';
  const counted = letter === 'c' || letter !== letter.toLowerCase();
  return {
    state,
    ...claim,
    attempts: claim.attempts + (counted ? 1 : 0),
    finishedAt: Number(finished),
    ...(state === 'completed' ? { result: body } : { error: body }),
  };
}
