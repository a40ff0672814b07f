import { eventually } from '@xiaoke/core/testing';
import { createServiceRegistry } from '@xiaoke/health/discovery';
import { startPostgres, startRedis } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { startService } from '../src/service.ts';
import { Client } from './support/client.ts';

interface Instances {
  readonly instances: readonly { readonly url: string }[];
}

test('instances of the service find each other, and one that drains takes no new traffic', async () => {
  await using redis = await startRedis();
  await using postgres = await startPostgres();
  const env = { REDIS_URL: redis.url, DATABASE_URL: postgres.url, XIAOKE_SERVICE__DRAIN_DELAY: '1s' };
  const first = await startService({ port: 0, env });
  const second = await startService({
    port: 0,
    env: { ...env, XIAOKE_SERVICE__ADVERTISED_URL: 'http://second.example:8080' },
  });
  const registry = createServiceRegistry({ redis: redis.url, namespace: 'xiaoke-service' });
  try {
    const { instances } = await new Client(first.url).json<Instances>('/instances');
    expect(new Set(instances.map(({ url }) => url))).toEqual(
      new Set([first.url, 'http://second.example:8080']),
    );
    expect((await registry.discover('xiaoke-service')).instances).toHaveLength(2);

    const closing = second.close();
    await eventually(async () => {
      const found = await registry.discover('xiaoke-service');
      expect(found.instances.map(({ url }) => url)).toEqual([first.url]);
      expect(found.unroutable.map(({ status }) => status)).toEqual(['draining']);
    });
    await closing;
    expect((await registry.discover('xiaoke-service')).unroutable).toEqual([]);
  } finally {
    await Promise.all([registry.close(), first.close(), second.close()]);
  }
});
