import { FakeClock } from '@xiaoke/core/testing';
import { describe, expect, it } from 'vitest';
import { LoaderTimeoutError, type CacheEvents, type CacheOptions, type CacheManager } from '../src/index.ts';
import { deferred, make } from './support/caches.ts';

/** A cache on a clock of its own, and a loader that counts, numbers its values, and takes as long as it is told. */
function setup(options: CacheOptions = {}) {
  const clock = new FakeClock();
  const cache: CacheManager<string> = make<string>({ clock, ttl: '10s', random: () => 0.5, ...options });
  const source = { loads: 0, takes: 0, fails: false, signals: [] as AbortSignal[], stale: [] as unknown[] };
  const load = async ({
    signal,
    staleValue,
  }: {
    signal: AbortSignal;
    staleValue?: string;
  }): Promise<string> => {
    source.loads += 1;
    const number = source.loads;
    source.signals.push(signal);
    source.stale.push(staleValue);
    if (source.takes > 0) await new Promise<void>((resolve) => void clock.setTimeout(resolve, source.takes));
    if (source.fails) throw new Error(`down ${number}`);
    return `v${number}`;
  };
  return { clock, cache, source, load };
}

describe('one load', () => {
  it('two hundred callers of a failing loader see one load and the same error', async () => {
    const { cache, source, load } = setup();
    source.fails = true;
    const calls = await Promise.allSettled(Array.from({ length: 200 }, () => cache.getOrSet('k', load)));
    expect(source.loads).toBe(1);
    const reasons = new Set(calls.map((call) => (call.status === 'rejected' ? call.reason : undefined)));
    expect(reasons.size).toBe(1);
    expect([...reasons][0]).toEqual(new Error('down 1'));
    source.fails = false;
    expect(await cache.getOrSet('k', load)).toBe('v2');
  });

  it('a failure is remembered as long as errorTtl says, and is no value', async () => {
    const { cache, source, load, clock } = setup({ errorTtl: '2s' });
    source.fails = true;
    await expect(cache.getOrSet('k', load)).rejects.toThrow('down 1');
    await clock.advance(1_999);
    await expect(cache.getOrSet('k', load)).rejects.toThrow('down 1');
    expect([await cache.get('k'), cache.peek('k'), cache.getSync('k'), await cache.has('k')]).toEqual([
      undefined,
      undefined,
      undefined,
      false,
    ]);
    await clock.advance(1);
    await expect(cache.getOrSet('k', load)).rejects.toThrow('down 2');
  });

  it.each(['delete', 'set', 'tag', 'clear', 'deleteMany', 'namespace'] as const)(
    'that a %s overtakes is given to who waited, and kept nowhere',
    async (how) => {
      const { cache: root, clock } = setup();
      const cache = root.namespace<string>('n');
      let source = 'old';
      const ends: unknown[] = [];
      root.on('load', ({ fenced }) => ends.push(fenced));
      const loading = cache.getOrSet(
        'k',
        async () => {
          const seen = source;
          await new Promise<void>((resolve) => void clock.setTimeout(resolve, 50));
          return seen;
        },
        { tags: ['t'] },
      );
      await clock.advance(10);
      source = 'new';
      if (how === 'delete') await cache.delete('k');
      if (how === 'set') await cache.set('k', 'new');
      if (how === 'tag') await cache.invalidateTags('t');
      if (how === 'clear') await root.clear();
      if (how === 'deleteMany') await cache.deleteMany(['k']);
      if (how === 'namespace') await cache.clear();
      const later = cache.getOrSet('k', () => source);
      await clock.advance(100);
      expect(await loading).toBe('old');
      expect(await later).toBe('new');
      expect(await cache.get('k')).toBe('new');
      expect(ends[how === 'set' ? 0 : 1]).toBe(true);
      expect(root.stats().loads.fenced).toBe(1);
    },
  );

  it('refresh loads although there is a value, once for all who ask', async () => {
    const { cache, source, load } = setup();
    await cache.getOrSet('k', load);
    const again = await Promise.all([1, 2].map(() => cache.getOrSet('k', load, { refresh: true })));
    expect(again).toEqual(['v2', 'v2']);
    expect(cache.peek('k')).toBe('v2');
    expect(source.loads).toBe(2);
  });

  it('a caller that gives up leaves the load to the others', async () => {
    const { cache, clock, source, load } = setup();
    source.takes = 100;
    const stop = new AbortController();
    const impatient = cache.getOrSet('k', load, { signal: stop.signal });
    const patient = cache.getOrSet('k', load);
    await clock.advance(10);
    stop.abort(new Error('enough'));
    await expect(impatient).rejects.toThrow('enough');
    await clock.advance(90);
    expect(await patient).toBe('v1');
  });
});

describe('a stale value', () => {
  it('is served at once while it is loaded again, once', async () => {
    const { cache, clock, source, load } = setup({ staleFor: '5s' });
    await cache.getOrSet('k', load);
    await clock.advance(12_000);
    source.takes = 100;
    expect(await Promise.all([1, 2, 3].map(() => cache.getOrSet('k', load)))).toEqual(['v1', 'v1', 'v1']);
    expect([await cache.get('k'), cache.peek('k')]).toEqual([undefined, undefined]);
    await clock.advance(100);
    expect(await cache.getOrSet('k', load)).toBe('v2');
    expect(source.loads).toBe(2);
    expect(source.stale).toEqual([undefined, 'v1']);
    expect(cache.stats().memory.stale).toBe(3);
    expect(cache.stats().loads.refreshes).toBe(1);
  });

  it('is served no longer than staleFor', async () => {
    const { cache, clock, load } = setup({ staleFor: '5s' });
    await cache.getOrSet('k', load);
    await clock.advance(15_000);
    expect(await cache.getOrSet('k', load)).toBe('v2');
  });

  it('is never served once it was invalidated', async () => {
    const { cache, clock, source, load } = setup({ staleFor: '1m', staleIfError: '1m' });
    await cache.getOrSet('k', load, { tags: ['t'] });
    await clock.advance(11_000);
    await cache.invalidateTags('t');
    expect(await cache.getOrSet('k', load)).toBe('v2');
    await cache.delete('k');
    source.fails = true;
    await expect(cache.getOrSet('k', load)).rejects.toThrow('down 3');
  });

  it('stands in for a failed load, and the loader is then left alone for a while', async () => {
    const { cache, clock, source, load } = setup({ staleIfError: '1m', errorThrottle: '5s' });
    await cache.getOrSet('k', load);
    source.fails = true;
    await clock.advance(10_000);
    for (let second = 0; second < 15; second += 1) {
      expect(await cache.getOrSet('k', load)).toBe('v1');
      expect(await cache.getOrSet('k', load)).toBe('v1');
      await clock.advance(1_000);
    }
    // At 10, 15 and 20 seconds.
    expect(source.loads).toBe(4);
    source.fails = false;
    expect(await cache.getOrSet('k', load)).toBe('v5');
  });

  it('stands in for as long as staleIfError says', async () => {
    const { cache, clock, source, load } = setup({ staleIfError: '3s', errorThrottle: 0 });
    await cache.getOrSet('k', load);
    source.fails = true;
    await clock.advance(12_999);
    expect(await cache.getOrSet('k', load)).toBe('v1');
    await clock.advance(1);
    await expect(cache.getOrSet('k', load)).rejects.toThrow('down');
  });

  it('keeps nobody from being told when there is none', async () => {
    const { cache, source, load } = setup({ staleIfError: '1m' });
    source.fails = true;
    await expect(cache.getOrSet('k', load)).rejects.toThrow('down 1');
  });
});

describe('a slow loader', () => {
  it('does not keep callers longer than softTimeout while there is a stale value, and its result is kept', async () => {
    const { cache, clock, source, load } = setup({ staleIfError: '1m', softTimeout: 50 });
    await cache.getOrSet('k', load);
    await clock.advance(11_000);
    source.takes = 200;
    const calls = [cache.getOrSet('k', load), cache.getOrSet('k', load)];
    await clock.advance(49);
    let settled = 0;
    for (const call of calls) void call.then(() => (settled += 1));
    await clock.advance(0);
    expect(settled).toBe(0);
    await clock.advance(1);
    expect(await Promise.all(calls)).toEqual(['v1', 'v1']);
    await clock.advance(150);
    expect(cache.peek('k')).toBe('v2');
    expect(source.loads).toBe(2);
    expect(source.signals[1]?.aborted).toBe(false);
  });

  it('is waited for beyond softTimeout when there is nothing else', async () => {
    const { cache, clock, source, load } = setup({ softTimeout: 50 });
    source.takes = 200;
    const call = cache.getOrSet('k', load);
    await clock.advance(200);
    expect(await call).toBe('v1');
  });

  it('is told by its signal, and its callers by a LoaderTimeoutError; what it still brings is kept', async () => {
    const { cache, clock, source, load } = setup({ loaderTimeout: 100 });
    const ends: CacheEvents['load'][0][] = [];
    cache.on('load', (end) => ends.push(end));
    source.takes = 150;
    const calls = [cache.getOrSet('k', load), cache.getOrSet('k', load)];
    const settled = Promise.allSettled(calls);
    await clock.advance(100);
    for (const outcome of await settled)
      expect(outcome).toMatchObject({ reason: { code: 'LOADER_TIMEOUT', details: { timeoutMs: 100 } } });
    expect(source.signals[0]?.aborted).toBe(true);
    expect(source.signals[0]?.reason).toBeInstanceOf(LoaderTimeoutError);
    await clock.advance(50);
    expect(cache.peek('k')).toBe('v1');
    expect(ends).toEqual([
      expect.objectContaining({ key: 'k', durationMs: 100, outcome: 'timeout', fenced: false }),
    ]);
    expect(cache.stats().loads).toMatchObject({
      started: 1,
      timedOut: 1,
      succeeded: 0,
      failed: 0,
      running: 0,
    });
  });

  it('that never ends frees its key, so that the next caller loads, and is given up after as long again', async () => {
    const { cache, clock, source, load } = setup({ loaderTimeout: 100 });
    const never = deferred<string>();
    const first = cache.getOrSet('k', () => never.promise).catch((error: unknown) => error);
    await clock.advance(100);
    expect(await first).toBeInstanceOf(LoaderTimeoutError);
    expect(await cache.getOrSet('k', load)).toBe('v1');
    await clock.advance(100);
    never.resolve('too late');
    await clock.advance(0);
    expect(cache.peek('k')).toBe('v1');
    expect(source.loads).toBe(1);
    expect(cache.stats().loads.running).toBe(0);
  });

  it('a value stands in for one that is too slow', async () => {
    const { cache, clock, source, load } = setup({ loaderTimeout: 100, staleIfError: '1m' });
    await cache.getOrSet('k', load);
    await clock.advance(11_000);
    source.takes = 1_000;
    const call = cache.getOrSet('k', load);
    await clock.advance(100);
    expect(await call).toBe('v1');
  });
});

describe('early refresh', () => {
  it('nobody waits for a value that is in use, and it is loaded about once a ttl', async () => {
    const clock = new FakeClock();
    const cache = make<number>({ clock, ttl: '1s', earlyRefresh: true });
    let loads = 0;
    const load = async (): Promise<number> => {
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, 20));
      loads += 1;
      return loads;
    };
    const first = cache.getOrSet('k', load);
    await clock.advance(20);
    await first;
    const { misses } = cache.stats().memory;
    const periods = 20;
    // A thousand requests a second.
    const waited: number[] = [];
    for (let ms = 0; ms < periods * 1_000; ms += 1) {
      let settled = false;
      void cache.getOrSet('k', load).then(() => (settled = true));
      await clock.advance(0);
      if (!settled) waited.push(ms);
      await clock.advance(1);
    }
    expect(waited).toEqual([]);
    expect(cache.stats().memory.misses).toBe(misses);
    // A load begins two to a few times its own length before the ttl.
    expect(loads - 1).toBeGreaterThanOrEqual(periods);
    expect(loads - 1).toBeLessThanOrEqual(periods * 1.3);
  });

  it('a value nobody reads is left to expire', async () => {
    const { cache, clock, source, load } = setup({ earlyRefresh: 2 });
    await cache.getOrSet('k', load);
    await clock.advance(60_000);
    expect(source.loads).toBe(1);
    expect(cache.peek('k')).toBeUndefined();
  });

  it('one that fails leaves the value as it is', async () => {
    const { cache, clock, source, load } = setup({ earlyRefresh: true, ttl: '1s' });
    source.takes = 100;
    const first = cache.getOrSet('k', load);
    await clock.advance(100);
    await first;
    source.fails = true;
    await clock.advance(900);
    expect(await cache.getOrSet('k', load)).toBe('v1');
    await clock.advance(99);
    expect(await cache.getOrSet('k', load)).toBe('v1');
    expect(source.loads).toBe(2);
  });
});

describe('many keys', () => {
  const letters = async (missing: string[]): Promise<Map<string, string>> =>
    new Map(missing.map((key) => [key, key.toUpperCase()] as const));

  it('one loader call gets the misses of all callers, without what is there or on its way', async () => {
    const { cache, clock } = setup();
    await cache.set('a', 'there');
    const single = deferred<string>();
    const alone = cache.getOrSet('b', () => single.promise);
    const calls: string[][] = [];
    const loader = async (missing: string[]): Promise<Map<string, string>> => {
      calls.push(missing);
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, 10));
      return letters(missing);
    };
    const one = cache.getOrSetMany(['a', 'b', 'c', 'd', 'c'], loader);
    const two = cache.getOrSetMany(['d', 'e', 'a'], loader);
    single.resolve('single');
    await clock.advance(10);
    expect(await alone).toBe('single');
    expect([...(await one)]).toEqual([
      ['a', 'there'],
      ['b', 'single'],
      ['c', 'C'],
      ['d', 'D'],
    ]);
    expect([...(await two)]).toEqual([
      ['d', 'D'],
      ['e', 'E'],
      ['a', 'there'],
    ]);
    expect(calls).toEqual([['c', 'd'], ['e']]);
    expect(await cache.getOrSet('c', () => 'not loaded')).toBe('C');
  });

  it('a key that failed is left out alone; one without a value too, and is not remembered', async () => {
    const { cache } = setup();
    const loader = async (): Promise<Map<string, string | Error>> =>
      new Map<string, string | Error>([
        ['a', 'A'],
        ['b', new Error('b is broken')],
      ]);
    expect(await cache.getOrSetMany(['a', 'b', 'c'], loader)).toEqual(new Map([['a', 'A']]));
    expect(await cache.getOrSetMany(['a', 'b', 'c'], letters)).toEqual(
      new Map([
        ['a', 'A'],
        ['b', 'B'],
        ['c', 'C'],
      ]),
    );
  });

  it('a load that fails as a whole is the error of all who waited for it', async () => {
    const { cache } = setup();
    const broken = async (): Promise<Map<string, string>> => {
      throw new Error('no database');
    };
    const joined = cache.getOrSetMany(['a', 'b'], broken);
    const single = cache.getOrSet('a', () => 'not called');
    await expect(joined).rejects.toThrow('no database');
    await expect(single).rejects.toThrow('no database');
    expect(cache.stats().loads).toMatchObject({ started: 1, failed: 1 });
  });

  it('stale values are served at once, and loaded again together', async () => {
    const { cache, clock } = setup({ staleFor: '1m' });
    await cache.getOrSetMany(['a', 'b'], letters);
    await clock.advance(11_000);
    const calls: string[][] = [];
    const loader = async (missing: string[]): Promise<Map<string, string>> => {
      calls.push(missing);
      return new Map(missing.map((key) => [key, 'fresh'] as const));
    };
    expect([...(await cache.getOrSetMany(['a', 'b', 'c'], loader)).values()]).toEqual(['A', 'B', 'fresh']);
    await clock.advance(0);
    expect(calls).toEqual([['c'], ['a', 'b']]);
    expect(cache.peek('a')).toBe('fresh');
  });

  it('stale values stand in for a failed load, with the throttle, and for a slow one, with the soft timeout', async () => {
    const { cache, clock } = setup({ staleIfError: '1m', errorThrottle: '5s', softTimeout: 50 });
    await cache.getOrSetMany(['a', 'b'], letters);
    await clock.advance(11_000);
    let loads = 0;
    const broken = async (): Promise<Map<string, string>> => {
      loads += 1;
      throw new Error('no database');
    };
    for (let i = 0; i < 3; i += 1)
      expect([...(await cache.getOrSetMany(['a', 'b'], broken)).values()]).toEqual(['A', 'B']);
    expect(loads).toBe(1);
    await clock.advance(5_000);
    const slow = async (missing: string[]): Promise<Map<string, string>> => {
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, 200));
      return new Map(missing.map((key) => [key, 'slow'] as const));
    };
    const call = cache.getOrSetMany(['a', 'b'], slow);
    await clock.advance(50);
    expect([...(await call).values()]).toEqual(['A', 'B']);
    await clock.advance(150);
    expect(cache.peek('a')).toBe('slow');
  });

  it('a batch loader that is too slow is told, and its callers are answered', async () => {
    const { cache, clock } = setup({ loaderTimeout: 100 });
    let told: AbortSignal | undefined;
    const call = cache
      .getOrSetMany(['a', 'b'], (_, { signal }) => {
        told = signal;
        return new Promise(() => {});
      })
      .catch((error: unknown) => error);
    await clock.advance(100);
    expect(await call).toBeInstanceOf(LoaderTimeoutError);
    expect(told?.aborted).toBe(true);
    expect(await cache.getOrSetMany(['a'], letters)).toEqual(new Map([['a', 'A']]));
    await clock.advance(100);
    expect(cache.stats().loads.running).toBe(0);
  });

  it('refresh loads all of them; a signal stops the waiting alone', async () => {
    const { cache } = setup();
    await cache.getOrSetMany(['a', 'b'], letters);
    const again = async (missing: string[]): Promise<Map<string, string>> =>
      new Map(missing.map((key) => [key, 'again'] as const));
    expect([...(await cache.getOrSetMany(['a', 'b'], again, { refresh: true })).values()]).toEqual([
      'again',
      'again',
    ]);
    const gone = AbortSignal.abort(new Error('gone'));
    await expect(cache.getOrSetMany(['z'], letters, { signal: gone })).rejects.toThrow('gone');
  });
});
