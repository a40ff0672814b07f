import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { MemoryConfigStore, type CanaryEvent, type ConfigManager } from '@xiaoke/config';
import { eventually } from '@xiaoke/core/testing';
import { sharedRedis } from '@xiaoke/test-servers';
import { takesPart } from '../src/canary.ts';
import { failure, useManagers } from './support.ts';

const { make } = useManagers();

function steps(config: ConfigManager): string[] {
  const seen: string[] = [];
  config.on('canary', ({ step }: CanaryEvent) => seen.push(step));
  return seen;
}

describe('a canary', () => {
  it('takes the same tenth of two hundred instances every time, and a larger share only adds some', () => {
    const fleet = Array.from({ length: 200 }, (_, index) => `pod-${index}`);
    const share = (percent: number): string[] => fleet.filter((name) => takesPart(name, 'config', percent));
    expect(share(10).length).toBeGreaterThanOrEqual(12);
    expect(share(10).length).toBeLessThanOrEqual(28);
    expect(share(10)).toEqual(share(10));
    expect(share(10).every((name) => share(25).includes(name))).toBe(true);
    expect(share(100)).toEqual(fleet);
  });

  it('is in force on its instances only, and becomes a version for all when its time has passed', async () => {
    const redis = await sharedRedis();
    const options = { redis: redis.url, namespace: 'canary-promote', defaults: { rps: 1 } };
    const [one, two] = [
      await make({ ...options, instanceId: 'one' }),
      await make({ ...options, instanceId: 'two' }),
    ];
    const seen = steps(one);
    await one.canary.start({ rps: 2 }, { instances: ['one'], bake: 600, author: 'ada', reason: 'try' });
    await eventually(() => one.get('rps') === 2);
    expect([two.get('rps'), one.canary.active, two.canary.active]).toEqual([1, true, false]);
    expect(await two.canary.status()).toMatchObject({ paths: ['rps'], author: 'ada' });
    expect(await failure(two.canary.start({ rps: 3 }, { percent: 50 }))).toMatchObject({
      code: 'CONFIG_CANARY',
    });
    await eventually(() => two.get('rps') === 2 && two.version === 1);
    await eventually(() => !one.canary.active);
    expect(one.get('rps')).toBe(2);
    expect((await two.history())[0]).toMatchObject({ kind: 'canary', author: 'ada' });
    expect(seen.slice(0, 2)).toEqual(['started', 'applied']);
  });

  it('is rolled back everywhere when one instance refuses it, without undoing a newer commit', async () => {
    const redis = await sharedRedis();
    const options = { redis: redis.url, namespace: 'canary-refuse', defaults: { rps: 1, burst: 1 } };
    const loose = await make({ ...options, instanceId: 'loose' });
    const strict = await make({ ...options, instanceId: 'strict' });
    await loose.canary.start({ rps: 9 }, { instances: ['loose'], bake: '10m' });
    await eventually(() => loose.get('rps') === 9);
    await loose.canary.abort();
    await eventually(() => loose.get('rps') === 1);
    strict.guard('rps', (next) => Number(next) < 5);
    const seen = steps(strict);
    await loose.canary.start({ rps: 9 }, { instances: ['loose', 'strict'], bake: '10m' });
    await strict.set('burst', 7);
    await eventually(async () => (await loose.canary.status()) === undefined);
    await eventually(() => loose.get('rps') === 1 && loose.get('burst') === 7 && strict.get('burst') === 7);
    expect(strict.get('rps')).toBe(1);
    expect(seen).toContain('refused');
    expect(strict.version).toBe(1);
  });

  it('ends when an instance says that it is not well', async () => {
    let well = true;
    const config = await make({ instanceId: 'one', defaults: { rps: 1 }, canaryCheck: () => well });
    await config.canary.start({ rps: 2 }, { percent: 100, bake: 500 });
    await eventually(() => config.get('rps') === 2);
    well = false;
    await eventually(() => config.get('rps') === 1);
    expect(config.version).toBe(0);
  });

  it('ends when nobody took part, and can be promoted by hand', async () => {
    const config = await make({ instanceId: 'one', store: new MemoryConfigStore() });
    const seen = steps(config);
    await config.canary.start({ a: 1 }, { instances: ['somebody else'], bake: 50 });
    await eventually(() => seen.includes('aborted'));
    await config.canary.start({ a: 1 }, { instances: ['one'] });
    await eventually(() => config.get('a') === 1);
    expect(await config.canary.promote({ author: 'bob' })).toBe(1);
    expect(config.get('a')).toBe(1);
    expect(await failure(config.canary.promote())).toMatchObject({ code: 'CONFIG_CANARY' });
    expect(await config.canary.abort()).toBe(false);
  });

  it('is refused before it starts when it is wrong here', async () => {
    const config = await make({ schema: z.object({ a: z.number() }), defaults: { a: 1 } });
    expect(await failure(config.canary.start({ a: 'x' }, { percent: 10 }))).toMatchObject({
      code: 'CONFIG_INVALID',
    });
    expect(await failure(config.canary.start({ a: 2 }, { percent: 0 }))).toMatchObject({
      code: 'INVALID_OPTION',
    });
    expect(await failure(config.canary.start({}, { percent: 10 }))).toMatchObject({ code: 'INVALID_OPTION' });
    expect(await config.canary.status()).toBeUndefined();
  });
});
