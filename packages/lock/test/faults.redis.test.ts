import { chaosProxy, spawnNode, startRedis, type NodeProcess } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { expect, test } from 'vitest';
import { createLockManager, LockLostError, type LockManager } from '../src/index.ts';
import { freshNamespace } from './run-conformance.ts';

const held = (process: NodeProcess): Promise<unknown> => process.message((m) => m['kind'] === 'held', 20_000);
const holder = new URL('./fixtures/holder.ts', import.meta.url);

async function untilQueued(locks: LockManager, key: string, count: number): Promise<void> {
  await eventually(async () => (await locks.inspectLock(key)).waiters.length === count);
}

test('scenario 1: with Redis frozen, the holder is told 1.7 to 2.0 s after its last renewal was sent', async () => {
  await using redis = await startRedis();
  await using locks = await createLockManager({ redis: redis.url, defaultTtl: 2_000 });
  const lock = await locks.acquireLock('k');
  const { signal } = lock;
  const renewals = locks.stats().renewals;
  await eventually(() => locks.stats().renewals > renewals, { interval: 1 });
  const sent = performance.now() - (2_000 * 0.98 - lock.remainingMs());
  redis.pause();
  await eventually(() => signal.aborted, { interval: 2 });
  const told = performance.now() - sent;
  redis.resume();
  expect(told).toBeGreaterThan(1_700);
  expect(told).toBeLessThan(2_000);
  expect(signal.reason).toBeInstanceOf(LockLostError);
  expect((signal.reason as LockLostError).reason).toBe('connection');
});

test('scenario 2: after a blocked event loop, assertHeld throws on the first line', async () => {
  await using redis = await startRedis();
  await using locks = await createLockManager({ redis: redis.url });
  const lock = await locks.acquireLock('k', { ttl: 300 });
  const end = performance.now() + 400;
  while (performance.now() < end);
  expect(() => lock.assertHeld()).toThrow(LockLostError);
  expect(lock.remainingMs()).toBe(0);
  expect(await lock.release()).toBe(false);
});

test('scenarios 4 to 7: a killed holder costs its lease, killed waiters cost next to nothing each', async () => {
  await using redis = await startRedis();
  const namespace = freshNamespace();
  await using locks = await createLockManager({
    redis: redis.url,
    namespace,
    defaultWait: 60_000,
    defaultTtl: 1_000,
  });
  const args = [redis.url, namespace, 'k', '1000'];
  await using dead = spawnNode(holder, { args });
  await held(dead);
  const next = locks.acquireLock('k');
  await untilQueued(locks, 'k', 1);
  await dead.kill('SIGKILL');
  const killed = performance.now();
  const lock = await next;
  expect(performance.now() - killed).toBeLessThan(1_050);
  const waiters: NodeProcess[] = [];
  for (let index = 0; index < 3; index += 1) {
    waiters.push(spawnNode(holder, { args }));
    await untilQueued(locks, 'k', index + 1);
  }
  await Promise.all(waiters.slice(0, 2).map((waiter) => waiter.kill('SIGKILL')));
  const last = held(waiters[2] as NodeProcess);
  const released = performance.now();
  await lock.release();
  await last;
  expect(performance.now() - released).toBeLessThan(40);
  await waiters[2]?.kill('SIGKILL');
});

test('scenario 8: waiters do not starve while their pub/sub connections are killed', async () => {
  await using redis = await startRedis();
  const namespace = freshNamespace();
  const managers = await Promise.all(
    [1, 2, 3].map(() =>
      createLockManager({ redis: redis.url, namespace, defaultTtl: 1_000, defaultWait: 20_000 }),
    ),
  );
  let inside = 0;
  let done = 0;
  let longest = 0;
  const end = performance.now() + 3_000;
  const worker = async (locks: LockManager): Promise<void> => {
    while (performance.now() < end) {
      const asked = performance.now();
      await locks.withLock('k', async () => {
        longest = Math.max(longest, performance.now() - asked);
        inside += 1;
        expect(inside).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 1));
        inside -= 1;
        done += 1;
      });
    }
  };
  const work = Promise.all(managers.flatMap((locks) => [worker(locks), worker(locks)]));
  while (performance.now() < end) {
    await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await work;
  expect(done).toBeGreaterThan(50);
  expect(longest).toBeLessThan(2_500);
  await Promise.all(managers.map((locks) => locks.close()));
});

test('scenarios 9 to 11: flushed scripts go unnoticed; after a flush or a restart the holder is told and tokens grow', async () => {
  await using redis = await startRedis();
  const namespace = freshNamespace();
  await using locks = await createLockManager({ redis: redis.url, namespace, defaultTtl: 900 });
  let last = 0;
  for (const fault of [() => redis.cli('FLUSHALL'), () => redis.restart()]) {
    await redis.cli('SCRIPT', 'FLUSH');
    const lock = await locks.acquireLock('k');
    expect(lock.fencingToken).toBeGreaterThan(last);
    last = lock.fencingToken;
    const { signal } = lock;
    await fault();
    await eventually(() => signal.aborted, { timeout: 1_500 });
    await lock.release();
  }
  const lock = await locks.acquireLock('k');
  expect(lock.fencingToken).toBeGreaterThan(last);
});

test('scenario 20: lost replies give exactly one hold, no error, and no token twice', async () => {
  await using redis = await startRedis();
  await using proxy = await chaosProxy({ target: redis });
  const namespace = freshNamespace();
  await using locks = await createLockManager({ redis: proxy.url('redis'), namespace, defaultWait: 20_000 });
  await using direct = await createLockManager({ redis: redis.url, namespace });
  const tokens = new Set<number>();
  for (let turn = 0; turn < 15; turn += 1) {
    proxy.dropReplies(1);
    const lock = await locks.acquireLock('k');
    expect(tokens.has(lock.fencingToken)).toBe(false);
    tokens.add(lock.fencingToken);
    expect((await direct.inspectLock('k')).holders).toHaveLength(1);
    proxy.dropReplies(1);
    await lock.release();
    await eventually(async () => (await direct.inspectLock('k')).holders.length === 0);
  }
});

test(
  'scenario 19: randomly cancelled waits leave no hold and no place in the queue',
  { timeout: 60_000 },
  async () => {
    await using redis = await startRedis();
    const namespace = freshNamespace();
    const managers = await Promise.all([1, 2].map(() => createLockManager({ redis: redis.url, namespace })));
    const total = 10_000;
    let started = 0;
    const worker = async (index: number): Promise<void> => {
      while (started < total) {
        started += 1;
        const controller = new AbortController();
        const wait = managers[index % 2]?.acquireLock(`k${started % 5}`, {
          signal: controller.signal,
          fair: started % 3 === 0,
          type: started % 7 === 0 ? 'shared' : 'exclusive',
        });
        if (started % 2 === 0) setImmediate(() => controller.abort());
        else queueMicrotask(() => controller.abort());
        const lock = await wait?.catch(() => undefined);
        await lock?.release();
      }
    };
    await Promise.all(Array.from({ length: 20 }, (_, index) => worker(index)));
    await eventually(async () => {
      const left = await redis.cli('KEYS', `${namespace}:*`);
      return left === `${namespace}:lock-fence` || left === '';
    });
    await Promise.all(managers.map((locks) => locks.close()));
  },
);
