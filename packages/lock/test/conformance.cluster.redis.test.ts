import { startRedisCluster } from '@xiaoke/test-servers';
import { Cluster } from 'ioredis';
import { afterAll } from 'vitest';
import { runConformance } from './run-conformance.ts';

const cluster = await startRedisCluster();
const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })));

afterAll(async () => {
  client.disconnect();
  await cluster.stop();
});

runConformance('on a Redis Cluster', async () => client);
