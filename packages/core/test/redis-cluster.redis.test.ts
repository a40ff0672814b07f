import { startRedisCluster } from '@xiaoke/test-servers';
import { Cluster } from 'ioredis';
import { Cluster as Cluster5 } from 'ioredis-5';
import { expect, test } from 'vitest';
import { openRedis, renewConnection } from '../src/redis/index.ts';
import { eventually } from '../src/testing/index.ts';

test.each([
  ['5', Cluster5],
  ['6', Cluster],
])("another connection to a cluster of ioredis %s keeps the cluster's password", async (_version, Client) => {
  await using servers = await startRedisCluster();
  for (const node of servers.nodes) {
    await node.cli('CONFIG', 'SET', 'masterauth', 'open sesame');
    await node.cli('CONFIG', 'SET', 'requirepass', 'open sesame');
  }
  const nodes = servers.nodes.map(({ host, port }) => ({ host, port }));
  const cluster = new Client(nodes, { redisOptions: { password: 'open sesame' } });
  const connection = await openRedis(cluster, { load: () => import('ioredis') });
  const other = connection.duplicate({ connectionName: 'other' }) as Cluster;
  try {
    await cluster.set('greeting', 'hello');
    expect(await other.get('greeting')).toBe('hello');
  } finally {
    await connection.close();
    cluster.disconnect();
  }
  expect(other.status).toBe('end');
});

test.each([
  ['5', Cluster5],
  ['6', Cluster],
])(
  'a cluster client of ioredis %s that is renewed in an outage comes back after it',
  async (_version, Client) => {
    await using servers = await startRedisCluster();
    await Promise.all(servers.nodes.map((node) => node.kill()));
    const cluster = new Client(servers.nodes.map(({ host, port }) => ({ host, port })));
    cluster.on('error', () => {});
    const states = new Set<string>();
    const look = setInterval(() => {
      states.add(cluster.status);
      renewConnection(cluster);
    }, 1);
    await eventually(() => expect([...states].sort()).toEqual(['connecting', 'reconnecting']));
    clearInterval(look);
    await Promise.all(servers.nodes.map((node) => node.restart()));
    await servers.healthy();
    expect(await cluster.set('greeting', 'hello')).toBe('OK');
    cluster.disconnect();
  },
);
