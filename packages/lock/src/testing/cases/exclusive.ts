import assert from 'node:assert/strict';
import { eventually } from '@xiaoke/core/testing';
import { LockAbortedError, LockManagerClosedError, LockTimeoutError } from '../../errors.ts';
import { failure, pause, type ConformanceCase } from '../conformance-case.ts';

/** Locks of one holder, one key or several. */
export const exclusiveCases: readonly ConformanceCase[] = [
  {
    name: 'an exclusive lock keeps every other caller and manager out until it is released',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock('k');
      assert.equal(await here.tryAcquireLock('k'), undefined);
      assert.equal(await there.tryAcquireLock('k'), undefined);
      assert.ok(lock.remainingMs() > 0);
      lock.assertHeld();
      assert.equal(await lock.release(), true);
      assert.equal(await lock.release(), false);
      const next = await there.tryAcquireLock('k');
      assert.ok(next !== undefined && next.fencingToken > lock.fencingToken);
    },
  },
  {
    name: 'a counter that is read and written under the lock loses no update, with tokens that only grow',
    async run({ manager }) {
      const managers = await Promise.all([manager(), manager(), manager()]);
      let counter = 0;
      let lastToken = 0;
      const worker = async (index: number): Promise<void> => {
        for (let turn = 0; turn < 20; turn += 1) {
          await managers[index % 3]?.withLock('k', { wait: 20_000 }, async ({ fencingToken }) => {
            assert.ok(fencingToken > lastToken, 'a token went backwards');
            lastToken = fencingToken;
            const read = counter;
            await pause(0);
            counter = read + 1;
          });
        }
      };
      await Promise.all(Array.from({ length: 9 }, (_, index) => worker(index)));
      assert.equal(counter, 180);
    },
  },
  {
    name: 'waiters of several managers are served in the order in which they came, when they ask for strict fairness',
    needs: ['queue'],
    async run({ manager }) {
      const managers = await Promise.all([manager(), manager(), manager()]);
      const lock = await managers[0]?.acquireLock('k', { fair: true });
      const order: number[] = [];
      const waits: Promise<void>[] = [];
      for (let index = 0; index < 9; index += 1) {
        const wait = managers[index % 3]?.withLock('k', { fair: true }, async () => void order.push(index));
        if (wait !== undefined) waits.push(wait);
        const seen = async (): Promise<boolean> =>
          ((await managers[0]?.inspectLock('k'))?.waiters.length ?? 0) === index + 1;
        await eventually(seen, { interval: 1 });
      }
      await lock?.release();
      await Promise.all(waits);
      assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    },
  },
  {
    name: 'a larger priority goes first',
    needs: ['queue'],
    async run({ manager }) {
      const locks = await manager();
      const lock = await locks.acquireLock('k');
      const order: string[] = [];
      const want = (name: string, priority: number): Promise<void> =>
        locks.withLock('k', { priority }, async () => void order.push(name));
      const waits = [want('low', -1), want('middle', 1), want('high', 5)];
      await eventually(async () => (await locks.inspectLock('k')).waiters.length === 3);
      await lock.release();
      await Promise.all(waits);
      assert.deepEqual(order, ['high', 'middle', 'low']);
    },
  },
  {
    name: 'several keys are held all or none, whatever order they are given in',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const blocker = await there.acquireLock('b');
      assert.equal(await here.tryAcquireLock(['c', 'a', 'b']), undefined);
      const free = await there.tryAcquireLock(['a', 'c']);
      assert.ok(free !== undefined, 'a failed attempt left a hold behind');
      await Promise.all([free.release(), blocker.release()]);
      const lock = await here.acquireLock(['c', 'a', 'b', 'a']);
      assert.deepEqual(lock.keys, ['a', 'b', 'c']);
      assert.ok(lock.fencingToken > Math.max(blocker.fencingToken, free.fencingToken));
      assert.equal(await there.tryAcquireLock('c'), undefined);
      await lock.release();
      for (const key of lock.keys) {
        const later = await there.acquireLock(key);
        assert.ok(later.fencingToken > lock.fencingToken, `a later token of ${key} is not larger`);
      }
    },
  },
  {
    name: 'a wait ends with LockTimeoutError after its limit, and names the holder',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      await there.acquireLock('k', { owner: 'alice' });
      const started = performance.now();
      const error = await failure(here.acquireLock('k', { wait: 100 }));
      assert.ok(error instanceof LockTimeoutError);
      assert.equal(error.holders[0]?.owner, 'alice');
      assert.ok(performance.now() - started >= 99 && performance.now() - started < 3_000);
      assert.ok((await failure(here.acquireLock('k', { wait: 0 }))) instanceof LockTimeoutError);
    },
  },
  {
    name: 'a time-out tells who has held the lock for how long, and the place in the queue',
    needs: ['queue'],
    async run({ manager }) {
      const [here, there, third] = [await manager(), await manager(), await manager()];
      await here.acquireLock(['a', 'k'], { owner: 'alice' });
      await pause(30);
      const ahead = there.acquireLock('k');
      ahead.catch(() => {});
      await eventually(async () => (await here.inspectLock('k')).waiters.length === 1);
      const errors = await Promise.all([
        failure(third.acquireLock(['free', 'k'], { wait: 150 })),
        failure(there.acquireLock('k', { wait: 150 })),
      ]);
      for (const error of errors) {
        assert.ok(error instanceof LockTimeoutError);
        assert.equal(error.code, 'LOCK_TIMEOUT');
        assert.equal(error.details['key'], 'k');
        assert.equal(error.holders[0]?.owner, 'alice');
        assert.ok((error.holders[0]?.ageMs ?? 0) >= 150);
        assert.ok(error.position >= 2 && error.position <= 3, `place ${error.position}`);
        assert.ok(error.waitedMs >= 149);
        assert.match(error.message, /alice/);
      }
      assert.equal(await (await third.tryAcquireLock('free'))?.release(), true);
    },
  },
  {
    name: 'an aborted wait ends at once and leaves nothing behind',
    async run({ manager }) {
      const locks = await manager();
      const lock = await locks.acquireLock('k');
      const controller = new AbortController();
      const wait = failure(locks.acquireLock('k', { signal: controller.signal, wait: Infinity }));
      await pause(20);
      controller.abort(new Error('never mind'));
      const error = await wait;
      assert.ok(error instanceof LockAbortedError && error.cause instanceof Error);
      assert.ok(
        (await failure(locks.acquireLock('k', { signal: controller.signal }))) instanceof LockAbortedError,
      );
      await lock.release();
      await eventually(async () => (await (await locks.tryAcquireLock('k'))?.release()) === true);
    },
  },
  {
    name: 'closing a manager frees what it held and ends what waited',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock('k');
      const wait = failure(here.acquireLock('k', { wait: Infinity }));
      const { signal } = lock;
      await here.close();
      assert.ok((await wait) instanceof LockManagerClosedError);
      assert.equal(signal.aborted, true);
      assert.ok((await failure(here.acquireLock('other'))) instanceof LockManagerClosedError);
      assert.notEqual(await there.tryAcquireLock('k', { wait: 1_000 }), undefined);
    },
  },
];
