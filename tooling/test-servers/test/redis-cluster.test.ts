import { expect, test } from 'vitest';

import { eventually, isRunning, startRedisCluster } from '../src/index.ts';

test('a cluster serves every slot, each by one node', async () => {
  await using cluster = await startRedisCluster();
  expect(cluster.nodes).toHaveLength(3);

  const holders = new Set<number>();
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
    const node = await cluster.nodeOf(key);
    expect(await node.cli('SET', key, '1')).toBe('OK');
    holders.add(node.port);
  }
  expect(holders.size).toBe(3);
});

test('a killed node takes its slots away and brings them back with a restart', async () => {
  await using cluster = await startRedisCluster({ appendonly: 'always', nodeTimeoutMs: 500 });
  const node = await cluster.nodeOf('answer');
  await node.cli('SET', 'answer', '42');
  const [other] = cluster.nodes.filter((candidate) => candidate !== node);

  await node.kill();
  await eventually(async () => (await other?.cli('CLUSTER', 'INFO'))?.includes('cluster_state:fail'));

  await node.restart();
  await cluster.healthy();
  expect(await node.cli('GET', 'answer')).toBe('42');
});

test('stopping a cluster ends all its nodes', async () => {
  const cluster = await startRedisCluster();
  const pids = cluster.nodes.map((node) => node.pid);
  await cluster.stop();
  expect(pids.filter(isRunning)).toEqual([]);
});
