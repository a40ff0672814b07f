import { describe, expect, it } from 'vitest';
import { Redis } from 'ioredis';
import type { ConfigManager, Regression } from '@xiaoke/config';
import { eventually } from '@xiaoke/core/testing';
import { chaosProxy, startRedis } from '@xiaoke/test-servers';
import { failure, useManagers } from './support.ts';

const { make } = useManagers();

async function fleet(redis: string, count: number): Promise<ConfigManager[]> {
  return await Promise.all(Array.from({ length: count }, () => make({ redis, storeTimeout: '1s' })));
}

async function converged(
  managers: readonly ConfigManager[],
  version: number,
  timeout = 20_000,
): Promise<void> {
  await eventually(() => managers.every((config) => config.version === version), { timeout });
  const [first, ...others] = managers.map((config) => JSON.stringify(config.snapshot()));
  for (const other of others) expect(other).toBe(first);
}

describe('managers on one Redis', () => {
  it('see each other commit, with history, rollback and who did it', async () => {
    await using redis = await startRedis();
    const [one, two] = await fleet(redis.url, 2);
    if (one === undefined || two === undefined) throw new Error('no fleet');
    await one.set('limits.rps', 5, { author: 'ada' });
    await converged([one, two], 1);
    expect(two.get('limits.rps')).toBe(5);
    await two.set('limits.rps', 7, { author: 'bob' });
    await one.rollback(1, { author: 'ada', reason: 'too much' });
    await converged([one, two], 3);
    expect((await two.history()).map(({ version, kind, author }) => [version, kind, author])).toEqual([
      [3, 'rollback', 'ada'],
      [2, 'set', 'bob'],
      [1, 'set', 'ada'],
    ]);
  });

  it('keep what is in force when Redis loses everything, and give it back to Redis', async () => {
    await using redis = await startRedis();
    const managers = await fleet(redis.url, 3);
    for (let value = 1; value <= 4; value += 1) await managers[value % 3]?.set('a', value);
    await converged(managers, 4);
    const regressions: Regression[] = [];
    for (const config of managers) config.on('regressed', (regression) => regressions.push(regression));
    const seen: unknown[] = [];
    for (const config of managers) config.addChangeCallback(() => seen.push(config.get('a')));
    await redis.cli('FLUSHALL');
    await eventually(async () => (await redis.cli('KEYS', '*')).includes('head'), { timeout: 15_000 });
    expect(regressions).toEqual([{ from: 4, to: 0, action: 'restored' }]);
    expect(seen).toEqual([]);
    const late = await make({ redis: redis.url });
    expect([late.get('a'), late.version]).toEqual([4, 4]);
    await late.set('a', 5);
    await converged([...managers, late], 5);
  });

  it('put back versions that Redis forgot when it came back from an old copy', async () => {
    await using redis = await startRedis();
    const managers = await fleet(redis.url, 3);
    await managers[0]?.set('a', 1);
    await managers[0]?.set('b', 1);
    await converged(managers, 2);
    const client = new Redis(redis.url);
    const keys = await client.keys('*');
    const dump = await Promise.all(keys.map(async (key) => [key, await client.dumpBuffer(key)] as const));
    await managers[1]?.set('a', 2);
    await managers[2]?.set('c', 3);
    await converged(managers, 4);
    await client.flushall();
    for (const [key, bytes] of dump) if (bytes !== null) await client.restore(key, 0, bytes);
    await eventually(
      async () => (await client.hget(String(keys.find((key) => key.endsWith('head'))), 'version')) === '4',
      {
        timeout: 15_000,
      },
    );
    await converged(managers, 4);
    expect(managers[0]?.snapshot()).toEqual({ a: 2, b: 1, c: 3 });
    await client.quit();
  });

  it('lose neither the old values nor a commit made on the emptied Redis before they were put back', async () => {
    await using redis = await startRedis();
    await using proxy = await chaosProxy({ target: redis });
    const old = await make({ redis: proxy.url('redis'), storeTimeout: '1s' });
    await old.setMany({ a: 1, b: 1 });
    proxy.cut();
    proxy.resetAll();
    await redis.cli('FLUSHALL');
    const fresh = await make({ redis: redis.url });
    await fresh.set('b', 2);
    await fresh.set('c', 3);
    await proxy.heal();
    await eventually(() => old.get('c') === 3 && fresh.get('a') === 1, { timeout: 20_000 });
    expect(old.snapshot()).toEqual({ a: 1, b: 2, c: 3 });
    await converged([old, fresh], old.version);
  });

  it('serve on while Redis is dead or frozen, refuse to commit within a bound, and catch up', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const managers = await fleet(redis.url, 2);
    await managers[0]?.set('a', 1);
    await converged(managers, 1);
    redis.pause();
    const start = performance.now();
    expect(await failure(managers[0]?.set('a', 2) ?? Promise.resolve())).toMatchObject({
      code: 'CONFIG_STORE_UNAVAILABLE',
    });
    expect(performance.now() - start).toBeLessThan(4_000);
    expect(managers.map((config) => config.get('a'))).toEqual([1, 1]);
    redis.resume();
    await redis.restart();
    await eventually(() => managers.every((config) => config.stats().state === 'ready'), { timeout: 20_000 });
    await managers[1]?.set('a', 3);
    await eventually(() => managers.every((config) => config.get('a') === 3), { timeout: 20_000 });
  });

  it('adopt a commit whose answer was lost, and make it once', async () => {
    await using redis = await startRedis();
    await using proxy = await chaosProxy({ target: redis });
    const config = await make({ redis: proxy.url('redis'), storeTimeout: '2s' });
    await config.set('a', 1);
    let dropped = 0;
    proxy.dropReplies(({ request }) => /evalsha/i.test(request.toString()) && (dropped += 1) === 1);
    await config.set('a', 2);
    expect(proxy.lostReplies).toBe(1);
    await eventually(() => config.get('a') === 2, { timeout: 10_000 });
    expect((await config.history()).map(({ version }) => version)).toEqual([2, 1]);
  });
});
