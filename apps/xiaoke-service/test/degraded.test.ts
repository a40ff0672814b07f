import { startPostgres, startRedis } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { eventually } from '@xiaoke/core/testing';
import { startService } from '../src/service.ts';
import { AT_ONCE, Client } from './support/client.ts';

const QUICK = {
  ...AT_ONCE,
  XIAOKE_HEALTH_CHECK__GLOBAL__CHECK_INTERVAL: '300ms',
  XIAOKE_SERVICE__DEFER_FOR: '200ms',
} as const;

test('while a dependency is down routine requests wait and urgent ones are served; afterwards all end', async () => {
  await using redis = await startRedis();
  await using postgres = await startPostgres();
  // Only the cache is on Redis, and it goes on without it: what is lost is readiness.
  const service = await startService({
    port: 0,
    env: { ...QUICK, DATABASE_URL: postgres.url, XIAOKE_CACHE__REDIS_URL: redis.url },
  });
  const client = new Client(service.url);
  try {
    await eventually(async () => (await client.call('/readyz')).status === 200, { timeout: 20_000 });
    redis.pause();
    await eventually(async () => (await client.call('/readyz')).status === 503, { timeout: 20_000 });
    await eventually(() => service.platform.config.get('service.degraded_mode'));
    expect((await client.call('/livez')).status).toBe(200);

    const routine = await client.submit({ userId: 'user-0001', type: 'checkup' });
    const urgent = await client.submit({ userId: 'user-0002', type: 'emergency' });
    await client.ended([urgent]);
    await eventually(async () => (await client.view(routine)).state === 'deferred');

    redis.resume();
    await eventually(async () => (await client.call('/readyz')).status === 200, { timeout: 20_000 });
    await eventually(() => !service.platform.config.get('service.degraded_mode'));
    await client.ended([routine]);
    expect((await client.view(routine)).attempts).toBeLessThanOrEqual(1);
  } finally {
    redis.resume();
    await service.close();
  }
}, 90_000);

test('a database that is frozen costs readiness, never a hang, and requests go on when it is back', async () => {
  await using postgres = await startPostgres();
  const env = { ...QUICK, DATABASE_URL: postgres.url, XIAOKE_RESILIENCE__DATABASE__TIMEOUT: '1s' };
  const service = await startService({ port: 0, env });
  const client = new Client(service.url);
  try {
    const before = await client.submit({ userId: 'user-0001', type: 'consultation' });
    await client.ended([before]);
    postgres.pause();
    await eventually(async () => (await client.call('/readyz')).status === 503, { timeout: 30_000 });
    postgres.resume();
    await eventually(async () => (await client.call('/readyz')).status === 200, { timeout: 30_000 });
    await client.ended([await client.submit({ userId: 'user-0002', type: 'consultation' })]);
  } finally {
    postgres.resume();
    await service.close();
  }
}, 120_000);
