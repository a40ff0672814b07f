import assert from 'node:assert/strict';
import { DeadlockError } from '../../errors.ts';
import type { LockManager } from '../../lock-manager.ts';
import { gate, type ConformanceCase } from '../conformance-case.ts';

/** Everybody takes their own key, and then waits for the next one's. */
async function circle(
  managers: readonly LockManager[],
  prefix: string,
): Promise<PromiseSettledResult<string>[]> {
  const all = gate();
  let holding = 0;
  const key = (index: number): string => `${prefix}${index % managers.length}`;
  return await Promise.allSettled(
    managers.map((locks, index) =>
      locks.withLock(key(index), async () => {
        holding += 1;
        if (holding === managers.length) all.open();
        await all.opened;
        return await locks.withLock(key(index + 1), { wait: 20_000 }, async () => 'done');
      }),
    ),
  );
}

function assertOneVictim(results: readonly PromiseSettledResult<string>[]): DeadlockError {
  const failed = results.filter((result) => result.status === 'rejected');
  assert.equal(failed.length, 1, `${failed.length} victims`);
  const error: unknown = failed[0]?.reason;
  assert.ok(error instanceof DeadlockError);
  return error;
}

/** Waits that could never end. */
export const deadlockCases: readonly ConformanceCase[] = [
  {
    name: 'a deadlock inside one process is found at once, with one victim and its cycle',
    async run({ manager }) {
      const locks = await manager();
      const started = performance.now();
      for (const size of [2, 3, 5]) {
        const error = assertOneVictim(await circle(Array<LockManager>(size).fill(locks), `d${size}-`));
        assert.equal(error.cycle.length, size);
      }
      assert.ok(performance.now() - started < 900, 'it waited for the deadlock timeout');
      assert.equal(locks.stats().deadlocks, 3);
    },
  },
  {
    name: 'a deadlock of several managers ends after the deadlock timeout, with one victim and its cycle',
    needs: ['remote-deadlock'],
    async run({ manager }) {
      for (const size of [2, 3, 4]) {
        const managers = await Promise.all(
          Array.from({ length: size }, () => manager({ deadlockTimeout: 50 })),
        );
        const started = performance.now();
        const error = assertOneVictim(await circle(managers, `r${size}-`));
        assert.equal(error.cycle.length, size);
        assert.ok(performance.now() - started < 2_000);
      }
    },
  },
  {
    name: 'waits in one order are never taken for a deadlock, however long they are',
    needs: ['remote-deadlock'],
    async run({ manager }) {
      const managers = await Promise.all([manager({ deadlockTimeout: 2 }), manager({ deadlockTimeout: 2 })]);
      const worker = async (index: number): Promise<void> => {
        for (let turn = 0; turn < 15; turn += 1) {
          const locks = managers[index % 2];
          await locks?.withLock('a', { wait: 20_000 }, () =>
            locks.withLock('b', { wait: 20_000 }, () =>
              locks.withLock('c', { wait: 20_000 }, async () => {}),
            ),
          );
        }
      };
      await Promise.all(Array.from({ length: 6 }, (_, index) => worker(index)));
      for (const locks of managers) assert.equal(locks.stats().deadlocks, 0);
    },
  },
];
