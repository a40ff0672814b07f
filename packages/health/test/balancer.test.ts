import { afterEach, describe, expect, test } from 'vitest';
import { NonRetryableError } from '@xiaoke/core';
import { eventually, FakeClock, recordingLogger } from '@xiaoke/core/testing';
import {
  createBalancer,
  createServiceRegistry,
  type Balancer,
  type BalancerOptions,
  type BalancerSource,
} from '@xiaoke/health/discovery';
import { seededRandom } from '@xiaoke/health/testing';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const clock = new FakeClock();
const at = (id: string): string => `http://${id}.test:80`;
const some = (...names: string[]): { id: string; url: string }[] => names.map((id) => ({ id, url: at(id) }));

function balance(source: BalancerSource, options: BalancerOptions = {}): Balancer {
  const balancer = createBalancer(source, { clock, random: seededRandom(1), ...options });
  closers.push(() => balancer.close());
  return balancer;
}

/** Picks one after the other, each ended at once, and counts. */
function spread(balancer: Balancer, times: number, key?: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let time = 0; time < times; time += 1) {
    using lease = balancer.pick(key === undefined ? {} : { key: `${key}${time}` });
    counts[lease.id] = (counts[lease.id] ?? 0) + 1;
  }
  return counts;
}

/** Fails whatever goes to `id` until it is left out. */
function ruin(balancer: Balancer, ...ids: string[]): void {
  for (let time = 0; time < 500; time += 1) {
    const lease = balancer.pick();
    if (ids.includes(lease.id)) lease.fail(new Error('down'));
    else lease.ok();
  }
}

const ejected = (balancer: Balancer): string[] =>
  balancer
    .stats()
    .instances.filter((each) => each.ejected)
    .map(({ id }) => id);

describe('sources', () => {
  test('a list of URLs, of instances, or a snapshot', () => {
    const urls = balance([at('a'), new URL(at('b'))]);
    expect(Object.keys(spread(urls, 50)).length).toBe(2);
    expect(new URL(balance(some('a')).pick().url).host).toBe('a.test');
    expect(balance({ instances: some('z') }).pick().instance).toMatchObject({ id: 'z', weight: 1 });
  });

  test('a watch, whose changes are followed, and which is closed with the balancer', async () => {
    await using registry = createServiceRegistry({ namespace: 'balancer-watch' });
    const a = await registry.register({ id: 'a', service: 'svc', url: at('a') });
    await registry.register({ id: 'b', service: 'svc', url: at('b') });
    const balancer = balance(registry.watch('svc'));
    // Known at once: this process registered them itself.
    expect(Object.keys(spread(balancer, 50)).toSorted()).toEqual(['a', 'b']);
    await a.setStatus('draining');
    await eventually(() => expect(Object.keys(spread(balancer, 50))).toEqual(['b']));
    await registry.register({ id: 'c', service: 'svc', url: at('c') });
    await eventually(() => expect(Object.keys(spread(balancer, 500)).toSorted()).toEqual(['b', 'c']));
    await balancer.close();
    expect(registry.stats().watches).toBe(0);
    expect(() => balancer.pick()).toThrow(/closed/);
  });

  test('a registry with the name of a service', async () => {
    await using registry = createServiceRegistry({ namespace: 'balancer-registry' });
    await registry.register({ id: 'a', service: 'svc', url: at('a') });
    const balancer = balance(registry, { service: 'svc' });
    expect(await balancer.call(({ id }) => id)).toBe('a');
    expect(() => balance(registry)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  test('a stream, and a function that is asked again, whose last answer stands while it fails', async () => {
    async function* stream(): AsyncGenerator<{ id: string; url: string }[]> {
      yield some('a');
      yield some('b');
    }
    const streamed = balance(stream());
    await eventually(() => expect(streamed.pick().id).toBe('b'));

    let answer: () => { id: string; url: string }[] = () => some('a');
    const polled = balance(() => answer(), { refresh: 1_000 });
    expect(await polled.call(({ id }) => id)).toBe('a');
    answer = () => {
      throw new Error('away');
    };
    await clock.advance(1_000);
    expect(polled.pick().id).toBe('a');
    answer = () => some('b');
    await clock.advance(1_000);
    expect(polled.pick().id).toBe('b');
  });

  test.each([
    [null, {}, 'source'],
    [{}, {}, 'source'],
    [7, {}, 'source'],
    [['nonsense'], {}, 'url'],
    [[], { policy: 'best' }, 'policy'],
    [[], { retries: -1 }, 'retries'],
    [[], { retryBudget: 2 }, 'retryBudget'],
    [[], { panicBelow: -1 }, 'panicBelow'],
    [[], { outlier: { consecutive: 0 } }, 'outlier.consecutive'],
    [[], { outlier: { baseEjection: 10, maxEjection: 5 } }, 'outlier.maxEjection'],
    [[], { locality: { zone: '' } }, 'locality.zone'],
    [[], { classify: 'no' }, 'classify'],
    [[], { tau: 0 }, 'tau'],
  ])('%j with %j is refused', (source, options, option) => {
    expect(() => createBalancer(source as never, options as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option } }),
    );
  });
});

describe('policies', () => {
  test.each(['p2c-ewma', 'least-request', 'round-robin', 'random'] as const)(
    '%s gives each its share, by weight',
    (policy) => {
      const even = spread(balance(some('a', 'b', 'c', 'd'), { policy }), 4_000);
      for (const count of Object.values(even)) expect(Math.abs(count - 1_000)).toBeLessThan(120);
      const [a, b] = some('a', 'b');
      const weighted = balance(
        [
          { ...a, url: at('a'), weight: 3 },
          { ...b, url: at('b') },
        ],
        { policy },
      );
      expect(Math.abs((spread(weighted, 4_000)['a'] ?? 0) - 3_000)).toBeLessThan(150);
    },
  );

  test('round-robin is smooth: the heavy one does not come in one block', () => {
    const balancer = balance([{ id: 'a', url: at('a'), weight: 3 }, ...some('b')], { policy: 'round-robin' });
    const order = Array.from({ length: 8 }, () => balancer.pick().id).join('');
    expect(order).toBe('aabaaaba');
  });

  test('consistent-hash: a key stays where it is, and when an instance leaves only its keys move', async () => {
    let list = some('a', 'b', 'c', 'd');
    const balancer = balance(() => list, { policy: 'consistent-hash', refresh: 100 });
    await balancer.call(() => {});
    const place = (): string[] =>
      Array.from({ length: 1_000 }, (_, n) => {
        using lease = balancer.pick({ key: `user-${n}` });
        return lease.id;
      });
    const before = place();
    expect(place()).toEqual(before);
    for (const id of ['a', 'b', 'c', 'd'])
      expect(before.filter((each) => each === id).length).toBeGreaterThan(150);
    list = some('a', 'b', 'c');
    await clock.advance(100);
    const after = place();
    expect(after.filter((id, n) => before[n] !== 'd' && before[n] !== id)).toEqual([]);
    expect(spread(balancer, 100)['a']).toBeGreaterThan(10);
  });

  test('consistent-hash: a hot key does not drown its instance', () => {
    const balancer = balance(some('a', 'b', 'c', 'd'), { policy: 'consistent-hash' });
    const leases = Array.from({ length: 100 }, () => balancer.pick({ key: 'hot' }));
    const most = Math.max(...balancer.stats().instances.map(({ inflight }) => inflight));
    expect(most).toBeLessThan(40);
    for (const lease of leases) lease.ok();
  });

  test('least-request goes to the one with fewer calls under way', () => {
    const balancer = balance(some('a', 'b'), { policy: 'least-request' });
    const first = balancer.pick();
    for (let time = 0; time < 5; time += 1) {
      const second = balancer.pick();
      expect(second.id).not.toBe(first.id);
      second.ok();
    }
  });

  test('a slow instance gets little, a call that hangs makes its instance worse before it ends', async () => {
    const balancer = balance(some('fast', 'slow'));
    for (let time = 0; time < 200; time += 1) {
      const lease = balancer.pick();
      await clock.advance(lease.id === 'slow' ? 200 : 20);
      lease.ok();
    }
    const { instances } = balancer.stats();
    expect(instances.find(({ id }) => id === 'slow')?.picks).toBeLessThan(20);
    const hanging = balance(some('a', 'b'));
    const hung = hanging.pick();
    await clock.advance(1_000);
    const next = spread(hanging, 50);
    expect(next[hung.id] ?? 0).toBe(0);
  });
});

describe('outliers', () => {
  test('five errors in a row leave an instance out; one probe that goes well brings it back', async () => {
    const balancer = balance(some('a', 'b', 'c'));
    const events: string[] = [];
    balancer.on('ejected', ({ instance }) => events.push(`out ${instance.id}`));
    balancer.on('readmitted', ({ instance }) => events.push(`back ${instance.id}`));
    for (let errors = 0; errors < 5;) {
      const lease = balancer.pick();
      if (lease.id === 'a') errors += 1;
      if (lease.id === 'a') lease.fail(new Error('down'));
      else lease.ok();
      await clock.advance(400);
    }
    expect(ejected(balancer)).toEqual(['a']);
    expect(spread(balancer, 100)['a']).toBeUndefined();
    await clock.advance(2_000);
    // Exactly one call tries it.
    const probe = balancer.pick();
    expect(probe.id).toBe('a');
    expect(balancer.pick().id).not.toBe('a');
    probe.ok();
    expect(ejected(balancer)).toEqual([]);
    expect(spread(balancer, 300)['a']).toBeGreaterThan(50);
    expect(events).toEqual(['out a', 'back a']);
  });

  test('a probe that fails leaves it out for longer; one that is given up is tried again', async () => {
    const balancer = balance(some('a', 'b', 'c'), { outlier: { consecutive: 1 } });
    ruin(balancer, 'a');
    await clock.advance(2_000);
    balancer.pick().fail(new Error('still down'));
    await clock.advance(2_000);
    expect(spread(balancer, 50)['a']).toBeUndefined();
    await clock.advance(2_000);
    const abandoned = balancer.pick();
    expect(abandoned.id).toBe('a');
    abandoned.fail(new DOMException('the caller left', 'AbortError'));
    await clock.advance(100);
    const probe = balancer.pick();
    expect(probe.id).toBe('a');
    probe.ok();
    expect(ejected(balancer)).toEqual([]);
  });

  test('a share of errors within the window leaves an instance out, though no two come in a row', () => {
    const balancer = balance(some('a', 'b'), {
      policy: 'round-robin',
      outlier: { minRequests: 10, failureRatio: 0.5 },
    });
    let failing = false;
    for (let time = 0; time < 60; time += 1) {
      const lease = balancer.pick();
      if (lease.id === 'a' && (failing = !failing)) lease.fail(new Error('flaky'));
      else lease.ok();
    }
    expect(ejected(balancer)).toEqual(['a']);
  });

  test('no more than half are left out, and with all failing everybody is still tried: never no instance', () => {
    const balancer = balance(some('a', 'b', 'c', 'd'), { policy: 'round-robin' });
    ruin(balancer, 'a', 'b', 'c', 'd');
    expect(ejected(balancer).length).toBe(2);
    const alone = balance(some('a'));
    ruin(alone, 'a');
    expect([ejected(alone), alone.pick().id]).toEqual([[], 'a']);
    const off = balance(some('a', 'b'), { outlier: false });
    ruin(off, 'a');
    expect(ejected(off)).toEqual([]);
  });

  test('when fewer than half are well, those that say they are not are used too', async () => {
    const sick = (id: string) => ({ id, url: at(id), status: 'unhealthy' }) as const;
    const balancer = balance([...some('a'), sick('b'), sick('c')], { policy: 'random' });
    expect(balancer.stats()).toMatchObject({ panic: true, available: 3 });
    expect(Object.keys(spread(balancer, 100)).length).toBe(3);
    const calm = balance([...some('a', 'b'), sick('c')], { policy: 'random' });
    expect(calm.stats()).toMatchObject({ panic: false, available: 2 });
    expect(spread(calm, 100)['c']).toBeUndefined();
    const leaving = balance([{ id: 'd', url: at('d'), status: 'draining' }]);
    expect(leaving.pick().id).toBe('d');
    const preferred = balance([{ id: 'd', url: at('d'), status: 'draining' }, ...some('a')]);
    expect(spread(preferred, 50)).toEqual({ a: 50 });
  });
});

test('slow start: a new instance gets a tenth at first and its share after the time', async () => {
  let list = some('a', 'b', 'c');
  const balancer = balance(() => list, { refresh: 100, slowStart: '10s', policy: 'random' });
  await balancer.call(() => {});
  list = some('a', 'b', 'c', 'new');
  await clock.advance(100);
  const share = (): number => (spread(balancer, 4_000)['new'] ?? 0) / 4_000;
  expect(share()).toBeLessThan(0.06);
  await clock.advance(5_000);
  expect(share()).toBeGreaterThan(0.1);
  expect(share()).toBeLessThan(0.2);
  await clock.advance(5_100);
  expect(share()).toBeGreaterThan(0.22);
});

test('the zone of the caller is preferred, and spills over when too few of it are well', async () => {
  let sick = 0;
  const instance = (id: string, zone: string, region: string, bad: boolean) =>
    ({ id, url: at(id), zone, region, status: bad ? 'unhealthy' : 'healthy' }) as const;
  const list = () => [
    ...[0, 1, 2, 3].map((n) => instance(`near${n}`, 'z1', 'r1', n < sick)),
    ...[0, 1].map((n) => instance(`nearby${n}`, 'z2', 'r1', false)),
    ...[0, 1].map((n) => instance(`far${n}`, 'z3', 'r2', false)),
  ];
  const balancer = balance(list, { refresh: 100, locality: { zone: 'z1', region: 'r1' } });
  await balancer.call(() => {});
  const shares = (): Record<string, number> => {
    const sums: Record<string, number> = { near: 0, nearby: 0, far: 0 };
    for (const [id, count] of Object.entries(spread(balancer, 4_000))) {
      const where = id.slice(0, -1);
      sums[where] = (sums[where] ?? 0) + count / 4_000;
    }
    return sums;
  };
  expect(shares()).toEqual({ near: 1, nearby: 0, far: 0 });
  sick = 1;
  await clock.advance(100);
  expect(shares()['near']).toBe(1);
  // Half of it is well: 0.5 / 0.7 of the traffic stays, the rest goes to the region.
  sick = 2;
  await clock.advance(100);
  const { near = 0, nearby = 0, far = 0 } = shares();
  expect(near).toBeGreaterThan(0.67);
  expect(near).toBeLessThan(0.76);
  expect([nearby > 0.2, far]).toEqual([true, 0]);
  sick = 4;
  await clock.advance(100);
  expect(shares()).toEqual({ near: 0, nearby: 1, far: 0 });
});

describe('calls', () => {
  test('a call that fails is tried on another instance, and the last error is thrown', async () => {
    const balancer = balance(some('a', 'b', 'c'));
    const tried: string[] = [];
    const result = await balancer.call(({ id }, { attempt }) => {
      tried.push(id);
      if (attempt === 1) throw new Error('down');
      return `from ${id}`;
    });
    expect(result).toBe(`from ${tried[1]}`);
    expect(new Set(tried).size).toBe(2);
    const all = balancer.call(({ id }) => Promise.reject(new Error(id)), { retries: 5 });
    await expect(all).rejects.toThrow(/^[abc]$/);
    expect(balancer.stats()).toMatchObject({ picks: 5, errors: 4, retries: 3 });
  });

  test('what must not be repeated is not, and what is not the fault of the instance neither', async () => {
    const balancer = balance(some('a', 'b'));
    let calls = 0;
    const failing = (error: Error) => () => {
      calls += 1;
      throw error;
    };
    await expect(balancer.call(failing(new Error('x')), { retries: 0 })).rejects.toThrow('x');
    await expect(balancer.call(failing(new NonRetryableError('y')))).rejects.toThrow('y');
    await expect(balancer.call(failing(new DOMException('z', 'AbortError')))).rejects.toThrow('z');
    await expect(balancer.call(failing(Object.assign(new Error('w'), { status: 404 })))).rejects.toThrow('w');
    expect(calls).toBe(4);
    expect(balancer.stats().errors).toBe(1);
    const busy = Object.assign(new Error('busy'), { statusCode: 429 });
    await expect(balancer.call(failing(busy))).rejects.toThrow('busy');
    expect([calls, balancer.stats().errors]).toEqual([6, 3]);
  });

  test('the retry budget bounds retries when everything fails', async () => {
    const balancer = balance(some('a', 'b'));
    let calls = 0;
    for (let time = 0; time < 200; time += 1)
      await balancer
        .call(() => {
          calls += 1;
          throw new Error('down');
        })
        .catch(() => {});
    expect(calls - 200).toBeGreaterThan(40);
    expect(calls - 200).toBeLessThanOrEqual(10 + 200 * 0.2);
    expect(balancer.stats().retriesRefused).toBeGreaterThan(100);
    const none = balance(some('a', 'b'), { retryBudget: 0 });
    await expect(none.call(() => Promise.reject(new Error('down')))).rejects.toThrow('down');
    expect(none.stats()).toMatchObject({ retries: 0, retriesRefused: 1 });
  });

  test('an abort ends a call at once and says nothing about the instance; a timeout does', async () => {
    const balancer = balance(some('a', 'b'));
    const controller = new AbortController();
    const hanging = balancer.call(() => new Promise(() => {}), { signal: controller.signal });
    await clock.advance(10);
    controller.abort(new Error('enough'));
    await expect(hanging).rejects.toThrow('enough');
    expect(balancer.stats()).toMatchObject({ errors: 0 });
    await expect(balancer.call(() => 1, { signal: controller.signal })).rejects.toThrow('enough');
    const late = balancer.call(() => new Promise(() => {}), { timeout: 50, retries: 1 });
    const outcome = late.catch((error: unknown) => error);
    await clock.advance(100);
    expect(await outcome).toMatchObject({ code: 'TIMEOUT' });
    expect(balancer.stats()).toMatchObject({ errors: 2, retries: 1 });
    expect(balancer.stats().instances.map(({ inflight }) => inflight)).toEqual([0, 0]);
  });

  test('an answer of 500 or more counts against the instance and is returned all the same', async () => {
    const balancer = balance(some('a', 'b'));
    expect(await balancer.call(() => ({ status: 503 }))).toEqual({ status: 503 });
    expect(await balancer.call(() => ({ status: 404 }))).toEqual({ status: 404 });
    expect(balancer.stats().errors).toBe(1);
    const own = balance(some('a'), { classify: (error) => (error === undefined ? 'ok' : 'ignore') });
    await expect(own.call(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    expect(own.stats().errors).toBe(0);
    const logger = recordingLogger();
    const broken = balance(some('a'), {
      logger,
      classify: () => {
        throw new Error('bug');
      },
    });
    expect(await broken.call(() => 7)).toBe(7);
    expect(logger.lines.length).toBe(1);
  });

  test('without any instance there is an error with a code; the first ones are waited for', async () => {
    const empty = balance([]);
    expect(() => empty.pick()).toThrow(expect.objectContaining({ code: 'NO_INSTANCE' }));
    await expect(empty.call(() => 1)).rejects.toMatchObject({ code: 'NO_INSTANCE' });
    expect(empty.stats().unserved).toBe(2);
    const slow = balance(async () => {
      await Promise.resolve();
      return some('a');
    });
    expect(await slow.call(({ id }) => id)).toBe('a');
    expect(() => slow.pick({ exclude: ['a'] })).toThrow(expect.objectContaining({ code: 'NO_INSTANCE' }));
    await expect(slow.call(() => 1, { retries: 1.5 })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });

  test('the first end of a lease counts', () => {
    const balancer = balance(some('a', 'b'));
    const lease = balancer.pick({ exclude: ['b'] });
    expect([lease.id, lease.url]).toEqual(['a', at('a')]);
    lease.release(new Error('down'));
    lease.ok();
    lease.fail();
    expect(balancer.stats()).toMatchObject({ errors: 1, picks: 1 });
    balancer.pick().release();
    balancer.pick().fail();
    expect(balancer.stats()).toMatchObject({ errors: 2 });
  });
});
