import { InvalidOptionError, type Logger, type MetricsSink } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { chaosProxy, startRedis, type RedisServer } from '@xiaoke/test-servers';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { createLockManager, getLockManager, LockType, type LockManagerOptions } from '../src/index.ts';
import { freshNamespace } from './run-conformance.ts';

const signal = (): AbortSignal => new AbortController().signal;

test('one failed renewal does not fire the signal while the lease has time', async () => {
  await using redis = await startRedis();
  await using proxy = await chaosProxy({ target: redis });
  await using locks = await createLockManager({ redis: proxy.url('redis'), defaultTtl: 1_500 });
  const lock = await locks.acquireLock('k');
  for (let failures = 1; failures <= 3; failures += 1) {
    proxy.dropReplies(({ request }) => request.includes('EVALSHA') || request.includes('evalsha'));
    await eventually(() => locks.stats().renewalFailures >= failures, { interval: 1 });
    await proxy.heal();
    const renewed = locks.stats().renewals;
    await eventually(() => locks.stats().renewals > renewed, { interval: 1 });
  }
  expect(lock.signal.aborted).toBe(false);
  lock.assertHeld();
  expect(locks.stats().lost).toBe(0);
  expect(await lock.release()).toBe(true);
});

test.each([
  { what: 'frozen', away: async (redis: RedisServer) => redis.pause() },
  { what: 'killed', away: async (redis: RedisServer) => await redis.kill() },
])('close is bounded in time, and idempotent, with Redis $what and locks held', async ({ away }) => {
  await using redis = await startRedis();
  const locks = await createLockManager({ redis: redis.url });
  const lock = await locks.acquireLock('k');
  const shared = await locks.acquireLock('s', LockType.SHARED);
  const { signal: lost } = lock;
  const waiting = locks.acquireLock('k', { wait: Infinity }).catch((error: unknown) => error);
  await away(redis);
  const started = performance.now();
  await Promise.all([locks.close({ timeout: 700 }), locks.close()]);
  expect(performance.now() - started).toBeLessThan(1_500);
  expect(lost.aborted).toBe(true);
  expect(shared.remainingMs()).toBe(0);
  expect(await waiting).toMatchObject({ code: 'LOCK_MANAGER_CLOSED' });
  await expect(locks.acquireLock('k')).rejects.toMatchObject({ code: 'LOCK_MANAGER_CLOSED' });
  expect(await locks.healthIndicator().check({ signal: signal() })).toEqual({
    status: 'unhealthy',
    code: 'CLOSED',
  });
});

test('a manager is made while Redis is away, says so, and works when it is there', async () => {
  await using redis = await startRedis();
  await redis.kill();
  await using locks = await createLockManager({ redis: redis.url, commandTimeout: 300 });
  expect(await locks.healthIndicator().check({ signal: signal() })).toMatchObject({ status: 'unhealthy' });
  const asked = performance.now();
  await expect(locks.acquireLock('k', { wait: 400 })).rejects.toMatchObject({ code: 'LOCK_UNAVAILABLE' });
  expect(performance.now() - asked).toBeLessThan(2_000);
  await redis.restart();
  const lock = await locks.acquireLock('k', { wait: 20_000 });
  expect(await locks.healthIndicator().check({ signal: signal() })).toEqual({ status: 'healthy' });
  expect(await lock.release()).toBe(true);
});

test('a client that was handed in is used, not closed, and left without listeners of ours', async () => {
  await using redis = await startRedis();
  const client = new Redis(redis.url);
  await client.ping();
  const listeners = client.listenerCount('ready');
  for (let turn = 0; turn < 15; turn += 1) {
    const locks = await createLockManager({ redis: client });
    await locks.withLock('k', async () => {});
    await locks.close();
  }
  expect(client.listenerCount('ready')).toBe(listeners);
  expect(await client.ping()).toBe('PONG');
  expect((await redis.cli('CLIENT', 'LIST')).split('\n').filter((line) => line.includes('sub=1'))).toEqual(
    [],
  );
  client.disconnect();
});

test('getLockManager gives the manager of the process for a URL, and another one after it was closed', async () => {
  await using redis = await startRedis();
  const [one, same, other] = await Promise.all([
    getLockManager(redis.url),
    getLockManager(redis.url),
    getLockManager(),
  ]);
  expect(one).toBe(same);
  expect(one).not.toBe(other);
  await one.close();
  const next = await getLockManager(redis.url);
  expect(next).not.toBe(one);
  await Promise.all([next.close(), other.close()]);
});

test.each<[string, LockManagerOptions]>([
  ['namespace', { namespace: 'a b' }],
  ['namespace', { namespace: '' }],
  ['defaultTtl', { defaultTtl: 30 }],
  ['defaultTtl', { defaultTtl: 'soon' }],
  ['defaultWait', { defaultWait: -1 }],
  ['autoExtend', { autoExtend: 'yes' as never }],
  ['deadlockTimeout', { deadlockTimeout: 0 }],
  ['maxHold', { maxHold: 1 }],
  ['fair', { fair: 1 as never }],
  ['maxLocalHandovers', { maxLocalHandovers: 0 }],
  ['commandTimeout', { commandTimeout: 1 }],
  ['redis', { redis: 'http://localhost' }],
  ['redis', { redis: 6379 as never }],
])('a manager with a bad %s is refused', async (option, options) => {
  const made = createLockManager(options);
  await expect(made).rejects.toBeInstanceOf(InvalidOptionError);
  await expect(made).rejects.toMatchObject({ details: { option } });
});

test('metrics are told under the template or the name, never under a key', async () => {
  const seen = new Set<string>();
  const labels = new Set<unknown>();
  const instrument = (name: string): never => {
    const note = (given: { lock?: unknown } = {}): void => {
      seen.add(name);
      labels.add(given.lock);
    };
    const bound = (given: { lock?: unknown }) => ({ observe: () => note(given) });
    return { inc: note, dec: note, set: note, observe: note, with: bound } as never;
  };
  const metrics: MetricsSink = {
    counter: ({ name }) => instrument(name),
    gauge: ({ name }) => instrument(name),
    histogram: ({ name }) => instrument(name),
  };
  await using redis = await startRedis();
  await using locks = await createLockManager({ redis: redis.url, namespace: freshNamespace(), metrics });
  await using other = await createLockManager({ redis: redis.url, namespace: freshNamespace() });
  const book = locks.withLock(
    'user:{id}',
    LockType.REENTRANT,
  )(async ({ id }: { id: string }) => {
    await locks.withLock(`user:${id}`, LockType.REENTRANT, async () => {});
  });
  await book({ id: 'secret-1' });
  await locks.withLock('secret-3', async () => await locks.acquireLock('secret-3').catch(() => undefined));
  const lock = await locks.acquireLock('secret-2', { name: 'slots', ttl: 300 });
  await eventually(() => locks.stats().renewals > 0);
  const waiting = locks.acquireLock('secret-2', { name: 'slots', wait: 20 }).catch(() => undefined);
  await waiting;
  await locks.forceRelease('secret-2');
  await eventually(() => lock.signal.aborted);
  expect([...seen].toSorted((a, b) => a.localeCompare(b))).toEqual([
    'xiaoke_lock_acquire_seconds',
    'xiaoke_lock_deadlocks_total',
    'xiaoke_lock_extensions_total',
    'xiaoke_lock_held',
    'xiaoke_lock_hold_seconds',
    'xiaoke_lock_lost_total',
    'xiaoke_lock_reentries_total',
    'xiaoke_lock_waiters',
  ]);
  expect(labels).toEqual(new Set(['slots', 'unnamed', 'user:{id}']));
  expect(other.stats().acquired).toBe(0);
});

test('a listener that throws breaks nobody, and a lost lock is told and logged', async () => {
  const warnings: string[] = [];
  const logger = new Proxy({} as Logger, {
    get: (_, level) => (_fields: unknown, message: string) => warnings.push(`${String(level)} ${message}`),
  });
  await using locks = await createLockManager({ namespace: freshNamespace(), logger });
  const told: string[] = [];
  locks.on('lost', () => {
    throw new Error('mine');
  });
  locks.on('lost', (lock, { reason }) => void told.push(`${lock.keys.join()} ${reason}`));
  const lock = await locks.acquireLock('k', { ttl: 100, autoExtend: false });
  const { signal: lost } = lock;
  await eventually(() => lost.aborted);
  expect(told).toEqual(['k expired']);
  expect(warnings).toContain('warn a lock was lost while it was in use');
  expect(locks.stats()).toMatchObject({ lost: 1, lostBy: { expired: 1, forced: 0 } });
});
