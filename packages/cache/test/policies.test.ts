import { FakeClock } from '@xiaoke/core/testing';
import { describe, expect, it } from 'vitest';
import { createCacheManager, type Entry, type EvictionPolicy, type StrategyName } from '../src/index.ts';
import { policyOf } from '../src/policy/strategy.ts';
import { checkPolicy } from '../src/testing/policy-conformance.ts';
import { WindowClimber } from '../src/policy/window-climber.ts';
import {
  checkEvictionPolicy,
  hitRatio,
  hitRatioOf,
  loopWorkload,
  oneHitWorkload,
  recencyWorkload,
  scanWorkload,
  seeded,
  shiftingWorkload,
  zipfWorkload,
  type Workload,
} from '../src/testing/index.ts';
import { make } from './support/caches.ts';

type Ratios = Readonly<Record<Exclude<StrategyName, 'ttl'>, number>>;
const nightly = process.env['XIAOKE_CHAOS'] === 'nightly';

// Hit ratios in percent, measured once with independent implementations of the same policies.
const GOLDEN: readonly (readonly [Workload, number, Ratios, 'nightly'?])[] = [
  [
    zipfWorkload(1),
    1_000,
    { fifo: 46.52, lru: 50.64, lfu: 59.23, sieve: 59.61, s3fifo: 59.87, 'w-tinylfu': 59.22 },
  ],
  [loopWorkload(), 10_000, { fifo: 0, lru: 0, lfu: 0, sieve: 0, s3fifo: 79.87, 'w-tinylfu': 85.35 }],
  [
    shiftingWorkload(),
    1_000,
    { fifo: 46.36, lru: 50.37, lfu: 19.16, sieve: 49.8, s3fifo: 55.72, 'w-tinylfu': 53.18 },
  ],
  [
    zipfWorkload(0.8),
    1_000,
    { fifo: 17.95, lru: 20.45, lfu: 30.32, sieve: 30.76, s3fifo: 31.53, 'w-tinylfu': 30 },
    'nightly',
  ],
  [
    zipfWorkload(1),
    10_000,
    { fifo: 70.01, lru: 73.57, lfu: 77.6, sieve: 77.6, s3fifo: 77.8, 'w-tinylfu': 78.29 },
    'nightly',
  ],
  [
    zipfWorkload(1.2),
    1_000,
    { fifo: 76.29, lru: 79.55, lfu: 83.93, sieve: 84.06, s3fifo: 83.96, 'w-tinylfu': 83.85 },
    'nightly',
  ],
  [
    scanWorkload(),
    1_000,
    { fifo: 32.44, lru: 35.31, lfu: 41.4, sieve: 41.58, s3fifo: 41.81, 'w-tinylfu': 39.11 },
    'nightly',
  ],
  [
    shiftingWorkload(),
    10_000,
    { fifo: 68.15, lru: 70.16, lfu: 36.52, sieve: 60.15, s3fifo: 65.33, 'w-tinylfu': 59.49 },
    'nightly',
  ],
  [
    oneHitWorkload(),
    1_000,
    { fifo: 18.66, lru: 21.14, lfu: 30.61, sieve: 30.64, s3fifo: 31.59, 'w-tinylfu': 30.49 },
    'nightly',
  ],
  [
    recencyWorkload(),
    1_000,
    { fifo: 35.67, lru: 39.05, lfu: 3.4, sieve: 30.87, s3fifo: 45.68, 'w-tinylfu': 42.37 },
    'nightly',
  ],
];

// What needs no luck is exact. The ghost of s3fifo forgets by another rule than the reference's. w-tinylfu draws lots and has a
// climber of its own, which may do better than the reference on any draw, but not worse.
const TOLERANCE: Readonly<Record<string, readonly [less: number, more: number]>> = {
  s3fifo: [0.5, 0.5],
  'w-tinylfu': [0.5, Infinity],
};

function seedsOf(strategy: string): readonly number[] {
  if (strategy !== 'w-tinylfu') return [1];
  return nightly ? [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] : [1, 2, 3];
}

describe('hit ratios are those of the published policies', () => {
  for (const [workload, entries, golden, when] of GOLDEN) {
    it.runIf(nightly || when === undefined)(
      `${workload.name}, ${entries} entries`,
      { timeout: 300_000 },
      () => {
        const requests = workload.requests();
        const off = Object.entries(golden).flatMap(([strategy, expected]) =>
          seedsOf(strategy).flatMap((seed) => {
            const measured = hitRatio(strategy as StrategyName, entries, requests, seeded(seed));
            const [less, more] = TOLERANCE[strategy] ?? [0.006, 0.006];
            const fits = measured > expected - less && measured < expected + more;
            return fits ? [] : [{ strategy, seed, expected, measured }];
          }),
        );
        expect(off).toEqual([]);
      },
    );
  }
});

describe('the window of w-tinylfu', () => {
  it('becomes large where only what is recent is asked for again, and small again where not', () => {
    const climber = new WindowClimber(1_000);
    const random = seeded(1);
    const run = (blocks: number, ratio: () => number): void => {
      for (let i = 0; i < blocks * 10_000; i += 1) climber.record(random() < ratio());
    };
    expect(climber.size).toBe(10);
    run(40, () => 0.4 + climber.size / 2_000);
    expect(climber.size).toBe(800);
    run(400, () => 0.4 - climber.size / 2_000);
    expect(climber.size).toBe(10);
  });

  it('stays where no size is better than another, and costs little to ask', () => {
    const climber = new WindowClimber(1_000);
    const random = seeded(2);
    let elsewhere = 0;
    for (let i = 0; i < 2_000_000; i += 1) {
      climber.record(random() < (climber.size === 10 ? 0.5 : 0.48));
      if (climber.size !== 10) elsewhere += 1;
    }
    expect(elsewhere / 2_000_000).toBeLessThan(0.15);
  });

  it('is given back at once when a trial goes badly', () => {
    const climber = new WindowClimber(1_000);
    const random = seeded(3);
    let elsewhere = 0;
    for (let i = 0; i < 500_000; i += 1) {
      climber.record(random() < (climber.size === 10 ? 0.9 : 0.1));
      if (climber.size !== 10) elsewhere += 1;
    }
    expect(elsewhere).toBeGreaterThan(0);
    expect(elsewhere).toBeLessThan(5_000);
  });
});

describe('every policy of the package keeps the contract', () => {
  for (const name of ['ttl', 'fifo', 'lfu', 'sieve', 's3fifo', 'w-tinylfu'] as const) {
    it(name, () => {
      for (const seed of [1, 2, 3])
        checkPolicy((capacity) => policyOf(name, capacity, seeded(seed)), { seed });
      checkPolicy((capacity) => policyOf(name, capacity, seeded(1)), { maxEntries: 1 });
    });
  }
});

it('the ttl strategy evicts what would expire first', async () => {
  const cache = make<number>({ strategy: 'ttl', maxEntries: 2 });
  await cache.set('late', 1, { ttl: '9s' });
  await cache.set('soon', 1, { ttl: '1s' });
  await cache.set('between', 1, { ttl: '5s' });
  expect([cache.peek('late'), cache.peek('soon'), cache.peek('between')]).toEqual([1, undefined, 1]);
  await cache.set('sooner', 1, { ttl: '1s' });
  expect(cache.peek('sooner')).toBeUndefined();
});

it('the ttl strategy keeps what a read has just put off', async () => {
  const clock = new FakeClock();
  const cache = make<number>({ strategy: 'ttl', maxEntries: 2, ttl: '1m', clock });
  await cache.set('read', 1, { idleTtl: '2s' });
  await cache.set('left', 1, { idleTtl: '3s' });
  await clock.advance(1_900);
  expect(await cache.get('read')).toBe(1);
  await cache.set('new', 1);
  expect([cache.peek('read'), cache.peek('left'), cache.peek('new')]).toEqual([1, undefined, 1]);
});

describe('a policy of your own', () => {
  /** Evicts at random: something no built-in strategy does. */
  class RandomPolicy implements EvictionPolicy {
    readonly #entries: Entry[] = [];
    readonly #random = seeded(7);

    onInsert(entry: Entry): void {
      entry.mark = this.#entries.push(entry) - 1;
    }
    onHit(): void {}
    onRemove(entry: Entry): void {
      const last = this.#entries.pop();
      if (last === undefined || last === entry) return;
      this.#entries[entry.mark] = last;
      last.mark = entry.mark;
    }
    victim(incoming: Entry): Entry {
      return this.#entries[Math.floor(this.#random() * this.#entries.length)] ?? incoming;
    }
  }

  it('passes the conformance suite, decides who leaves, and is told of everything', async () => {
    checkEvictionPolicy(() => new RandomPolicy());
    const cache = make<number>({ strategy: new RandomPolicy(), maxEntries: 10 });
    for (let i = 0; i < 100; i += 1) await cache.set(`k${i}`, i);
    expect(cache.stats().memory).toMatchObject({ entries: 10, evictions: { capacity: 90 } });
    await cache.clear();
    for (let i = 0; i < 20; i += 1) await cache.set(`k${i}`, i);
    expect(cache.stats().memory.entries).toBe(10);
  });

  it.each<[string, Partial<EvictionPolicy>]>([
    ['nothing', { victim: () => undefined as unknown as Entry }],
    ['a stranger', { victim: () => ({ key: 'x' }) as Entry }],
    ['an impostor', { victim: () => ({ key: 'a' }) as Entry }],
    [
      'an exception',
      {
        victim: () => {
          throw new Error('broken');
        },
      },
    ],
  ])('that gives %s makes the write fail with a code and changes nothing', async (_, broken) => {
    const policy: EvictionPolicy = {
      onInsert: () => {},
      onHit: () => {},
      onRemove: () => {},
      victim: (incoming) => incoming as Entry,
      ...broken,
    };
    const cache = make<number>({ strategy: policy, maxEntries: 1 });
    const errors: unknown[] = [];
    cache.on('error', (error) => errors.push(error));
    await cache.set('a', 1);
    await expect(cache.set('b', 2)).rejects.toMatchObject({ code: 'EVICTION_POLICY' });
    expect([cache.peek('a'), cache.peek('b')]).toEqual([1, undefined]);
    expect(await cache.getOrSet('c', () => 3)).toBe(3);
    expect(errors).toHaveLength(1);
    expect(() => checkEvictionPolicy(() => policy)).toThrow(/policy/);
  });

  it('that throws when it is told of a read is reported, and the read succeeds', async () => {
    const policy = {
      onInsert: () => {},
      onHit: () => {
        throw new Error('broken');
      },
      onRemove: () => {},
      victim: (incoming?: Entry) => incoming as Entry,
    };
    const cache = make<number>({ strategy: policy, maxEntries: 2 });
    const errors: unknown[] = [];
    cache.on('error', (error) => errors.push(error));
    await cache.set('a', 1);
    expect(await cache.get('a')).toBe(1);
    expect(errors).toEqual([new Error('broken')]);
    expect(() => checkEvictionPolicy(() => policy)).toThrow(/broken/);
  });

  it('is told of each read once, whatever is special about the entry', async () => {
    let hits = 0;
    const policy = {
      onInsert: () => {},
      onHit: () => (hits += 1),
      onRemove: () => {},
      victim: (incoming?: Entry) => incoming as Entry,
    };
    const cache = make<number>({ strategy: policy, maxEntries: 10 });
    await cache.set('plain', 1);
    await cache.set('tagged', 1, { tags: ['t'] });
    for (const key of ['plain', 'tagged']) {
      await cache.get(key);
      cache.getSync(key);
      await cache.getOrSet(key, () => 2);
      await cache.getMany([key]);
      await cache.getOrSetMany([key], async () => new Map());
      cache.peek(key);
    }
    expect(hits).toBe(10);
  });

  it('sees what is known of an entry when it is told of it, and never another in its place', async () => {
    const told: string[] = [];
    const held: Entry[] = [];
    const clock = new FakeClock();
    const policy = {
      onInsert: (entry: Entry) => {
        held.push(entry);
        told.push(`in ${entry.key} ${entry.expiresAt}`);
      },
      onHit: (entry: Entry) => told.push(`hit ${entry.key} ${entry.expiresAt}`),
      onRemove: (entry: Entry) => told.push(`out ${entry.key}`),
      victim: () => held[0] as Entry,
    };
    const cache = make<number>({ strategy: policy, maxEntries: 1, ttl: '9s', clock });
    await cache.set('a', 1);
    await cache.set('a', 2, { ttl: '5s' });
    await cache.set('b', 1);
    expect(told).toEqual(['in a 9000', 'hit a 5000', 'out a', 'in b 9000']);
    expect(held.map(({ key }) => key)).toEqual(['a', 'b']);
    // It holds on to `a`, whose slot may be another's by now.
    await expect(cache.set('c', 1)).rejects.toMatchObject({ code: 'EVICTION_POLICY' });
    expect(cache.peek('b')).toBe(1);
  });

  it('may refuse what comes in', async () => {
    const policy = {
      onInsert: () => {},
      onHit: () => {},
      onRemove: () => {},
      victim: (incoming?: Entry) => incoming as Entry,
    };
    const cache = make<number>({ strategy: policy, maxEntries: 1 });
    await cache.set('a', 1);
    await cache.set('b', 2);
    expect([cache.peek('a'), cache.peek('b')]).toEqual([1, undefined]);
  });

  it('without one of its methods is refused at once', () => {
    expect(() =>
      createCacheManager({ strategy: { onInsert: () => {} } as unknown as EvictionPolicy }),
    ).toThrow(expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'strategy' } }));
    expect(() => createCacheManager({ strategy: 'random' as 'lru' })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });

  it('is compared with others by its hit ratio', () => {
    const random = hitRatioOf(new RandomPolicy(), 500, zipfWorkload(1, 50_000));
    expect(random).toBeGreaterThan(30);
    expect(random).toBeLessThan(hitRatioOf('s3fifo', 500, zipfWorkload(1, 50_000)));
  });
});
