import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sleep } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { spawnNode, startRedis, type NodeProcess, type RedisServer } from '@xiaoke/test-servers';
import type { MemberReport, Order } from './fixtures/fleet-member.ts';

const MEMBERS = 8;
const WRITERS = 4;
const COMMITS = 500;

async function startMembers(url: string): Promise<NodeProcess[]> {
  const program = new URL('./fixtures/fleet-member.ts', import.meta.url);
  const members = Array.from({ length: MEMBERS }, (_, index) =>
    spawnNode(program, { args: [url, String(index)] }),
  );
  await Promise.all(members.map((member) => member.message(({ kind }) => kind === 'ready', 60_000)));
  return members;
}

function tell(member: NodeProcess | undefined, order: Order): void {
  member?.send(order);
}

async function reports(members: readonly NodeProcess[]): Promise<MemberReport[]> {
  return await Promise.all(
    members.map(async (member) => {
      const before = member.messages.length;
      tell(member, { kind: 'report' });
      const isNew = (): unknown => member.messages.slice(before).find(({ kind }) => kind === 'report');
      await eventually(() => isNew() !== undefined, { timeout: 30_000 });
      return isNew() as MemberReport;
    }),
  );
}

/** The same document everywhere, and nobody in trouble. */
async function agreed(members: readonly NodeProcess[], timeout = 30_000): Promise<MemberReport> {
  return await eventually(
    async () => {
      const all = await reports(members);
      const [first] = all;
      const same = all.every(
        ({ snapshot, version, state }) =>
          snapshot === first?.snapshot && version === first.version && state === 'ready',
      );
      return same && first !== undefined ? first : Promise.reject(new Error(JSON.stringify(all, null, 1)));
    },
    { timeout, interval: 200 },
  );
}

/** The last of the numbers 0 to `total` - 1 that ends with the digit `key`. */
function lastOf(total: number, key: number): number {
  return total - 1 - ((total - 1 - key + 10) % 10);
}

/** What is done to Redis while commits are made. */
const FAULTS: readonly (readonly [string, (redis: RedisServer) => Promise<unknown>])[] = [
  ['killed, and back empty', (redis) => redis.restart()],
  ['flushed', (redis) => redis.cli('FLUSHALL')],
  ['frozen for three seconds', (redis) => frozen(redis, 3_000)],
  ['restored from an old dump', restoredFromOldDump],
  ['without its head', (redis) => redis.cli('DEL', 'xc:{fleet:test}:head')],
  ['without its log', (redis) => redis.cli('DEL', 'xc:{fleet:test}:log')],
  ['cutting every connection', (redis) => redis.cli('CLIENT', 'KILL', 'TYPE', 'normal')],
];

async function frozen(redis: RedisServer, milliseconds: number): Promise<void> {
  redis.pause();
  await sleep(milliseconds);
  redis.resume();
}

async function restoredFromOldDump(redis: RedisServer): Promise<void> {
  const [dump, old] = [join(redis.directory, 'dump.rdb'), join(redis.directory, 'old.rdb')];
  await redis.cli('SAVE');
  await copyFile(dump, old);
  await sleep(1_000);
  await redis.kill();
  await copyFile(old, dump);
  await redis.restart();
  await rm(dump);
}

describe('eight processes on one Redis that make five hundred commits', () => {
  it(
    'end with the same document whatever is done to Redis, lose nothing acknowledged and serve no emptiness',
    {
      timeout: 240_000,
    },
    async () => {
      await using redis = await startRedis();
      const members = await startMembers(redis.url);
      try {
        const writers = members.slice(0, WRITERS);
        for (const writer of writers) tell(writer, { kind: 'commit', count: COMMITS / WRITERS });
        for (const [, harm] of FAULTS) {
          await sleep(700);
          await harm(redis);
        }
        for (const writer of writers) tell(writer, { kind: 'finish' });
        const ends = await Promise.all(
          writers.map((writer) =>
            writer.message(({ kind }) => kind === 'committed' || kind === 'failed', 120_000),
          ),
        );
        expect(ends.map(({ kind }) => kind)).toEqual(writers.map(() => 'committed'));
        const last = await agreed(members);
        const document = JSON.parse(last.snapshot) as Record<string, Record<string, unknown>>;
        for (const [writer, { total }] of ends.entries()) {
          const keys = Array.from({ length: 10 }, (_, key) => [`key${key}`, lastOf(Number(total), key)]);
          expect(document[`member${writer}`]).toEqual(Object.fromEntries(keys));
        }
        const all = await reports(members);
        expect(all.flatMap(({ lost }) => lost)).toEqual([]);
        expect(all.reduce((sum, { regressions }) => sum + regressions, 0)).toBeGreaterThan(0);
        const head = await redis.cli('HGET', 'xc:{fleet:test}:head', 'version');
        expect(Number(head)).toBe(last.version);
        expect(last.version).toBeGreaterThanOrEqual(COMMITS);
        expect(Number(await redis.cli('HLEN', 'xc:{fleet:test}:versions'))).toBeLessThanOrEqual(30);
      } finally {
        await Promise.all(members.map((member) => member.kill()));
      }
    },
  );

  it(
    'make exactly five hundred versions, one after the other, when nothing goes wrong',
    {
      timeout: 120_000,
    },
    async () => {
      await using redis = await startRedis();
      const members = await startMembers(redis.url);
      try {
        const writers = members.slice(0, WRITERS);
        for (const writer of writers) {
          tell(writer, { kind: 'commit', count: COMMITS / WRITERS });
          tell(writer, { kind: 'finish' });
        }
        await Promise.all(
          writers.map((writer) => writer.message(({ kind }) => kind === 'committed', 100_000)),
        );
        const last = await agreed(members);
        expect(last.version).toBe(COMMITS);
        const fields = (await redis.cli('HKEYS', 'xc:{fleet:test}:versions')).split('\n');
        const kept = fields.filter((field) => /^\d+$/.test(field)).map(Number);
        expect(kept.sort((a, b) => a - b)).toEqual(
          Array.from({ length: 10 }, (_, index) => COMMITS - 9 + index),
        );
        for (const member of members) tell(member, { kind: 'stop' });
        expect(await Promise.all(members.map(({ exited }) => exited))).toEqual(
          members.map(() => ({ code: 0, signal: null })),
        );
      } finally {
        await Promise.all(members.map((member) => member.kill()));
      }
    },
  );
});
