import { Cluster, Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import type { ConfigManager } from '@xiaoke/config';
import { eventually } from '@xiaoke/core/testing';
import { startRedis, startRedisCluster, startRedisSentinel } from '@xiaoke/test-servers';
import { failure, useManagers } from './support.ts';

const { make } = useManagers();

async function sameOn(managers: readonly ConfigManager[], path: string, value: unknown): Promise<void> {
  await eventually(() => managers.every((config) => config.get(path) === value), { timeout: 30_000 });
}

/** Commits until it is acknowledged, as a caller would during a failover. */
async function insist(config: ConfigManager, path: string, value: unknown): Promise<void> {
  await eventually(
    async () => {
      await config.set(path, value);
    },
    { timeout: 30_000, interval: 100 },
  );
}

describe('on a Redis Cluster', () => {
  it(
    'everything lies in one slot, followers are told, and the death of a node is lived through',
    {
      timeout: 120_000,
    },
    async () => {
      await using cluster = await startRedisCluster({ appendonly: 'always' });
      const clients = [0, 1].map(
        () =>
          new Cluster(
            cluster.nodes.map(({ host, port }) => ({ host, port })),
            { clusterRetryStrategy: () => 100 },
          ),
      );
      for (const client of clients) client.on('error', () => {});
      const [one, two] = await Promise.all(clients.map((redis) => make({ redis, namespace: 'slot' })));
      if (one === undefined || two === undefined) throw new Error('no managers');
      await one.setMany({ a: 1, 'db.password': 'x' }, { author: 'ada' });
      await sameOn([one, two], 'a', 1);
      await two.set('a', 2);
      await one.canary.start({ b: 1 }, { instances: ['nobody'], bake: '10m' });
      expect(await two.canary.status()).toMatchObject({ paths: ['b'] });
      await two.canary.abort();
      expect(await one.rollback(1, { author: 'bob' })).toBe(3);
      await sameOn([one, two], 'a', 1);
      expect((await two.history()).map(({ version, kind }) => [version, kind])).toEqual([
        [3, 'rollback'],
        [2, 'set'],
        [1, 'set'],
      ]);
      const node = await cluster.nodeOf('xc:{slot:test}:head');
      await node.kill();
      expect(await failure(one.set('a', 9))).toMatchObject({ code: 'CONFIG_STORE_UNAVAILABLE' });
      expect([one.get('a'), two.get('a')]).toEqual([1, 1]);
      await node.restart();
      await cluster.healthy();
      await insist(two, 'a', 4);
      await sameOn([one, two], 'a', 4);
      await Promise.all([one.close(), two.close()]);
      // The clients were handed in, and so are still the caller's.
      expect(await clients[0]?.ping()).toBe('PONG');
      for (const client of clients) client.disconnect();
    },
  );
});

describe('behind a Sentinel', () => {
  it(
    'a failover is followed, and what the old master had acknowledged is not lost to the fleet',
    {
      timeout: 120_000,
    },
    async () => {
      await using group = await startRedisSentinel();
      const sentinels = group.sentinels.map(({ host, port }) => ({ host, port }));
      const managers = await Promise.all(
        [0, 1, 2].map(() => make({ redis: { sentinels, name: group.name }, namespace: 'sentinel' })),
      );
      const [one, two] = managers;
      if (one === undefined || two === undefined) throw new Error('no managers');
      await one.set('a', 1);
      await sameOn(managers, 'a', 1);
      const old = await group.master();
      // The replica hears no more, so the next commit is one that the failover loses.
      const replica = group.servers.find((server) => server !== old);
      replica?.pause();
      await two.set('b', 2);
      await sameOn(managers, 'b', 2);
      await old.kill();
      replica?.resume();
      await group.masterOtherThan(old);
      await insist(one, 'c', 3);
      await sameOn(managers, 'c', 3);
      for (const config of managers) expect(config.snapshot()).toEqual({ a: 1, b: 2, c: 3 });
    },
  );
});

describe('a Redis that is not what it should be', () => {
  it(
    'refuses commits with a code and keeps what is in force: a replica, no memory, wrong types, a lost permission',
    {
      timeout: 60_000,
    },
    async () => {
      await using redis = await startRedis();
      const config = await make({ redis: redis.url, namespace: 'odd' });
      await config.set('a', 1);
      const refuses = async (because: string, reason: RegExp): Promise<void> => {
        const error = await failure(config.set('a', Math.random()));
        expect([because, error['code']]).toEqual([because, 'CONFIG_STORE_UNAVAILABLE']);
        expect([because, error.message]).toEqual([because, expect.stringMatching(reason)]);
        expect([because, config.get('a'), config.version]).toEqual([because, 1, 1]);
      };
      await redis.cli('CONFIG', 'SET', 'maxmemory', '1');
      await refuses('no memory is left', /OOM/);
      await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
      await redis.cli('ACL', 'SETUSER', 'default', '-xadd');
      await refuses('a permission is gone', /NOPERM|ERR/);
      await redis.cli('ACL', 'SETUSER', 'default', '+xadd');
      await redis.cli('RENAME', 'xc:{odd:test}:log', 'xc:{odd:test}:kept');
      await redis.cli('SET', 'xc:{odd:test}:log', 'text');
      await refuses('the log is of another type', /WRONGTYPE|ERR/);
      await redis.cli('DEL', 'xc:{odd:test}:log');
      await redis.cli('REPLICAOF', '127.0.0.1', '1');
      await refuses('it is a replica', /READONLY|MASTERDOWN/);
      await redis.cli('REPLICAOF', 'NO', 'ONE');
      await insist(config, 'a', 2);
      expect(config.version).toBe(2);
    },
  );

  it(
    'whose document was damaged, or was evicted alone, is put right from what is in force',
    {
      timeout: 60_000,
    },
    async () => {
      await using redis = await startRedis();
      const config = await make({ redis: redis.url, namespace: 'torn' });
      await config.set('a', 1);
      await config.set('a', 2);
      const head = 'xc:{torn:test}:head';
      const client = new Redis(redis.url);
      const damages: Record<string, () => Promise<unknown>> = {
        'a document that is none': () => client.hset(head, 'document', '<html>', 'digest', 'x'),
        'no document': () => client.hdel(head, 'document'),
        'no head': () => client.del(head),
        'an older head': () => client.hset(head, 'version', '1', 'digest', 'x'),
      };
      for (const [damage, harm] of Object.entries(damages)) {
        await harm();
        await eventually(
          async () => {
            const fields = await client.hgetall(head);
            expect([damage, fields['version'], fields['document']]).toEqual([
              damage,
              '2',
              '{"format":1,"values":{"a":2}}',
            ]);
          },
          { timeout: 15_000, interval: 50 },
        );
        expect([damage, config.get('a'), config.version]).toEqual([damage, 2, 2]);
      }
      await client.quit();
    },
  );
});
