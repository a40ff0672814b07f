import { spawnNode, startRedis } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { expect, test } from 'vitest';
import { createLockManager, LockType, type LockManager } from '../src/index.ts';
import { freshNamespace } from './run-conformance.ts';

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

async function managersOf(redis: string, count: number): Promise<LockManager[]> {
  const namespace = freshNamespace();
  return await Promise.all(
    Array.from({ length: count }, () => createLockManager({ redis, namespace, defaultWait: 60_000 })),
  );
}

const closeAll = async (managers: readonly LockManager[]): Promise<void> =>
  void (await Promise.all(managers.map((locks) => locks.close())));

test('scenario 15: 100 strict waiters of 10 processes are served in the order in which they came', async () => {
  await using redis = await startRedis();
  const namespace = freshNamespace();
  await using locks = await createLockManager({ redis: redis.url, namespace });
  const first = await locks.acquireLock('k');
  const queuers = Array.from({ length: 10 }, () =>
    spawnNode(new URL('./fixtures/queuer.ts', import.meta.url), { args: [redis.url, namespace, 'k'] }),
  );
  await Promise.all(queuers.map((each) => each.message(({ kind }) => kind === 'ready', 60_000)));
  for (let place = 0; place < 100; place += 1) {
    queuers[place % 10]?.send({ place });
    const queued = async (): Promise<boolean> => (await locks.inspectLock('k')).waiters.length === place + 1;
    await eventually(queued, { interval: 1 });
  }
  await first.release();
  const turns = queuers.flatMap((each, index) =>
    Array.from({ length: 10 }, async (_, turn) => {
      const place = 10 * turn + index;
      return await each.message(
        (message) => message['kind'] === 'turn' && message['place'] === place,
        60_000,
      );
    }),
  );
  // Messages of several processes come in any order; tokens tell the order of the turns.
  const order = (await Promise.all(turns)).toSorted((a, b) => Number(a['token']) - Number(b['token']));
  expect(order.map(({ place }) => place)).toEqual(Array.from({ length: 100 }, (_, index) => index));
  await Promise.all(queuers.map((each) => each.kill()));
}, 120_000);

test('scenario 15: without strictness, a process takes at most 8 turns while another one waits', async () => {
  await using redis = await startRedis();
  const managers = await managersOf(redis.url, 3);
  const [here, there, watcher] = managers;
  if (here === undefined || there === undefined || watcher === undefined)
    throw new Error('three were asked for');
  let stop = false;
  let turns = 0;
  const work = Array.from({ length: 20 }, async () => {
    while (!stop) {
      await here.withLock('k', async () => {
        turns += 1;
        await pause(2);
      });
    }
  });
  const passed: number[] = [];
  for (let time = 0; time < 50; time += 1) {
    await pause(20);
    let entered: number | undefined;
    const turn = there.withLock('k', async () => (entered = turns));
    // Those who wait inside the process that has the lock are known to itself alone, so this one is the first shown.
    const queued = async (): Promise<boolean> => (await watcher.inspectLock('k')).waiters.length === 1;
    await eventually(async () => entered !== undefined || (await queued()), { interval: 0 });
    const before = turns;
    const missed = entered !== undefined;
    const after = await turn;
    if (!missed) passed.push(after - before);
  }
  stop = true;
  await Promise.all(work);
  // Some of them had their turn before anybody saw them wait.
  expect(passed.length).toBeGreaterThan(10);
  expect(Math.max(...passed)).toBeGreaterThan(0);
  expect(Math.max(...passed)).toBeLessThanOrEqual(8);
  await closeAll(managers);
});

test('scenario 16: with readers coming all the time, a writer waits no longer than the longest reader holds', async () => {
  await using redis = await startRedis();
  const managers = await managersOf(redis.url, 3);
  const readers = managers.slice(1);
  let stop = false;
  const read = async (locks: LockManager, at: number): Promise<void> => {
    await pause(at);
    while (!stop) await locks.withLock('k', LockType.SHARED, () => pause(100));
  };
  const reading = readers.flatMap((locks) => [0, 20, 40, 60, 80].map((at) => read(locks, at)));
  await pause(300);
  const waits: number[] = [];
  for (let turn = 0; turn < 5; turn += 1) {
    const asked = performance.now();
    await managers[0]?.withLock('k', async () => void waits.push(performance.now() - asked));
    await pause(50);
  }
  stop = true;
  await Promise.all(reading);
  // Readers that came later would make it wait for ever; the best of five is free of what the machine does meanwhile.
  expect(Math.min(...waits)).toBeLessThan(110);
  expect(Math.max(...waits)).toBeLessThan(1_000);
  await closeAll(managers);
});

test('scenario 16: a reader that died blocks a writer for its own lease only, though other readers renew theirs', async () => {
  await using redis = await startRedis();
  const namespace = freshNamespace();
  await using locks = await createLockManager({ redis: redis.url, namespace, defaultWait: 20_000 });
  const ttl = 1_500;
  await using dead = spawnNode(new URL('./fixtures/holder.ts', import.meta.url), {
    args: [redis.url, namespace, 'k', String(ttl), 'shared'],
  });
  await dead.message(({ kind }) => kind === 'held', 20_000);
  const alive = await locks.acquireLock('k', { type: LockType.SHARED, ttl });
  await dead.kill('SIGKILL');
  const killed = performance.now();
  const writer = locks.acquireLock('k');
  await eventually(async () => (await locks.inspectLock('k')).holders.length === 1, { interval: 5 });
  expect(performance.now() - killed).toBeLessThan(ttl + 50);
  await pause(ttl);
  alive.assertHeld();
  await alive.release();
  await (await writer).release();
});
