import { eventually } from '@xiaoke/core/testing';
import {
  chaosProxy,
  startRedis,
  startRedisCluster,
  startRedisSentinel,
  type RedisServer,
} from '@xiaoke/test-servers';
import { Cluster, Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { redisFence, StaleTokenError } from '../src/fence/index.ts';
import { createLockManager } from '../src/index.ts';
import { freshNamespace } from './run-conformance.ts';

test('scenario 13: a failover to a replica that lagged grants a lock twice; the first holder is told, and the fence refuses it', async () => {
  await using master = await startRedis();
  await using link = await chaosProxy({ target: master });
  await using replica = await startRedis({ args: ['--replicaof', link.host, String(link.port)] });
  await using store = await startRedis();
  await eventually(async () => (await replica.cli('INFO')).includes('master_link_status:up'));
  const options = { namespace: freshNamespace(), defaultTtl: 3_000, defaultWait: 20_000 };
  await using one = await createLockManager({ ...options, redis: master.url });
  // The replica hears of nothing from now on.
  link.blackhole(true);
  const first = await one.acquireLock('k');
  const { signal } = first;
  await master.kill();
  await replica.cli('REPLICAOF', 'NO', 'ONE');
  await using two = await createLockManager({ ...options, redis: replica.url });
  const second = await two.acquireLock('k');
  // This is what no lock on replicated Redis can prevent.
  expect(first.remainingMs()).toBeGreaterThan(0);
  const client = new Redis(store.url);
  const fence = redisFence(client);
  await fence.write('k', second, [['SET', 'data', 'second']]);
  await expect(fence.write('k', first, [['SET', 'data', 'first']])).rejects.toThrow(StaleTokenError);
  await eventually(() => signal.aborted, { timeout: 3_000 });
  expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
  await client.quit();
});

test('scenario 13: a failover that lost nothing keeps the lock and its waiters', async () => {
  await using group = await startRedisSentinel();
  const redis = {
    sentinels: group.sentinels.map(({ host, port }) => ({ host, port })),
    name: group.name,
  };
  const options = { redis, namespace: freshNamespace(), defaultTtl: 10_000, defaultWait: 60_000 };
  await using one = await createLockManager(options);
  await using two = await createLockManager(options);
  const lock = await one.acquireLock('k');
  const next = two.acquireLock('k');
  await eventually(async () => (await one.inspectLock('k')).waiters.length === 1);
  const renewals = one.stats().renewals;
  await group.failover();
  await eventually(() => one.stats().renewals > renewals, { timeout: 20_000 });
  lock.assertHeld();
  expect(await lock.release()).toBe(true);
  expect((await next).fencingToken).toBeGreaterThan(lock.fencingToken);
});

/** Moves a slot with its keys, as a rebalancing does. */
async function migrate(
  from: RedisServer,
  to: RedisServer,
  slot: string,
  all: readonly RedisServer[],
): Promise<void> {
  const [source, target] = await Promise.all([from.cli('CLUSTER', 'MYID'), to.cli('CLUSTER', 'MYID')]);
  await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source);
  await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target);
  const keys = (await from.cli('CLUSTER', 'GETKEYSINSLOT', slot, '100')).split('\n').filter(Boolean);
  // Key by key, so that for a moment some are here and some are there.
  for (const key of keys) await from.cli('MIGRATE', to.host, String(to.port), key, '0', '5000');
  for (const node of all) await node.cli('CLUSTER', 'SETSLOT', slot, 'NODE', target);
}

test('scenario 14: a lock and its waiters outlive the migration of their slot, and tokens go on growing', async () => {
  await using cluster = await startRedisCluster();
  const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })));
  const namespace = freshNamespace();
  await using one = await createLockManager({ redis: client, namespace, defaultTtl: 3_000 });
  await using two = await createLockManager({ redis: client, namespace, defaultWait: 20_000 });
  const lock = await one.acquireLock('k');
  const next = two.acquireLock('k');
  await eventually(async () => (await one.inspectLock('k')).waiters.length === 1);
  const home = await cluster.nodeOf('{k}');
  const other = cluster.nodes.find((node) => node !== home);
  if (other === undefined) throw new Error('a cluster of one');
  await migrate(home, other, await home.cli('CLUSTER', 'KEYSLOT', '{k}'), cluster.nodes);
  const renewals = one.stats().renewals;
  await eventually(() => one.stats().renewals > renewals);
  lock.assertHeld();
  expect(await lock.release()).toBe(true);
  const second = await next;
  expect(second.fencingToken).toBeGreaterThan(lock.fencingToken);
  await second.release();
  client.disconnect();
});

test('scenario 14: keys of several slots are held all or none, with one token larger than all before', async () => {
  await using cluster = await startRedisCluster();
  const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })));
  await using locks = await createLockManager({ redis: client, namespace: freshNamespace() });
  const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);
  let last = 0;
  for (const key of keys) {
    await using lock = await locks.acquireLock(key);
    last = Math.max(last, lock.fencingToken);
  }
  const all = await locks.acquireLock(keys);
  expect(all.fencingToken).toBeGreaterThan(last);
  expect(await locks.tryAcquireLock(['key-3', 'free'])).toBeUndefined();
  expect(await locks.tryAcquireLock('free')).toBeDefined();
  await all.release();
  for (const key of keys) {
    await using lock = await locks.acquireLock(key);
    expect(lock.fencingToken).toBeGreaterThan(all.fencingToken);
  }
  client.disconnect();
});
