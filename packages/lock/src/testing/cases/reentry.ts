import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { DeadlockError, LockTimeoutError } from '../../errors.ts';
import { LockType } from '../../lock-type.ts';
import { failure, pause, type ConformanceCase } from '../conformance-case.ts';

const { REENTRANT, SHARED } = LockType;

/** Entering again what the caller holds. */
export const reentryCases: readonly ConformanceCase[] = [
  {
    name: 'nested calls enter a reentrant lock again, across awaits, timers and emitters',
    async run({ manager }) {
      const locks = await manager();
      await locks.withLock('k', REENTRANT, async (outer) => {
        await pause(1);
        await locks.withLock('k', REENTRANT, async (inner) => {
          assert.equal(inner.fencingToken, outer.fencingToken);
          const emitter = new EventEmitter();
          setTimeout(() => emitter.emit('go'), 1);
          await once(emitter, 'go');
          await locks.withLock('k', REENTRANT, async (third) => third.assertHeld());
        });
        outer.assertHeld();
      });
      assert.equal(locks.stats().reentries, 2);
      assert.notEqual(await locks.tryAcquireLock('k'), undefined);
    },
  },
  {
    name: 'siblings of one Promise.all exclude each other, inside a hold and outside',
    async run({ manager }) {
      const locks = await manager();
      let inside = 0;
      const critical = async (): Promise<void> => {
        inside += 1;
        assert.equal(inside, 1, 'two siblings were inside together');
        await pause(2);
        inside -= 1;
      };
      const siblings = (): Promise<unknown> =>
        Promise.all([1, 2, 3].map(() => locks.withLock('k', REENTRANT, critical)));
      await siblings();
      await locks.withLock('k', REENTRANT, async () => void (await siblings()));
    },
  },
  {
    name: 'an exclusive lock that its own holder asks for again is refused at once instead of waiting for ever',
    async run({ manager }) {
      const locks = await manager();
      const nested = locks.withLock('k', () => locks.withLock('k', { wait: Infinity }, async () => 1));
      const error = await failure(nested);
      assert.ok(error instanceof DeadlockError && error.cycle[0]?.key === 'k');
    },
  },
  {
    name: 'a try finds busy what its own holder has, and takes nothing',
    async run({ manager }) {
      const locks = await manager();
      await locks.withLock('k', async (lock) => {
        assert.equal(await locks.tryAcquireLock('k'), undefined);
        assert.equal(await locks.tryAcquireLock(['free', 'k']), undefined);
        assert.equal(await locks.tryAcquireLock('k', LockType.SHARED), undefined);
        assert.ok((await failure(locks.acquireLock('k', { wait: 0 }))) instanceof LockTimeoutError);
        lock.assertHeld();
      });
      assert.equal(await (await locks.tryAcquireLock('free'))?.release(), true);
      assert.equal(locks.stats().deadlocks, 0);
    },
  },
  {
    name: 'run and within enter any type of lock again, and parts of several keys too',
    async run({ manager }) {
      const locks = await manager();
      const lock = await locks.acquireLock('a');
      assert.equal(await lock.run(() => locks.withLock('a', async () => 7)), 7);
      const both = await locks.acquireLock(['a', 'b'], { within: lock });
      assert.ok(both.fencingToken > lock.fencingToken);
      assert.equal(await both.release(), true);
      assert.equal(await lock.release(), true);
    },
  },
  {
    name: 'a reader reads again though a writer waits in between',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      let writer: Promise<unknown> = Promise.resolve();
      await here.withLock('k', SHARED, async () => {
        writer = there.withLock('k', async () => {});
        await pause(20);
        await here.withLock('k', SHARED, async (inner) => inner.assertHeld());
      });
      await writer;
    },
  },
  {
    name: 'the decorator locks per call by the key its template makes, and the wrapper too',
    async run({ manager }) {
      const locks = await manager();
      let inside = 0;
      let most = 0;
      const book = locks.withLock('slot:{doctor}')(async (request: { doctor: string }) => {
        inside += 1;
        most = Math.max(most, inside);
        await pause(5);
        inside -= 1;
        return request.doctor;
      });
      assert.deepEqual(await Promise.all([book({ doctor: 'li' }), book({ doctor: 'li' })]), ['li', 'li']);
      assert.equal(most, 1);
      await Promise.all([book({ doctor: 'li' }), book({ doctor: 'wu' })]);
      assert.equal(most, 2);
      await failure(book({ doctor: '' }));
      assert.equal(locks.stats().held, 0);
    },
  },
];
