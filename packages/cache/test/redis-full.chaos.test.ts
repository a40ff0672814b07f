import { eventually } from '@xiaoke/core/testing';
import { startRedis } from '@xiaoke/test-servers';
import { expect, it } from 'vitest';
import { seeded } from '../src/testing/index.ts';
import { fresh, make } from './support/caches.ts';

it('a Redis that is full and evicts nothing keeps no old value, makes nobody wait, and stays in use', async () => {
  await using redis = await startRedis();
  const namespace = fresh();
  const common = { redis: redis.url, namespace, redisTimeout: '5s' };
  const [a, b] = [make<string>(common), make<string>(common)];
  expect([await a.ready({ timeout: '20s' }), await b.ready({ timeout: '20s' })]).toEqual([true, true]);
  await a.set('k', 'old');
  expect(await b.get('k')).toBe('old');
  await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
  await redis.cli('CONFIG', 'SET', 'maxmemory', '1kb');
  const states: unknown[] = [];
  a.on('redis', ({ state }) => states.push(state));
  await a.set('k', 'new');
  expect(a.peek('k')).toBe('new');
  await eventually(async () => (await b.get('k')) !== 'old');
  const start = performance.now();
  expect(await a.getOrSet('loaded', () => 'v')).toBe('v');
  expect(await b.getOrSet('loaded', () => 'v')).toBe('v');
  expect(performance.now() - start).toBeLessThan(1_000);
  await a.setMany([
    ['x', '1'],
    ['y', '2'],
  ]);
  expect(await a.delete('x')).toBe(true);
  await a.invalidateTags('t');
  await a.clear();
  expect(await a.get('y')).toBeUndefined();
  expect(states).toEqual([]);
  expect(a.stats().redis).toMatchObject({ state: 'up', pendingInvalidations: 0 });
  await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
  await a.set('k', 'again');
  await eventually(async () => (await b.get('k')) === 'again');
});

it(
  'under memory pressure Redis evicts counters and values at random, and nothing invalidated comes back',
  { timeout: 300_000 },
  async () => {
    await using redis = await startRedis();
    await redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random');
    await redis.cli('CONFIG', 'SET', 'maxmemory', '2500kb');
    const namespace = fresh();
    const common = { redis: redis.url, namespace, redisTimeout: '5s', maxEntries: 1 };
    const [a, b] = [make<string>(common), make<string>(common)];
    expect([await a.ready({ timeout: '20s' }), await b.ready({ timeout: '20s' })]).toEqual([true, true]);
    const random = seeded(9);
    const version = Array.from({ length: 50 }, () => 0);
    const resurrected: unknown[] = [];
    let seen = 0;
    const filling = 'x'.repeat(2_000);
    const evicted = async (): Promise<number> =>
      Number((await redis.cli('INFO', 'stats')).match(/evicted_keys:(\d+)/)?.[1]);
    // By operations and not by time, of which a busy machine makes little.
    const operations = process.env['XIAOKE_CHAOS'] === 'nightly' ? 100_000 : 5_000;
    for (let done = 0; done < operations; done += 1) {
      const i = Math.floor(random() * version.length);
      const dice = random();
      if (dice < 0.5) {
        const writer = dice < 0.25 ? a : b;
        await writer.set(`k${i}-${Math.floor(random() * 40)}`, `${version[i]}:${filling}`, {
          tags: [`t${i}`],
        });
      } else if (dice < 0.6) {
        version[i] = (version[i] ?? 0) + 1;
        await (dice < 0.55 ? a : b).invalidateTags(`t${i}`);
        // Both have heard of it.
        await Promise.all([a, b].map((cache) => cache.get(`k${i}-0`)));
      } else {
        const reader = dice < 0.8 ? a : b;
        const found = await reader.get(`k${i}-${Math.floor(random() * 40)}`);
        if (found === undefined) continue;
        seen += 1;
        if (Number(found.split(':')[0]) !== version[i])
          resurrected.push({ i, found: found.slice(0, 9), now: version[i] });
      }
    }
    expect(await evicted()).toBeGreaterThan(100);
    expect(seen).toBeGreaterThan(20);
    expect(resurrected).toEqual([]);
  },
);
