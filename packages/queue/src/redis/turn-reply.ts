import type { TurnReply } from '../backend.ts';

/** What `turn.lua` says. The last three come only when there is something to tell. */
export type RawReply = [
  said: string,
  ids?: string,
  blobs?: string,
  lost?: readonly string[],
  counts?: (number | string)[],
  tokens?: string[],
];

/** A turn's reply, and whether the next turn needs every key. */
export interface ReadReply extends TurnReply {
  readonly needsAll: boolean;
}

const NONE: readonly string[] = [];

/** Reads what a turn's script said. */
export function toReply([said, ids = '', blobs = '', lost = NONE, counts, tokens]: RawReply): ReadReply {
  const [now, next, needsAll, first] = said.split(' ');
  const firstToken = Number(first);
  const texts = lines(blobs);
  const claims = lines(ids).map((id, index) => ({
    id,
    token: tokens === undefined ? firstToken + index : Number(tokens[index]),
    blob: texts[index] ?? '',
    attempts: 0,
    stalls: 0,
  }));
  if (counts !== undefined) addCounts(claims, counts);
  return {
    now: Number(now),
    lost,
    claims,
    nextMs: next === '' ? undefined : Number(next),
    needsAll: needsAll === '1',
  };
}

function lines(text: string): string[] {
  return text === '' ? [] : text.split('\n');
}

/** Pairs of a place, counted from 1, and `attempts|stalls`. */
function addCounts(
  claims: { attempts: number; stalls: number }[],
  counts: readonly (number | string)[],
): void {
  for (let at = 0; at < counts.length; at += 2) {
    const claim = claims[Number(counts[at]) - 1];
    const [attempts = 0, stalls = 0] = String(counts[at + 1])
      .split('|', 2)
      .map(Number);
    if (claim !== undefined) Object.assign(claim, { attempts, stalls });
  }
}
