import { spawnNode, startRedis, type NodeProcess } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { expect, test } from 'vitest';
import { createLockManager } from '../src/index.ts';
import { freshNamespace } from './run-conformance.ts';

const CYCLES = 100;
const ORDERED_SECTIONS = 10_000;
const TIMEOUT = 50;
const file = new URL('./fixtures/philosopher.ts', import.meta.url);

type Want = readonly [key: string, type: 'exclusive' | 'shared' | 'upgrade'];
/** What one process has, and what it wants then. */
interface Seat {
  readonly has: readonly Want[];
  readonly wants: Want;
}
interface Victim {
  readonly cycle: ReadonlyMap<string, string>;
  readonly waitedMs: number;
}

async function seat(
  redis: string,
  count: number,
  deadlockTimeout: number,
  namespace: string = freshNamespace(),
): Promise<NodeProcess[]> {
  const args = [redis, namespace, String(deadlockTimeout)];
  const seated = Array.from({ length: count }, () => spawnNode(file, { args }));
  await Promise.all(seated.map((each) => each.message(({ kind }) => kind === 'ready', 60_000)));
  return seated;
}

async function leave(seated: readonly NodeProcess[]): Promise<void> {
  for (const each of seated) each.send({ kind: 'stop' });
  await Promise.all(seated.map((each) => each.exited));
}

const order = ([key, type]: Want) => ({ key, type });

/** Lets everybody take what they have and then want what they want. Returns the victims, once all are done. */
async function dine(
  processes: readonly NodeProcess[],
  seats: readonly Seat[],
  round: number,
  afterFirst?: () => Promise<unknown>,
): Promise<readonly Victim[]> {
  const circle = processes.slice(0, seats.length);
  const answer = (kind: string) => (each: NodeProcess) =>
    each.message((message) => message['kind'] === kind && message['round'] === round, 30_000);
  for (const [place, each] of circle.entries())
    each.send({ kind: 'first', round, first: seats[place]?.has.map(order) });
  await Promise.all(circle.map(answer('holding')));
  for (const [place, each] of circle.entries()) {
    each.send({ kind: 'second', second: order(seats[place]?.wants ?? ['', 'shared']) });
    if (place === 0) await afterFirst?.();
  }
  const ends = await Promise.all(circle.map(answer('done')));
  return ends
    .filter(({ victim }) => victim === true)
    .map(({ cycle, waitedMs }) => ({
      cycle: new Map(cycle as [string, string][]),
      waitedMs: Number(waitedMs),
    }));
}

test(
  'scenario 18: 100 deadlocks of 2 to 6 processes, readers among them, have one victim each, which is told the whole cycle',
  { timeout: 180_000 },
  async () => {
    await using redis = await startRedis();
    const seated = await seat(redis.url, 6, TIMEOUT);
    const waits: number[] = [];
    for (let round = 0; round < CYCLES; round += 1) {
      const size = 2 + (round % 5);
      const key = (place: number): string => `r${round}-${place % size}`;
      // What is held shared is wanted exclusively; what is held exclusively is wanted either way.
      const shared = (place: number): boolean => (round + (place % size)) % 3 === 0;
      const seats = Array.from({ length: size }, (_, place): Seat => {
        const next = !shared(place + 1) && place % 2 === 0 ? 'shared' : 'exclusive';
        return { has: [[key(place), shared(place) ? 'shared' : 'exclusive']], wants: [key(place + 1), next] };
      });
      const victims = await dine(seated, seats, round);
      expect(victims).toHaveLength(1);
      const all = Array.from({ length: size }, (_, place): [string, string] => [key(place), key(place + 1)]);
      expect(victims[0]?.cycle).toEqual(new Map(all));
      waits.push(victims[0]?.waitedMs ?? Infinity);
    }
    // A quarter of them, on a machine that does much else meanwhile.
    waits.sort((a, b) => a - b);
    expect(waits[CYCLES / 4]).toBeLessThan(TIMEOUT + 100);
    await leave(seated);
  },
);

test(
  'scenario 18: a deadlock through an upgrade, and one through the place behind a writer, have one victim each',
  { timeout: 120_000 },
  async () => {
    await using redis = await startRedis();
    const namespace = freshNamespace();
    await using locks = await createLockManager({ redis: redis.url, namespace });
    const seated = await seat(redis.url, 3, TIMEOUT, namespace);
    for (let round = 0; round < 20; round += 1) {
      const [a, b] = [`a${round}`, `b${round}`];
      // The first waits for the second to stop reading, which waits for the first to give back what it wrote.
      const upgrade: Seat[] = [
        {
          has: [
            [b, 'exclusive'],
            [a, 'shared'],
          ],
          wants: [a, 'upgrade'],
        },
        { has: [[a, 'shared']], wants: [b, 'shared'] },
      ];
      // The last could read beside the second, were it not for the writer before it.
      const behind: Seat[] = [
        { has: [], wants: [a, 'exclusive'] },
        { has: [[a, 'shared']], wants: [b, 'exclusive'] },
        { has: [[b, 'exclusive']], wants: [a, 'shared'] },
      ];
      const queued = async (): Promise<boolean> => (await locks.inspectLock(a)).waiters.length === 1;
      const victims = await dine(seated, round % 2 === 0 ? upgrade : behind, round, () => eventually(queued));
      expect(victims).toHaveLength(1);
      expect(victims[0]?.cycle).toEqual(
        new Map([
          [a, b],
          [b, a],
        ]),
      );
    }
    await leave(seated);
  },
);

test(
  'scenario 18: 10,000 sections of three keys each, taken in one order by four processes, have no victim',
  { timeout: 200_000 },
  async () => {
    await using redis = await startRedis();
    // So short that almost every wait is looked at.
    const seated = await seat(redis.url, 4, 2);
    const sections = ORDERED_SECTIONS / seated.length;
    for (const each of seated) each.send({ kind: 'ordered', round: 0, sections });
    const ends = await Promise.all(
      seated.map((each) => each.message(({ kind }) => kind === 'done', 190_000)),
    );
    expect(ends.map(({ deadlocks }) => deadlocks)).toEqual([0, 0, 0, 0]);
    await leave(seated);
  },
);
