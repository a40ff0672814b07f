import { spawnNode, startRedis, type RedisServer } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { expect, test } from 'vitest';
import { createLockManager, LockType } from '../src/index.ts';
import { freshNamespace } from './run-conformance.ts';

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

/** How many scripts the server has run. */
async function scriptsRun(redis: RedisServer): Promise<number> {
  const stats = await redis.cli('INFO', 'commandstats');
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

/** What the server has used of a processor. */
async function cpuSeconds(redis: RedisServer): Promise<number> {
  const facts = await redis.cli('INFO', 'cpu');
  const used = (of: string): number => Number(new RegExp(`used_cpu_${of}:([\\d.]+)`).exec(facts)?.[1]);
  return used('sys') + used('user');
}

test('scenario 17: entering again costs no command at all', async () => {
  await using redis = await startRedis();
  await using locks = await createLockManager({ redis: redis.url, namespace: freshNamespace() });
  const enter = (depth: number): Promise<void> =>
    locks.withLock('k', LockType.REENTRANT, async () => {
      if (depth > 0) await Promise.all([enter(depth - 1), enter(depth - 1)]);
    });
  await locks.withLock('k', LockType.REENTRANT, async () => {
    const before = await scriptsRun(redis);
    await enter(6);
    expect(await scriptsRun(redis)).toBe(before);
  });
  expect(locks.stats().reentries).toBe(127);
});

/** For how long the soak goes on, in seconds. */
const SOAK = Number(
  process.env['XIAOKE_SOAK_SECONDS'] ?? (process.env['XIAOKE_CHAOS'] === 'nightly' ? 600 : 6),
);

test(
  `scenario 21: locks on a thousand keys, taken for ${SOAK} s, leave one key behind and a heap as it was, and a process that closed ends by itself`,
  { timeout: SOAK * 1_000 + 90_000 },
  async () => {
    await using redis = await startRedis();
    const namespace = freshNamespace();
    await using soak = spawnNode(new URL('./fixtures/soak.ts', import.meta.url), {
      args: [redis.url, namespace, String(SOAK)],
      execArgv: ['--expose-gc'],
    });
    const result = await soak.message(({ kind }) => kind === 'closed', SOAK * 1_000 + 60_000);
    expect(result['grown']).toBeLessThan(3_000_000);
    expect(result['listenersGrown']).toBe(0);
    expect(result['pairs']).toBeGreaterThan(1_000 * SOAK ** 0.5);
    const exit = await Promise.race([soak.exited, pause(5_000)]);
    expect(exit).toEqual({ code: 0, signal: null });
    expect(await redis.cli('KEYS', '*')).toBe(`${namespace}:lock-fence`);
  },
);

test('scenario 22: a hold is renewed three times a lease, whatever its length, and many holds share a command', async () => {
  await using redis = await startRedis();
  await using locks = await createLockManager({ redis: redis.url, namespace: freshNamespace() });
  // The shortest of them may be lost on a machine that stands still for as long; they are counted all the same.
  for (const ttl of [100, 300, 3_000, 60_000]) {
    const lock = await locks.acquireLock('k', { ttl });
    const before = await scriptsRun(redis);
    const held = performance.now();
    await pause(1_500);
    const renewals = (await scriptsRun(redis)) - before;
    expect(renewals).toBeLessThanOrEqual(Math.ceil((performance.now() - held) / (ttl / 3)) + 1);
    expect(ttl < 1_000 || lock.remainingMs() > 0).toBe(true);
    await lock.release();
  }
  const many = await Promise.all(
    Array.from({ length: 200 }, (_, index) => locks.acquireLock(`m${index}`, { ttl: 6_000 })),
  );
  const before = await scriptsRun(redis);
  const { renewals } = locks.stats();
  await eventually(() => locks.stats().renewals >= renewals + 200);
  // A command carries a hundred of those that are due together.
  expect((await scriptsRun(redis)) - before).toBeLessThan(50);
  for (const lock of many) {
    lock.assertHeld();
    await lock.release();
  }
});

test(
  'scenario 23: a thousand waiters cost next to nothing in the 10 s for which they wait',
  { timeout: 60_000 },
  async () => {
    await using redis = await startRedis();
    const namespace = freshNamespace();
    await using here = await createLockManager({ redis: redis.url, namespace, defaultWait: 60_000 });
    await using there = await createLockManager({ redis: redis.url, namespace });
    const held = await Promise.all(Array.from({ length: 100 }, (_, index) => there.acquireLock(`k${index}`)));
    const waits = Array.from({ length: 1_000 }, (_, index) =>
      here.withLock(`k${index % 100}`, async () => {}),
    );
    const strict = Array.from({ length: 100 }, (_, index) =>
      here.withLock(`k${index}`, { fair: true }, async () => {}),
    );
    await eventually(() => here.stats().waiting === 1_100);
    const before = await scriptsRun(redis);
    const busyBefore = await cpuSeconds(redis);
    const started = performance.now();
    await pause(10_000);
    // At most one command per waiter and two seconds is asked for; waiters of one process share theirs.
    expect((await scriptsRun(redis)) - before).toBeLessThan(1_500);
    const share = (1_000 * ((await cpuSeconds(redis)) - busyBefore)) / (performance.now() - started);
    expect(share).toBeLessThan(0.05);
    await Promise.all(held.map((lock) => lock.release()));
    await Promise.all([...waits, ...strict]);
    expect(here.stats().acquired).toBe(1_100);
  },
);
