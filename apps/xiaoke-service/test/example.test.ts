import { startRedis } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { trackLeaks } from '@xiaoke/core/testing';
import { advancedIntegration } from '../examples/advanced-integration.ts';

const expected = {
  databaseLoads: 2,
  scheduled: 'room 7 for 123',
  attemptsOfFlakyCall: 3,
  modes: ['degraded', 'normal'],
};

test('the integration example works on memory and leaves nothing alive', async () => {
  const check = trackLeaks();
  const report = await advancedIntegration();
  expect(report).toMatchObject(expected);
  expect([...report.handled].sort()).toEqual([
    'User 123, attempt 1',
    'User 123, attempt 1',
    'User 123, attempt 1',
    'User 456, attempt 1',
  ]);
  expect(report.metrics).toContain('xiaoke_queue_tasks_finished_total');
  await check(10_000);
});

test('the integration example works the same on Redis', async () => {
  await using redis = await startRedis();
  expect(await advancedIntegration(redis.url)).toMatchObject(expected);
});
