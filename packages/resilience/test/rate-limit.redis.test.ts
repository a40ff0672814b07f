import { sharedRedis, spawnNode, startRedis } from '@xiaoke/test-servers';
import { eventually, trackLeaks } from '@xiaoke/core/testing';
import { expect, test } from 'vitest';
import { createRedisRateLimitStore, rateLimit } from '@xiaoke/resilience';
import { rateLimitStoreChecks } from '@xiaoke/resilience/testing';
import { nightly } from './support.ts';

const PROCESSES = nightly ? 8 : 4;
const DURATION = nightly ? 10_000 : 2_000;

interface Report {
  readonly kind: string;
  readonly admitted: number;
  readonly storeErrors: number;
}

test('processes together get the limit and one burst, and use it', async () => {
  const redis = await sharedRedis();
  const args = [redis.url, redis.prefix('rate'), String(DURATION)];
  const workers = Array.from({ length: PROCESSES }, () =>
    spawnNode(new URL('./fixtures/rate-limited.ts', import.meta.url), { args }),
  );
  await Promise.all(workers.map((worker) => worker.message((message) => message['kind'] === 'ready')));
  const begun = performance.now();
  for (const worker of workers) worker.send({ go: true });
  const reports = (await Promise.all(
    workers.map((worker) => worker.message((message) => message['kind'] === 'done')),
  )) as unknown as Report[];
  const seconds = (performance.now() - begun) / 1_000;
  const admitted = reports.reduce((sum, report) => sum + report.admitted, 0);
  expect(reports.map(({ storeErrors }) => storeErrors)).toEqual(reports.map(() => 0));
  expect(admitted).toBeLessThanOrEqual(200 * seconds + 20);
  // All of them asked all the time, so what was there was used, as far as the machine let them ask.
  expect(admitted).toBeGreaterThanOrEqual(200 * (DURATION / 1_000) * 0.6);
  await Promise.all(workers.map((worker) => worker.kill()));
}, 60_000);

test.each(rateLimitStoreChecks)('$name', async ({ run }) => {
  const redis = await sharedRedis();
  await using store = createRedisRateLimitStore({
    redis: redis.url,
    namespace: redis.prefix(),
    timeout: '5s',
  });
  await run(store, 'key');
});

test('a place is reserved ahead when the caller waits for it', async () => {
  const redis = await sharedRedis();
  await using store = createRedisRateLimitStore({
    redis: redis.url,
    namespace: redis.prefix(),
    timeout: '5s',
  });
  const policy = rateLimit({ name: 'x', limit: 10, per: '1s', burst: 1, maxWait: '1s', store });
  const begun = performance.now();
  await Promise.all([1, 2, 3, 4].map(() => policy.execute(() => 'ok')));
  expect(performance.now() - begun).toBeGreaterThanOrEqual(295);
  expect(policy.stats()).toMatchObject({ admitted: 4, waited: 3, storeErrors: 0 });
});

test('a limit that nobody uses leaves Redis', async () => {
  const redis = await sharedRedis();
  const namespace = redis.prefix();
  await using store = createRedisRateLimitStore({ redis: redis.url, namespace, timeout: '5s' });
  await store.take('x', { limit: 1_000, perMs: 1_000, burst: 1 }, 0);
  const key = `xr:${namespace}:{x}:rate`;
  expect(Number(await redis.cli('PTTL', key))).toBeGreaterThan(0);
  await eventually(async () => (await redis.cli('EXISTS', key)) === '0');
});

test('Redis hangs: one call waits for the timeout, the next ones for nothing, and it comes back', async () => {
  await using redis = await startRedis();
  const check = trackLeaks();
  const store = createRedisRateLimitStore({ redis: redis.url, timeout: '250ms' });
  const policy = rateLimit({ name: 'x', limit: 1_000, per: '1s', store });
  await policy.execute(() => 'ok');
  redis.pause();
  const times: number[] = [];
  for (let call = 0; call < 20; call += 1) {
    const begun = performance.now();
    expect(await policy.execute(() => 'ok')).toBe('ok');
    times.push(performance.now() - begun);
  }
  expect(times.filter((ms) => ms > 200)).toHaveLength(1);
  expect(Math.max(...times)).toBeLessThan(600);
  expect(await store.healthIndicator().check({ signal: new AbortController().signal })).toMatchObject({
    status: 'degraded',
  });
  redis.resume();
  const errors = policy.stats().storeErrors;
  await eventually(async () => {
    const before = policy.stats().storeErrors;
    await policy.execute(() => 'ok');
    return policy.stats().storeErrors === before;
  });
  expect(errors).toBe(20);
  await store.close();
  await check();
});
