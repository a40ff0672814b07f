import assert from 'node:assert/strict';
import { InvalidOptionError } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { LockLostError } from '../../errors.ts';
import { failure, pause, type ConformanceCase } from '../conformance-case.ts';

/** How long a lock lasts. */
export const leaseCases: readonly ConformanceCase[] = [
  {
    name: 'a lock that is not extended is lost on time: the signal fires first, then another one gets it',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const lock = await here.acquireLock('k', { ttl: 200, autoExtend: false });
      const lost: unknown[] = [];
      here.on('lost', (_lock, error) => void lost.push(error.reason));
      const { signal } = lock;
      const next = await there.acquireLock('k', { wait: 20_000 });
      assert.equal(signal.aborted, true);
      assert.ok(signal.reason instanceof LockLostError && signal.reason.reason === 'expired');
      assert.throws(() => lock.assertHeld(), LockLostError);
      assert.equal(lock.remainingMs(), 0);
      assert.equal(await lock.release(), false);
      assert.deepEqual(lost, ['expired']);
      next.assertHeld();
      assert.equal(await next.release(), true);
    },
  },
  {
    name: 'a lock that is extended by itself outlives its lease many times',
    async run({ manager }) {
      const [here, there] = [await manager(), await manager()];
      const ttl = 1_500;
      const lock = await here.acquireLock('k', { ttl });
      const held = performance.now();
      for (let look = 0; look < 8; look += 1) {
        await pause(600);
        assert.equal(lock.signal.aborted, false);
        assert.equal(await there.tryAcquireLock('k'), undefined);
      }
      // At most one renewal each third of the lease, and one more.
      assert.ok(here.stats().renewals <= Math.ceil((performance.now() - held) / (ttl / 3)) + 1);
      assert.equal(await lock.release(), true);
    },
  },
  {
    name: 'extend gives a lease of its own length, and refuses one that is gone',
    async run({ manager }) {
      const locks = await manager();
      const lock = await locks.acquireLock('k', { ttl: 1_000, autoExtend: false });
      await lock.extend('9s');
      assert.ok(lock.remainingMs() > 4_000);
      await pause(1_100);
      lock.assertHeld();
      await locks.forceRelease('k');
      await eventually(() => lock.signal.aborted);
      assert.ok((await failure(lock.extend())) instanceof LockLostError);
    },
  },
  {
    name: 'maxHold ends a lock however often it is extended',
    async run({ manager }) {
      const locks = await manager();
      const started = performance.now();
      const lock = await locks.acquireLock('k', { ttl: 1_200, maxHold: 2_000 });
      await eventually(() => lock.signal.aborted);
      const held = performance.now() - started;
      assert.ok(held > 1_900 && held < 2_900, `it lasted ${held} ms`);
      assert.equal((lock.signal.reason as LockLostError).reason, 'max-hold');
      assert.equal(await lock.release(), false);
      assert.notEqual(await locks.tryAcquireLock('k', { wait: 1_000 }), undefined);
    },
  },
  {
    name: 'bad input is refused before anything is acquired',
    async run({ manager }) {
      const locks = await manager();
      const refused = [
        locks.acquireLock(''),
        locks.acquireLock([]),
        locks.acquireLock(['a', '']),
        locks.acquireLock('k', { ttl: 0 }),
        locks.acquireLock('k', { ttl: -5 }),
        locks.acquireLock('k', { ttl: 99 }),
        locks.acquireLock('k', { ttl: Infinity }),
        locks.acquireLock('k', { wait: -1 }),
        locks.acquireLock('k', { wait: 'soon' }),
        locks.acquireLock('k', { priority: 0.5 }),
        locks.acquireLock('k', { owner: '' }),
        locks.acquireLock('k', { type: 'both' as never }),
        locks.tryAcquireLock('k', { maxHold: 1 }),
        locks.withLock('', async () => 1),
      ];
      for (const call of refused) assert.ok((await failure(call)) instanceof InvalidOptionError);
      assert.throws(() => locks.withLock('user:{'), InvalidOptionError);
      const keyed = locks.withLock('user:{id}')(async (request: { id?: string }) => request.id);
      assert.equal(((await failure(keyed({}))) as { code?: unknown }).code, 'KEY_TEMPLATE');
      assert.equal(locks.stats().acquired, 0);
    },
  },
];
