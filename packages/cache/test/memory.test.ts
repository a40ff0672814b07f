import { FakeClock } from '@xiaoke/core/testing';
import { expect, it } from 'vitest';
import { createCacheManager, getCacheManager } from '../src/index.ts';

it('a value is fresh up to its ttl and gone at it', async () => {
  const clock = new FakeClock();
  const cache = createCacheManager<number>({ clock, ttl: '1s' });
  await cache.set('a', 1);
  await clock.advance(999);
  expect(await cache.get('a')).toBe(1);
  expect(cache.peek('a')).toBe(1);
  await clock.advance(1);
  expect(await cache.get('a')).toBeUndefined();
  expect(cache.peek('a')).toBeUndefined();
  await cache.close();
});

it('ten thousand callers of one cold key see one load', async () => {
  const cache = createCacheManager<string>();
  let loads = 0;
  const loader = async (): Promise<string> => {
    loads += 1;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return 'v';
  };
  const values = await Promise.all(Array.from({ length: 10_000 }, () => cache.getOrSet('k', loader)));
  expect(loads).toBe(1);
  expect(new Set(values)).toEqual(new Set(['v']));
  expect(cache.stats().loads).toMatchObject({ started: 1, coalesced: 9_999 });
});

it('the same arguments give the same cache until it is closed', async () => {
  const one = getCacheManager({ namespace: 'shared' });
  expect(getCacheManager({ namespace: 'shared' })).toBe(one);
  await one.close();
  expect(getCacheManager({ namespace: 'shared' })).not.toBe(one);
});

it('a tag, a namespace and a key are gone once their invalidation has resolved', async () => {
  const cache = createCacheManager<number>();
  const users = cache.namespace('users');
  await cache.set('a', 1, { tags: ['t'] });
  await cache.set('b', 2);
  await users.set('a', 3);
  await cache.invalidateTags('t');
  expect(await cache.getMany(['a', 'b'])).toEqual(new Map([['b', 2]]));
  expect(await users.get('a')).toBe(3);
  await users.clear();
  expect(await users.get('a')).toBeUndefined();
  expect(await cache.delete('b')).toBe(true);
  expect(await cache.delete('b')).toBe(false);
});
