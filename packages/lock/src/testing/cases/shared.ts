import assert from 'node:assert/strict';
import { eventually } from '@xiaoke/core/testing';
import { DeadlockError, LockTimeoutError } from '../../errors.ts';
import { LockType } from '../../lock-type.ts';
import { failure, pause, type ConformanceCase } from '../conformance-case.ts';

const { SHARED } = LockType;

/** Locks of many readers or one writer. */
export const sharedCases: readonly ConformanceCase[] = [
  {
    name: 'readers share, and a writer waits for all of them',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const readers = [await here.acquireLock('k', SHARED), await there.acquireLock('k', SHARED)];
      assert.equal(await here.tryAcquireLock('k'), undefined);
      const writer = here.acquireLock('k');
      await readers[0]?.release();
      assert.equal(await Promise.race([writer.then(() => 'in'), pause(30).then(() => 'out')]), 'out');
      await readers[1]?.release();
      const lock = await writer;
      assert.equal(await there.tryAcquireLock('k', SHARED), undefined);
      await lock.release();
    },
  },
  {
    name: 'a waiting writer goes before readers who come later, so it is not starved',
    needs: ['queue'],
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const reader = await here.acquireLock('k', SHARED);
      const order: string[] = [];
      const writer = there.withLock('k', { fair: true }, async () => void order.push('writer'));
      await pause(20);
      assert.equal(await here.tryAcquireLock('k', SHARED), undefined);
      const late = [here, there].map((locks) =>
        locks.withLock('k', SHARED, async () => void order.push('reader')),
      );
      await pause(20);
      await reader.release();
      await Promise.all([writer, ...late]);
      assert.deepEqual(order, ['writer', 'reader', 'reader']);
    },
  },
  {
    name: 'a downgrade lets readers in and keeps writers out, without a moment in between',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock('k');
      await lock.downgrade();
      assert.equal(lock.type, SHARED);
      const reader = await there.tryAcquireLock('k', SHARED);
      assert.notEqual(reader, undefined);
      assert.equal(await there.tryAcquireLock('k'), undefined);
      await lock.extend();
      assert.equal(await reader?.release(), true);
      assert.equal(await lock.release(), true);
      assert.notEqual(await there.tryAcquireLock('k'), undefined);
    },
  },
  {
    name: 'an upgrade waits for the other readers and then has a larger token',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock('k', SHARED);
      const other = await there.acquireLock('k', SHARED);
      const before = Math.max(lock.fencingToken, other.fencingToken);
      const upgraded = lock.upgrade();
      await pause(20);
      assert.equal(lock.type, SHARED);
      await other.release();
      await upgraded;
      assert.equal(lock.type, LockType.EXCLUSIVE);
      assert.ok(lock.fencingToken > before);
      assert.equal(await there.tryAcquireLock('k', SHARED), undefined);
      await lock.downgrade();
      assert.notEqual(await there.tryAcquireLock('k', SHARED), undefined);
    },
  },
  {
    name: 'of two readers who upgrade, the second is told at once that neither could finish',
    needs: ['queue'],
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const first = await here.acquireLock('k', SHARED);
      const second = await there.acquireLock('k', SHARED);
      const upgraded = first.upgrade();
      await pause(20);
      assert.ok((await failure(second.upgrade())) instanceof DeadlockError);
      second.assertHeld();
      await second.release();
      await upgraded;
      assert.equal(await first.release(), true);
    },
  },
  {
    name: 'an upgrade that was given up leaves its shared hold as it was',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock('k', SHARED);
      const other = await there.acquireLock('k', SHARED);
      await failure(lock.upgrade({ wait: 30 }));
      await failure(lock.upgrade({ signal: AbortSignal.abort() }));
      lock.assertHeld();
      assert.equal(await other.release(), true);
      assert.notEqual(await there.tryAcquireLock('k', SHARED, { wait: 1_000 }), undefined);
      assert.equal(await lock.release(), true);
    },
  },
  {
    name: 'an upgrade of several keys is all or none, with one token larger than all before',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock(['a', 'b'], SHARED);
      const other = await there.acquireLock('b', SHARED);
      assert.ok((await failure(lock.upgrade({ wait: 100 }))) instanceof LockTimeoutError);
      assert.equal(lock.type, 'shared');
      lock.assertHeld();
      const reader = await there.tryAcquireLock('a', SHARED, { wait: 2_000 });
      assert.ok(reader !== undefined, 'the first key stayed exclusive');
      await reader.release();
      await other.release();
      await lock.upgrade({ wait: 2_000 });
      assert.equal(lock.type, 'exclusive');
      assert.ok(lock.fencingToken > Math.max(other.fencingToken, reader.fencingToken));
      assert.equal(await there.tryAcquireLock('a', SHARED), undefined);
      assert.equal(await lock.release(), true);
      for (const key of lock.keys) {
        const later = await there.acquireLock(key, { wait: 2_000 });
        assert.ok(later.fencingToken > lock.fencingToken, `a later token of ${key} is not larger`);
        await later.release();
      }
    },
  },
  {
    name: 'what was taken by a single try can be upgraded, and an upgrade that does not wait tries once',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.tryAcquireLock('k', SHARED);
      assert.ok(lock !== undefined);
      await lock.upgrade();
      assert.equal(lock.type, 'exclusive');
      await lock.downgrade();
      const other = await there.acquireLock('k', SHARED);
      assert.ok((await failure(lock.upgrade({ wait: 0 }))) instanceof LockTimeoutError);
      await other.release();
      await eventually(async () => {
        await lock.upgrade({ wait: 0 });
        return true;
      });
    },
  },
];
