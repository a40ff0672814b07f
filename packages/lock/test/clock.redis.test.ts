import { settableClock, spawnNode, startRedis, type NodeProcess } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { expect, test } from 'vitest';
import { createLockManager, LockLostError } from '../src/index.ts';
import { freshNamespace } from './run-conformance.ts';

const HOUR = 3_600;
const holder = new URL('./fixtures/holder.ts', import.meta.url);

async function beliefOf(process: NodeProcess): Promise<unknown> {
  const before = process.messages.length;
  process.send({ kind: 'what do you believe?' });
  const answer = await process.message(
    (message) => message['kind'] === 'belief' && process.messages.indexOf(message) >= before,
  );
  return answer['held'];
}

test('scenario 12: when the clock of the server is set an hour forward, the holder is told by its next renewal and its waiter goes on', async () => {
  const clock = await settableClock();
  await using redis = await startRedis({ env: clock.env });
  const options = { redis: redis.url, namespace: freshNamespace(), defaultTtl: 1_500, defaultWait: 20_000 };
  await using one = await createLockManager(options);
  await using two = await createLockManager(options);
  const lock = await one.acquireLock('k');
  const { signal } = lock;
  const waiter = two.acquireLock('k');
  await eventually(async () => (await one.inspectLock('k')).waiters.length === 1);
  clock.set(HOUR);
  const set = performance.now();
  await eventually(() => signal.aborted, { interval: 2 });
  expect(performance.now() - set).toBeLessThan(1_500 / 3 + 300);
  expect(signal.reason).toBeInstanceOf(LockLostError);
  const next = await waiter;
  expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
  expect(await lock.release()).toBe(false);
  // The new holder is not disturbed by the leftover of the old one.
  const { renewals } = two.stats();
  await eventually(() => two.stats().renewals > renewals + 2);
  next.assertHeld();
  expect(await next.release()).toBe(true);
});

test('scenario 12: when the clock of the server is set an hour back, holders keep their locks and no token goes back', async () => {
  const clock = await settableClock();
  clock.set(HOUR);
  await using redis = await startRedis({ env: clock.env });
  const options = { redis: redis.url, namespace: freshNamespace(), defaultTtl: 1_500, defaultWait: 20_000 };
  await using one = await createLockManager(options);
  await using two = await createLockManager(options);
  const lock = await one.acquireLock('k');
  expect(lock.fencingToken).toBeGreaterThan((Date.now() + HOUR * 990) * 1_000);
  const waiter = two.acquireLock('k');
  await eventually(async () => (await one.inspectLock('k')).waiters.length === 1);
  clock.set(0);
  const { renewals } = one.stats();
  await eventually(() => one.stats().renewals > renewals + 2);
  lock.assertHeld();
  expect(await lock.release()).toBe(true);
  const next = await waiter;
  let last = lock.fencingToken;
  expect(next.fencingToken).toBeGreaterThan(last);
  last = next.fencingToken;
  await next.release();
  for (const type of ['exclusive', 'shared', 'exclusive'] as const) {
    await using again = await one.acquireLock('k', type);
    expect(again.fencingToken).toBeGreaterThan(last);
    last = again.fencingToken;
  }
});

test(
  'scenario 12: a holder whose own clock is set an hour forward gives up at once, one whose clock is set back goes on',
  { timeout: 90_000 },
  async () => {
    await using redis = await startRedis();
    const namespace = freshNamespace();
    await using locks = await createLockManager({ redis: redis.url, namespace, defaultWait: 20_000 });
    const ttl = 2_000;
    const clock = await settableClock();
    const start = async (key: string): Promise<NodeProcess> => {
      const child = spawnNode(holder, { args: [redis.url, namespace, key, String(ttl)], env: clock.env });
      await child.message(({ kind }) => kind === 'held', 20_000);
      return child;
    };
    await using back = await start('back');
    clock.set(-HOUR);
    // Renewed more than once since, by the server's measure.
    await new Promise((resolve) => {
      setTimeout(resolve, 1.5 * ttl);
    });
    expect(await beliefOf(back)).toBe(true);
    expect(await locks.tryAcquireLock('back')).toBeUndefined();
    await back.kill();
    await using forward = await start('forward');
    clock.set(HOUR);
    // It may have slept through its lease, as far as it can tell.
    expect(await beliefOf(forward)).toBe(false);
    const set = performance.now();
    const next = await locks.acquireLock('forward');
    expect(performance.now() - set).toBeLessThan(ttl + 500);
    expect(await beliefOf(forward)).toBe(false);
    next.assertHeld();
  },
);
