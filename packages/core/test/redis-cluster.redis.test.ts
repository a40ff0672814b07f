import { startRedisCluster } from '@xiaoke/test-servers';
import { Cluster } from 'ioredis';
import { Cluster as Cluster5 } from 'ioredis-5';
import { expect, test } from 'vitest';
import { openRedis } from '../src/redis/index.ts';

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
