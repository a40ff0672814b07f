import assert from 'node:assert/strict';
import { InvalidOptionError } from '@xiaoke/core';
import { LockTimeoutError } from '../../errors.ts';
import { failure, pause, type ConformanceCase } from '../conformance-case.ts';

/** Permits. */
export const semaphoreCases: readonly ConformanceCase[] = [
  {
    name: 'a semaphore never has more permits out than it has, over several managers',
    needs: ['semaphore'],
    async run({ manager }) {
      const managers = await Promise.all([manager(), manager()]);
      let out = 0;
      const worker = async (index: number): Promise<void> => {
        const semaphore = managers[index % 2]?.semaphore('s', 3, { wait: 20_000 });
        for (let turn = 0; turn < 10; turn += 1) {
          const weight = 1 + ((index + turn) % 3);
          const permit = await semaphore?.acquire(weight);
          out += weight;
          assert.ok(out <= 3, `${out} permits are out`);
          await pause(0);
          out -= weight;
          assert.equal(await permit?.release(), true);
        }
      };
      await Promise.all(Array.from({ length: 8 }, (_, index) => worker(index)));
    },
  },
  {
    name: 'whoever wants many permits is not overtaken for ever by those who want one',
    needs: ['semaphore', 'queue'],
    async run({ manager }) {
      const locks = await manager();
      const semaphore = locks.semaphore('s', 2);
      const one = await semaphore.acquire();
      const order: string[] = [];
      const two = semaphore.acquire(2).then(async (lock) => {
        order.push('two');
        await lock.release();
      });
      await pause(20);
      assert.equal(await semaphore.tryAcquire(), undefined);
      const late = semaphore.acquire().then(async (lock) => {
        order.push('one');
        await lock.release();
      });
      await pause(20);
      await one.release();
      await Promise.all([two, late]);
      assert.deepEqual(order, ['two', 'one']);
    },
  },
  {
    name: 'permits that are not extended come back, and permits are no lock of the same key',
    needs: ['semaphore'],
    async run({ manager }) {
      const locks = await manager();
      const semaphore = locks.semaphore('s', 2, { ttl: 1_500, autoExtend: false });
      const lock = await locks.acquireLock('s');
      const permits = await semaphore.acquire(2);
      assert.equal(permits.type, 'permits');
      assert.ok((await failure(semaphore.acquire(1, { wait: 20 }))) instanceof LockTimeoutError);
      const next = await semaphore.acquire(2, { wait: 20_000 });
      assert.ok(next.fencingToken > permits.fencingToken);
      assert.equal(await permits.release(), false);
      assert.equal(await next.release(), true);
      lock.assertHeld();
    },
  },
  {
    name: 'a number of permits that makes no sense is refused',
    needs: ['semaphore'],
    async run({ manager }) {
      const locks = await manager();
      assert.throws(() => locks.semaphore('s', 0), InvalidOptionError);
      assert.throws(() => locks.semaphore('s', 1.5), InvalidOptionError);
      assert.throws(() => locks.semaphore('', 1), InvalidOptionError);
      assert.ok((await failure(locks.semaphore('s', 2).acquire(3))) instanceof InvalidOptionError);
    },
  },
];
