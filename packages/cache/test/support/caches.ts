import { randomBytes } from 'node:crypto';
import { sharedRedis } from '@xiaoke/test-servers';
import { afterEach, expect } from 'vitest';
import { createCacheManager, type CacheManager, type CacheOptions } from '../../src/index.ts';

const open: CacheManager[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((cache) => cache.close()));
});

/** A cache that is closed after the test. */
export function make<V = unknown>(options: CacheOptions = {}): CacheManager<V> {
  const cache = createCacheManager<V>(options);
  open.push(cache);
  return cache;
}

/** A namespace nobody else uses. */
export function fresh(): string {
  return `t-${randomBytes(6).toString('hex')}`;
}

/** A connected cache on the shared Redis; patient with Redis, since the machine may be busy. */
export async function onRedis<V = unknown>(options: CacheOptions = {}): Promise<CacheManager<V>> {
  const { url } = await sharedRedis();
  const cache = make<V>({ redis: url, redisTimeout: '5s', ...options });
  expect(await cache.ready()).toBe(true);
  return cache;
}

/** Several caches on one namespace, as several processes have them. */
export async function fleet<V = unknown>(
  size: number,
  options: CacheOptions = {},
): Promise<[CacheManager<V>, CacheManager<V>, ...CacheManager<V>[]]> {
  const namespace = fresh();
  const caches = await Promise.all(Array.from({ length: size }, () => onRedis<V>({ namespace, ...options })));
  return caches as [CacheManager<V>, CacheManager<V>, ...CacheManager<V>[]];
}

/** A promise to be settled by hand. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
