import { startPostgres, startRedis } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { startService } from '../src/service.ts';
import { AT_ONCE, Client } from './support/client.ts';

async function checksOf(env: Record<string, string>): Promise<string[]> {
  const service = await startService({ port: 0, env: { ...AT_ONCE, ...env } });
  try {
    const report = await new Client(service.url).json<{ checks: Record<string, unknown> }>('/healthz');
    return Object.keys(report.checks).filter((name) => name.startsWith('redis'));
  } finally {
    await service.close();
  }
}

test('every Redis the service uses is checked, once, and named after who uses it', async () => {
  await using first = await startRedis();
  await using second = await startRedis();
  await using postgres = await startPostgres();
  const env = { DATABASE_URL: postgres.url, REDIS_URL: first.url };
  expect(await checksOf({ DATABASE_URL: postgres.url })).toEqual([]);
  expect(await checksOf(env)).toEqual(['redis']);
  expect(await checksOf({ ...env, XIAOKE_CACHE__REDIS_URL: second.url })).toEqual([
    'redis_queue_locks_config_discovery',
    'redis_cache',
  ]);
});

test('with the checks turned off the probes say that the process answers, until it goes down', async () => {
  const service = await startService({ port: 0, env: { ...AT_ONCE, HEALTH_CHECK_ENABLED: 'false' } });
  const client = new Client(service.url);
  for (const path of ['/livez', '/readyz', '/startupz', '/healthz']) {
    expect([path, (await client.call(path)).status]).toEqual([path, 200]);
  }
  await service.close();
  expect(service.platform.health.status('readiness')).not.toBe('healthy');
});
