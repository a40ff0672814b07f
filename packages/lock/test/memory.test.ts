import { expect, test } from 'vitest';
import { createLockManager, DeadlockError, LockTimeoutError, LockType } from '../src/index.ts';

test('a lock excludes others until it is released, and hands over in order', async () => {
  await using locks = await createLockManager({ namespace: 'm1' });
  const first = await locks.acquireLock('k');
  const order: number[] = [];
  const waits = [1, 2, 3].map(async (n) => {
    const lock = await locks.acquireLock('k');
    order.push(n);
    await lock.release();
  });
  expect(await locks.tryAcquireLock('k')).toBeUndefined();
  expect((await locks.inspectLock('k')).waiters).toHaveLength(3);
  expect(await first.release()).toBe(true);
  await Promise.all(waits);
  expect(order).toEqual([1, 2, 3]);
  expect(await first.release()).toBe(false);
});

test('readers share, a waiting writer is not starved, and re-entry and siblings behave', async () => {
  await using locks = await createLockManager({ namespace: 'm2' });
  const a = await locks.acquireLock('k', LockType.SHARED);
  const b = await locks.acquireLock('k', LockType.SHARED);
  const writer = locks.acquireLock('k');
  const late = await locks.tryAcquireLock('k', LockType.SHARED);
  expect(late).toBeUndefined();
  await a.release();
  await b.release();
  await (await writer).release();
  let inside = 0;
  let most = 0;
  await locks.withLock('r', LockType.REENTRANT, async (outer) => {
    await locks.withLock('r', LockType.REENTRANT, async (inner) => {
      expect(inner.fencingToken).toBe(outer.fencingToken);
    });
    await Promise.all(
      [1, 2, 3].map(() =>
        locks.withLock('r', LockType.REENTRANT, async () => {
          inside += 1;
          most = Math.max(most, inside);
          await new Promise((resolve) => setTimeout(resolve, 5));
          inside -= 1;
        }),
      ),
    );
  });
  expect(most).toBe(1);
});

test('two scopes that wait for each other: one gets a DeadlockError at once', async () => {
  await using locks = await createLockManager({ namespace: 'm3' });
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  let ready = 0;
  const both = async (x: string, y: string) =>
    locks.withLock(x, async () => {
      ready += 1;
      if (ready === 2) open();
      await gate;
      return locks.withLock(y, async () => 'done');
    });
  const results = await Promise.allSettled([both('a', 'b'), both('b', 'a')]);
  const failed = results.filter((r) => r.status === 'rejected');
  expect(failed).toHaveLength(1);
  expect(failed[0]?.reason).toBeInstanceOf(DeadlockError);
  await expect(locks.withLock('a', () => locks.withLock('a', async () => 1))).rejects.toThrow(DeadlockError);
});

test('a time-out names the holder', async () => {
  await using locks = await createLockManager({ namespace: 'm4' });
  await using _ = await locks.acquireLock('k', { owner: 'alice' });
  await expect(locks.acquireLock('k', { wait: 30 })).rejects.toThrow(/held by alice/);
  await expect(locks.acquireLock('k', { wait: 0 })).rejects.toThrow(LockTimeoutError);
  const several = await locks.acquireLock(['x', 'y', 'x']);
  expect(several.keys).toEqual(['x', 'y']);
  await several.release();
  const e = locks.election('boss');
  const term = await e.campaign();
  expect((await e.leader())?.fencingToken).toBe(term.fencingToken);
  await term.resign();
});
