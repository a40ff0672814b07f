import assert from 'node:assert/strict';
import { eventually } from '@xiaoke/core/testing';
import type { LockLostError } from '../../errors.ts';
import { LockType } from '../../lock-type.ts';
import type { ConformanceCase } from '../conformance-case.ts';

/** Seeing and taking what others hold. */
export const inspectionCases: readonly ConformanceCase[] = [
  {
    name: 'inspection shows who holds a key, since when, with which token, and who waits in which order',
    needs: ['queue', 'inspection'],
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock('k', { owner: 'ada|!' });
      const waits = ['bob', 'eve'].map((owner) => there.acquireLock('k', { owner, fair: true }));
      await eventually(async () => (await here.inspectLock('k')).waiters.length === 2);
      const { holders, waiters } = await here.inspectLock('k');
      assert.equal(holders.length, 1);
      assert.deepEqual(
        {
          owner: holders[0]?.owner,
          pid: holders[0]?.pid,
          type: holders[0]?.type,
          token: holders[0]?.fencingToken,
        },
        { owner: 'ada|!', pid: process.pid, type: 'exclusive', token: lock.fencingToken },
      );
      assert.ok((holders[0]?.expiresInMs ?? 0) > 20_000);
      assert.deepEqual(
        waiters.map(({ owner, position }) => [owner, position]),
        [
          ['bob', 1],
          ['eve', 2],
        ],
      );
      await lock.release();
      for (const wait of waits) await (await wait).release();
      assert.deepEqual(await here.inspectLock('k'), { holders: [], waiters: [] });
    },
  },
  {
    name: 'all locks and semaphores in use can be listed, and free ones leave nothing to list',
    needs: ['semaphore', 'inspection'],
    async run({ manager }) {
      const locks = await manager();
      const held = [
        await locks.acquireLock('exclusive {1}'),
        await locks.acquireLock('shared', LockType.SHARED),
        await locks.semaphore('permits', 4).acquire(3),
      ];
      const list = async (): Promise<string[]> => {
        const found: string[] = [];
        for await (const { kind, key, holders } of locks.inspectLocks()) {
          found.push(`${kind} ${key} ${holders[0]?.type} ${holders[0]?.permits}`);
        }
        return found.toSorted();
      };
      assert.deepEqual(await list(), [
        'lock exclusive {1} exclusive 0',
        'lock shared shared 0',
        'semaphore permits permits 3',
      ]);
      for (const lock of held) await lock.release();
      assert.deepEqual(await list(), []);
    },
  },
  {
    name: 'a forced release tells the holders and lets the next one in with a larger token',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock('k');
      const next = there.acquireLock('k');
      assert.equal(await there.forceRelease('k'), 1);
      await eventually(() => lock.signal.aborted);
      assert.equal((lock.signal.reason as LockLostError).reason, 'forced');
      assert.equal(await lock.release(), false);
      assert.ok((await next).fencingToken > lock.fencingToken);
      assert.equal(await there.forceRelease('free'), 0);
    },
  },
  {
    name: 'statistics count what happened, with bounded histograms',
    async run({ manager }) {
      const locks = await manager();
      await locks.withLock('k', async () => {
        await locks.acquireLock('k').catch(() => undefined);
      });
      const lock = await locks.acquireLock('k');
      await locks.acquireLock('k', { wait: 20 }).catch(() => undefined);
      await lock.release();
      const { acquired, released, timedOut, deadlocks, held, waiting, waitMs, holdMs } = locks.stats();
      assert.deepEqual(
        { acquired, released, timedOut, deadlocks, held, waiting },
        {
          acquired: 2,
          released: 2,
          timedOut: 1,
          deadlocks: 1,
          held: 0,
          waiting: 0,
        },
      );
      const total = (buckets: readonly { count: number }[]): number =>
        buckets.reduce((sum, { count }) => sum + count, 0);
      assert.equal(total(waitMs), 2);
      assert.equal(total(holdMs), 2);
    },
  },
];
