import { describe, expect, it } from 'vitest';
import { createCacheManager, type CacheOptions } from '../src/index.ts';
import { make, onRedis } from './support/caches.ts';

const invalidKey = expect.objectContaining({ code: 'INVALID_KEY' });
const invalidOption = (option: string): unknown =>
  expect.objectContaining({ code: 'INVALID_OPTION', details: expect.objectContaining({ option }) });

describe('a key that is no usable string is refused', () => {
  const unusable: [string, unknown][] = [
    ['a number', 7],
    ['undefined', undefined],
    ['null', null],
    ['an object', { id: 1 }],
    ['the empty text', ''],
    ['a control character', 'a\nb'],
    ['a lone surrogate', '\uD800'],
    ['nine thousand characters', 'x'.repeat(9_000)],
  ];
  it.each(unusable)('%s', async (_, given) => {
    const cache = make();
    const key = given as string;
    await expect(cache.get(key)).rejects.toEqual(invalidKey);
    await expect(cache.set(key, 1)).rejects.toEqual(invalidKey);
    await expect(cache.has(key)).rejects.toEqual(invalidKey);
    await expect(cache.delete(key)).rejects.toEqual(invalidKey);
    await expect(cache.getOrSet(key, () => 1)).rejects.toEqual(invalidKey);
    await expect(cache.getMany(['ok', key])).rejects.toEqual(invalidKey);
    await expect(cache.setMany([['ok', 1] as const, [key, 1] as const])).rejects.toEqual(invalidKey);
    await expect(cache.deleteMany([key])).rejects.toEqual(invalidKey);
    await expect(cache.getOrSetMany([key], async () => new Map())).rejects.toEqual(invalidKey);
    expect(() => cache.getSync(key)).toThrow(invalidKey);
    expect(cache.stats().memory.entries).toBe(0);
  });

  it('even when its text is a key that exists', async () => {
    const cache = make<number>();
    await cache.set('7', 1);
    for (let i = 0; i < 3; i += 1) {
      await expect(cache.get(7 as unknown as string)).rejects.toEqual(invalidKey);
      await expect(cache.getOrSet(7 as unknown as string, () => 2)).rejects.toEqual(invalidKey);
    }
    expect(() => cache.peek(7 as unknown as string)).toThrow(invalidKey);
    expect(() => cache.getSync(7 as unknown as string)).toThrow(invalidKey);
  });
});

describe('an option that makes no sense is refused by its name, before anything is made', () => {
  it.each<[string, unknown]>([
    ['ttl', -1],
    ['ttl', 0],
    ['ttl', Number.NaN],
    ['ttl', 'soon'],
    ['ttlJitter', 1.5],
    ['idleTtl', -5],
    ['negativeTtl', -5],
    ['errorTtl', '5 minutes'],
    ['staleFor', -1],
    ['loaderTimeout', 0],
    ['softTimeout', -1],
    ['earlyRefresh', -1],
    ['earlyRefresh', 'yes'],
    ['strategy', 'random'],
    ['strategy', null],
    ['maxEntries', 0],
    ['maxEntries', 1.5],
    ['maxBytes', -1],
    ['namespace', 'a b'],
    ['namespace', 'a{b}'],
    ['name', ''],
    ['serializer', 'xml'],
    ['compression', 'lzma'],
    ['redis', 'http://localhost'],
    ['redis', 7],
    ['redisTimeout', 0],
    ['leaseTtl', 1],
    ['heartbeat', 1],
    ['maxValueBytes', 0],
    ['maxPendingInvalidations', 0],
  ])('%s: %j', (option, value) => {
    expect(() => createCacheManager({ [option]: value })).toThrow(invalidOption(option));
  });

  it.each<[string, object]>([
    ['compression.threshold', { compression: { algorithm: 'gzip', threshold: -1 } }],
    ['sweep.interval', { sweep: { interval: 0 } }],
    ['sweep.budget', { sweep: { budget: -1 } }],
  ])('%s', (option, options) => {
    expect(() => createCacheManager(options as CacheOptions)).toThrow(invalidOption(option));
  });

  it('also in the options of a call', async () => {
    const cache = make<number>();
    await expect(cache.set('k', 1, { ttl: -1 })).rejects.toEqual(invalidOption('ttl'));
    await expect(cache.setMany([['k', 1, { ttl: -1 }]])).rejects.toEqual(invalidOption('ttl'));
    await expect(cache.getOrSet('k', () => 1, { ttl: '-1s' })).rejects.toEqual(invalidOption('ttl'));
    await expect(cache.getOrSetMany(['k'], async () => new Map(), { staleFor: -1 })).rejects.toEqual(
      invalidOption('staleFor'),
    );
    const tags = ['ok', 7] as unknown as string[];
    await expect(cache.set('k', 1, { tags })).rejects.toEqual(invalidOption('tags'));
    await expect(cache.set('k', 1, { tags: 'one' as unknown as string[] })).rejects.toEqual(
      invalidOption('tags'),
    );
    const many = Array.from({ length: 33 }, (_, i) => `t${i}`);
    await expect(cache.set('k', 1, { tags: many })).rejects.toEqual(invalidOption('tags'));
    await expect(cache.set('k', 1, { tags: ['x'.repeat(300)] })).rejects.toEqual(invalidOption('tags'));
    for (const rate of [0, -1, Number.NaN, '5' as never])
      await expect(cache.warm([], { rate })).rejects.toEqual(invalidOption('rate'));
    await expect(cache.invalidateTags('')).rejects.toEqual(invalidOption('tags'));
    await expect(cache.set('k', 1, 5 as never)).rejects.toEqual(invalidOption('options'));
    expect(() => cache.namespace('with space')).toThrow(invalidOption('namespace'));
    expect(() => cache.cached('user:{id}', { ttl: -1 })).toThrow(invalidOption('ttl'));
    expect(() => cache.cached({ tags: [''] })).toThrow(invalidOption('tags'));
    expect(() => cache.cached('user:{')).toThrow(invalidOption('template'));
    await expect(cache.warm([], { concurrency: 0 })).rejects.toEqual(invalidOption('concurrency'));
    await expect(cache.warm(7 as never)).rejects.toEqual(invalidOption('source'));
    expect(cache.stats().memory.entries).toBe(0);
  });
});

it('what cannot be gone through, or is no pair, is refused', async () => {
  const cache = make<number>();
  await expect(cache.getMany('keys' as never)).rejects.toEqual(invalidOption('keys'));
  await expect(cache.deleteMany(7 as never)).rejects.toEqual(invalidOption('keys'));
  await expect(cache.setMany({ a: 1 } as never)).rejects.toEqual(invalidOption('entries'));
  await expect(cache.setMany([['a', 1], null] as never)).rejects.toEqual(invalidOption('entries'));
  expect(cache.peek('a')).toBeUndefined();
});

it('a loader that is no function, and a batch loader that gives no Map, are refused', async () => {
  const cache = make<number>();
  const invalidValue = expect.objectContaining({ code: 'INVALID_VALUE' });
  await expect(cache.getOrSet('k', 7 as never)).rejects.toEqual(invalidValue);
  await expect(cache.getOrSetMany(['k'], undefined as never)).rejects.toEqual(invalidValue);
  await expect(cache.getOrSetMany(['k'], (async () => ({ k: 1 })) as never)).rejects.toEqual(invalidValue);
  // A promise is nearly always a forgotten await.
  await expect(cache.set('k', Promise.resolve(1) as never)).rejects.toEqual(invalidValue);
});

it('a value without a serialised form is refused where it has to have one, and changes nothing', async () => {
  const cache = await onRedis();
  await cache.set('k', 'old');
  const cyclic: Record<string, unknown> = {};
  cyclic['self'] = cyclic;
  const serialization = expect.objectContaining({ code: 'SERIALIZATION' });
  for (const value of [cyclic, 10n, () => 1, Symbol('s'), { nested: { deep: 1n } }]) {
    await expect(cache.set('k', value)).rejects.toEqual(serialization);
    await expect(cache.setMany([['j', 1] as const, ['k', value] as const])).rejects.toEqual(serialization);
  }
  expect(await cache.getMany(['k', 'j'])).toEqual(new Map([['k', 'old']]));
  // A load is not lost for it: its callers have the value, and this process keeps it.
  expect(await cache.getOrSet('loaded', () => 10n)).toBe(10n);
  expect(cache.peek('loaded')).toBe(10n);
  expect(cache.stats().redis.skipped).toBe(1);
});

it('names may hold colons and slashes, and never meet each other', async () => {
  const cache = make<string>({ namespace: 'app:v1/test' });
  await cache.namespace('a').namespace('b').set('k', 'nested');
  await cache.namespace('a/b').set('k', 'slash');
  await cache.namespace('a:b').set('k', 'colon');
  expect(await cache.namespace('a').namespace('b').get('k')).toBe('nested');
  expect(await cache.namespace('a/b').get('k')).toBe('slash');
  await cache.namespace('a').clear();
  expect(await cache.namespace('a').namespace('b').get('k')).toBeUndefined();
  expect(await cache.namespace('a/b').get('k')).toBe('slash');
  expect(await cache.namespace('a:b').get('k')).toBe('colon');
});
