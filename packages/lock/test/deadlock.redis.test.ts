import { spawnNode, startRedis, type NodeProcess } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { freshNamespace } from './run-conformance.ts';

const CYCLES = 100;
const ORDERED_SECTIONS = 10_000;
const file = new URL('./fixtures/philosopher.ts', import.meta.url);

async function seat(redis: string, deadlockTimeout: number): Promise<NodeProcess[]> {
  const args = [redis, freshNamespace(), String(deadlockTimeout)];
  const seated = Array.from({ length: 4 }, () => spawnNode(file, { args }));
  await Promise.all(seated.map((each) => each.message(({ kind }) => kind === 'ready', 30_000)));
  return seated;
}

async function leave(seated: readonly NodeProcess[]): Promise<void> {
  for (const each of seated) each.send({ kind: 'stop' });
  await Promise.all(seated.map((each) => each.exited));
}

test(
  'scenario 18: 100 deadlocks of 2 to 4 processes have one victim each, which is told the whole cycle',
  { timeout: 120_000 },
  async () => {
    await using redis = await startRedis();
    const seated = await seat(redis.url, 50);
    for (let round = 0; round < CYCLES; round += 1) {
      const circle = seated.slice(0, 2 + (round % 3));
      const key = (place: number): string => `r${round}-${place % circle.length}`;
      const answer = (kind: string) => (each: NodeProcess) =>
        each.message((message) => message['kind'] === kind && message['round'] === round, 30_000);
      for (const [place, each] of circle.entries()) each.send({ kind: 'first', round, key: key(place) });
      await Promise.all(circle.map(answer('holding')));
      for (const [place, each] of circle.entries()) each.send({ kind: 'second', key: key(place + 1) });
      const ends = await Promise.all(circle.map(answer('done')));
      const victims = ends.filter(({ victim }) => victim === true);
      expect(victims).toHaveLength(1);
      const cycle = (victims[0]?.['cycle'] ?? []) as string[][];
      expect(new Map(cycle as [string, string][])).toEqual(
        new Map(circle.map((_, place) => [key(place), key(place + 1)])),
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
    const seated = await seat(redis.url, 2);
    const sections = ORDERED_SECTIONS / seated.length;
    for (const each of seated) each.send({ kind: 'ordered', round: 0, sections });
    const ends = await Promise.all(
      seated.map((each) => each.message(({ kind }) => kind === 'done', 190_000)),
    );
    expect(ends.map(({ deadlocks }) => deadlocks)).toEqual([0, 0, 0, 0]);
    await leave(seated);
  },
);
