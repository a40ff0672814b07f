import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '@xiaoke/core';
import { FakeClock } from '@xiaoke/core/testing';
import { describe, expect, it } from 'vitest';
import { CounterRegistry } from '../src/counters.ts';
import type { StrategyName } from '../src/index.ts';
import { sizeOf } from '../src/memory/size-of.ts';
import { seeded } from '../src/testing/index.ts';
import { make } from './support/caches.ts';

const STRATEGIES: StrategyName[] = ['lru', 'ttl', 'fifo', 'lfu', 'sieve', 's3fifo', 'w-tinylfu'];

const nightly = process.env['XIAOKE_CHAOS'] === 'nightly';

describe.each(STRATEGIES)('with the strategy %s', (strategy) => {
  it('there are never more entries than allowed, and every one that left is counted', async () => {
    const cache = make<number>({ strategy, maxEntries: 100 });
    const random = seeded(1);
    for (let i = 0; i < 5_000; i += 1) {
      const key = `k${Math.floor(random() * 400)}`;
      if ((await cache.get(key)) === undefined) await cache.set(key, i);
      expect(cache.stats().memory.entries).toBeLessThanOrEqual(100);
    }
    expect(cache.stats().memory.entries).toBe(100);
    expect(cache.stats().memory.evictions.capacity).toBeGreaterThan(0);
  });

  it('there are never more bytes than allowed, and what is too large for the cache is not kept', async () => {
    const cache = make<string>({ strategy, maxBytes: 100_000 });
    const random = seeded(2);
    for (let i = 0; i < 2_000; i += 1) {
      await cache.set(`k${Math.floor(random() * 200)}`, 'x'.repeat(Math.floor(random() * 5_000)));
      expect(cache.stats().memory.bytes).toBeLessThanOrEqual(100_000);
    }
    const { entries, bytes } = cache.stats().memory;
    expect(entries).toBeGreaterThan(10);
    expect(bytes).toBeGreaterThan(50_000);
    await cache.set('k1', 'small');
    await cache.set('k1', 'x'.repeat(200_000));
    expect(cache.peek('k1')).toBeUndefined();
    await cache.clear();
    expect(cache.stats().memory).toMatchObject({ entries: 0, bytes: 0 });
  });

  it('an entry is gone at its ttl, and is swept away when nobody asks for it', async () => {
    const clock = new FakeClock();
    const cache = make<number>({ strategy, clock, ttl: '1s', sweep: { interval: '1s' } });
    const gone: unknown[] = [];
    cache.on('evict', (event) => gone.push(event));
    await cache.set('a', 1);
    await cache.set('kept', 2, { ttl: '1h' });
    await clock.advance(999);
    expect(cache.peek('a')).toBe(1);
    await clock.advance(1);
    expect(cache.peek('a')).toBeUndefined();
    await clock.advance(1_000);
    expect(cache.stats().memory.entries).toBe(1);
    expect(gone).toEqual([{ key: 'a', reason: 'expired' }]);
    expect(cache.peek('kept')).toBe(2);
  });
});

it.each([false, true])(
  'every key has what was written last, through any order of writes, deletions and clearings (weighed: %s)',
  async (weighed) => {
    const clock = new FakeClock();
    const bounds = weighed ? { maxBytes: 30_000 } : { maxEntries: 50 };
    const cache = make<number>({ ...bounds, clock, ttl: '10s', staleIfError: '1s', sweep: { interval: 20 } });
    const random = seeded(5);
    const model = new Map<string, number>();
    const wrong: unknown[] = [];
    for (let i = 0; i < 20_000; i += 1) {
      const key = `k${Math.floor(random() * 120)}`;
      const dice = random();
      if (dice < 0.0005) {
        await cache.clear();
        model.clear();
      } else if (dice < 0.1) {
        await cache.delete(key);
        model.delete(key);
      } else if (dice < 0.5) {
        await cache.set(key, i, dice < 0.2 ? { idleTtl: '5s' } : undefined);
        model.set(key, i);
      } else if (dice < 0.51) await clock.advance(15);
      const seen = [cache.getSync(key), await cache.get(key), cache.peek(key)];
      if (seen.some((value) => value !== undefined && value !== model.get(key))) wrong.push({ i, key, seen });
      if (dice >= 0.2 && dice < 0.5 && seen.includes(undefined)) wrong.push({ i, key, lost: true });
    }
    expect(wrong).toEqual([]);
    expect(cache.stats().memory.entries).toBeLessThanOrEqual(100);
  },
);

describe('a sweep', () => {
  it('keeps to its budget, and comes back soon for the rest', async () => {
    const clock = new FakeClock();
    // Each look at the clock takes a millisecond: the budget is spent after a few.
    let spent = 0;
    const slow: Clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic() + (spent += 1),
      setTimeout: (callback, delay) => clock.setTimeout(callback, delay),
      setInterval: (callback, period) => clock.setInterval(callback, period),
    };
    const cache = make<number>({
      clock: slow,
      ttl: 1,
      maxEntries: 10_000,
      sweep: { interval: '1s', budget: 3 },
    });
    for (let i = 0; i < 1_000; i += 1) await cache.set(`k${i}`, i);
    await clock.advance(1_000);
    const left = cache.stats().memory.entries;
    expect(left).toBeLessThan(1_000);
    expect(left).toBeGreaterThan(500);
    await clock.advance(900);
    expect(cache.stats().memory.entries).toBe(0);
  });

  it('takes what was invalidated too, and can be left out', async () => {
    const clock = new FakeClock();
    const cache = make<number>({ clock, sweep: { interval: '1s' } });
    await cache.set('a', 1, { tags: ['t'] });
    await cache.namespace('n').set('b', 1);
    await cache.invalidateTags('t');
    await cache.namespace('n').clear();
    await clock.advance(1_000);
    expect(cache.stats().memory).toMatchObject({ entries: 0, evictions: { invalidated: 2 } });
    const unswept = make<number>({ clock, ttl: 10, sweep: false });
    await unswept.set('a', 1);
    await clock.advance(10_000);
    expect(unswept.stats().memory.entries).toBe(1);
  });
});

describe('the ttl', () => {
  it('is spread by the jitter, evenly and around itself', async () => {
    const clock = new FakeClock();
    const cache = make<number>({
      clock,
      ttl: '1000s',
      ttlJitter: 0.05,
      maxEntries: 20_000,
      random: seeded(3),
    });
    for (let i = 0; i < 10_000; i += 1) await cache.set(`k${i}`, i);
    const alive = (): number =>
      Array.from({ length: 10_000 }, (_, i) => cache.peek(`k${i}`)).filter((v) => v !== undefined).length;
    await clock.advance(949_000);
    expect(alive()).toBe(10_000);
    let before = 10_000;
    for (let step = 0; step < 10; step += 1) {
      await clock.advance(10_000);
      const now = alive();
      // A tenth each, give or take.
      expect(before - now).toBeGreaterThan(700);
      expect(before - now).toBeLessThan(1_300);
      before = now;
    }
    await clock.advance(2_000);
    expect(alive()).toBe(0);
  });

  it('may be without end', async () => {
    const clock = new FakeClock();
    const cache = make<number>({ clock, ttl: Infinity, sweep: false });
    await cache.set('a', 1);
    await clock.advance(86_400_000 * 400);
    expect(await cache.get('a')).toBe(1);
  });

  it('is not moved by the wall clock', async () => {
    const clock = new FakeClock();
    const cache = make<number>({ clock, ttl: '10s' });
    await cache.set('a', 1);
    clock.jump(-3_600_000);
    expect(cache.peek('a')).toBe(1);
    clock.jump(7_200_000);
    expect(cache.peek('a')).toBe(1);
    await clock.advance(10_000);
    expect(cache.peek('a')).toBeUndefined();
  });

  it('slides with idleTtl as long as it is read, and never beyond itself', async () => {
    const clock = new FakeClock();
    const cache = make<number>({ clock, ttl: '10s' });
    await cache.set('read', 1, { idleTtl: '3s' });
    await cache.set('idle', 1, { idleTtl: '3s' });
    for (let i = 0; i < 4; i += 1) {
      await clock.advance(2_000);
      expect(await cache.get('read')).toBe(1);
    }
    expect(cache.peek('idle')).toBeUndefined();
    await clock.advance(2_000);
    expect(await cache.get('read')).toBeUndefined();
  });
});

it(
  `a tag or namespace takes all of its ${nightly ? 'million' : 'hundred thousand'} entries with it in constant time`,
  { timeout: 300_000 },
  async () => {
    const size = nightly ? 1_000_000 : 100_000;
    const cache = make<number>({ maxEntries: 2_000_000 });
    const inside = cache.namespace<number>('inside');
    const portion = 10_000;
    for (let from = 0; from < size; from += portion) {
      const some = Array.from({ length: portion }, (_, i) => [`k${from + i}`, i, { tags: ['t'] }] as const);
      await cache.setMany(some);
      await inside.setMany(some.slice(0, 10).map(([key, value]) => [key, value] as const));
    }
    await cache.set('untagged', 1);
    const sample = Array.from({ length: 100 }, (_, i) => `k${Math.floor((i * size) / 100)}`);
    expect((await cache.getMany(sample)).size).toBe(100);
    // The middle of many, since the machine may be busy with something else during any of them.
    const took = async (invalidate: () => Promise<void>): Promise<number> => {
      const times: number[] = [];
      for (let i = 0; i < 21; i += 1) {
        const start = performance.now();
        await invalidate();
        times.push(performance.now() - start);
      }
      return times.toSorted((x, y) => x - y)[10] ?? Infinity;
    };
    expect(await took(() => cache.invalidateTags('t'))).toBeLessThan(2);
    expect((await cache.getMany(sample)).size).toBe(0);
    expect(await cache.get('untagged')).toBe(1);
    expect(inside.peek('k0')).toBe(0);
    expect(await took(() => inside.clear())).toBeLessThan(2);
    expect(inside.peek('k0')).toBeUndefined();
    expect(await cache.get('untagged')).toBe(1);
  },
);

it('a registry that forgets a tag forgets what depends on it too', () => {
  const registry = new CounterRegistry(2);
  const first = registry.tag('a');
  registry.tag('b');
  registry.tag('c');
  expect(registry.size).toBe(2);
  expect(first.seen).toBeNaN();
  expect(registry.find('ta')).toBeUndefined();
  expect(registry.tag('a')).not.toBe(first);
});

it('sizes are estimated within a factor of two of what the heap says', () => {
  const expected: [unknown, number][] = [
    ['x'.repeat(1_000), 1_000],
    ['ж'.repeat(1_000), 2_000],
    [Buffer.alloc(10_000), 10_000],
    [new ArrayBuffer(10_000), 10_000],
    [Array.from({ length: 1_000 }, () => 1), 8_000],
    [{ a: 1, b: { c: 'x'.repeat(100) } }, 250],
    [new Map([['x'.repeat(100), 'y'.repeat(100)]]), 300],
    [new Set(['x'.repeat(100)]), 200],
    [new Date(), 96],
    [10n ** 20n, 24],
    [Array.from({ length: 30_000 }, () => ({ n: 1 })), 30_000 * 56],
  ];
  for (const [value, bytes] of expected) {
    const estimate = sizeOf(value);
    expect(estimate).toBeGreaterThan(bytes / 2);
    expect(estimate).toBeLessThan(bytes * 2);
  }
  const shared = { text: 'x'.repeat(10_000) };
  expect(sizeOf([shared, shared])).toBeLessThan(15_000);
});

it('the heap stays within the bound in bytes, whatever is written', { timeout: 60_000 }, async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const limit = 20 * 1024 * 1024;
  const cache = make<object>({ maxBytes: limit });
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 200_000; i += 1) {
    const address = { street: `s${i}`, no: i };
    await cache.set(`user:${i}`, { id: i, name: `name ${i}`, tags: ['a', 'b'], address });
  }
  collect();
  const grown = process.memoryUsage().heapUsed - before;
  expect(cache.stats().memory.bytes).toBeLessThanOrEqual(limit);
  expect(cache.stats().memory.evictions.capacity).toBeGreaterThan(100_000);
  expect(grown).toBeLessThan(limit * 1.3);
});

it(
  'writes with churn, ten million of them every night, leave the heap as it was',
  { timeout: 1_200_000 },
  async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const cache = make<number>({ maxEntries: 1_000, ttl: 50 });
    const rounds = nightly ? 500 : 10;
    const churn = async (): Promise<number> => {
      for (let i = 0; i < 20_000; i += 1) {
        const key = `k${i % 3_000}`;
        await cache.set(key, i, i % 5 === 0 ? { tags: [`t${i % 50}`] } : undefined);
        if (i % 7 === 0) await cache.delete(key);
        if (i % 1_000 === 0) await cache.invalidateTags(`t${i % 50}`);
        if (i % 5_000 === 0) await cache.namespace('n').clear();
        if (i % 3 === 0) await cache.getOrSet(key, () => i);
      }
      collect();
      return process.memoryUsage().heapUsed;
    };
    await churn();
    const first = await churn();
    let last = first;
    for (let i = 0; i < rounds; i += 1) last = await churn();
    expect(last - first).toBeLessThan(1024 * 1024);
    expect(cache.stats().loads.running).toBe(0);
  },
);
