import { eventually, startRedis } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { createBalancer, createServiceRegistry, type ServiceSnapshot } from '@xiaoke/health/discovery';
import { lease, startService, startTraffic } from './support/service.ts';

const ids = ({ instances }: ServiceSnapshot): string[] => instances.map(({ id }) => id).toSorted();
const DOWN = 60_000;

test('scenario 14: the registry is down for a minute: traffic goes on with what is known, and says that it is stale', async () => {
  await using redis = await startRedis();
  await using _a = await startService(redis.url, 'a');
  await using _b = await startService(redis.url, 'b');
  await using consumer = createServiceRegistry({ redis: redis.url, ...lease });
  const watch = consumer.watch('svc');
  await using balancer = createBalancer(consumer.watch('svc'));
  await eventually(() => ids(watch.current).length === 2, { timeoutMs: 20_000 });
  let least = 2;
  watch.onChange(({ instances }) => (least = Math.min(least, instances.length)));
  const { answers, failures, stop } = startTraffic(balancer, 1);
  try {
    await redis.kill();
    const killed = performance.now();
    await eventually(() => watch.current.stale, { timeoutMs: 20_000 });
    let before = 0;
    while (performance.now() - killed < DOWN) {
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      const { stale, ageMs } = watch.current;
      expect({ stale, ids: ids(watch.current) }).toEqual({ stale: true, ids: ['a', 'b'] });
      expect(ageMs).toBeGreaterThan(0);
      const answered = [...answers.values()].reduce((sum, count) => sum + count, 0);
      expect(answered).toBeGreaterThan(before);
      before = answered;
    }
    await redis.restart();
    await eventually(
      async () => {
        const { stale, suspects, instances } = await consumer.discover('svc');
        return !stale && suspects.length === 0 && instances.length === 2;
      },
      { timeoutMs: 20_000 },
    );
  } finally {
    await stop();
  }
  expect(least).toBe(2);
  expect(failures).toEqual([]);
  expect(answers.size).toBe(2);
}, 180_000);
