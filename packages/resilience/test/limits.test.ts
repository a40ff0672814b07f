import { FakeClock, trackLeaks } from '@xiaoke/core/testing';
import { describe, expect, test } from 'vitest';
import {
  adaptiveConcurrency,
  adaptiveThrottle,
  bulkhead,
  fallback,
  pipeline,
  rateLimit,
  remainingMs,
  timeout,
  withDeadline,
  type CallPriority,
} from '@xiaoke/resilience';
import { deferred, errorOf, seeded, turn } from './support.ts';

describe('timeout', () => {
  test('it rejects in time although the operation ignores its signal, and the signal fires', async () => {
    const clock = new FakeClock();
    let signal: AbortSignal | undefined;
    const call = errorOf(
      timeout('1s', { name: 'slow', clock }).execute((context) => {
        signal = context.signal;
        return new Promise(() => {});
      }),
    );
    await clock.advance(999);
    expect(signal?.aborted).toBe(false);
    await clock.advance(1);
    expect(await call).toMatchObject({ code: 'TIMEOUT', timeoutMs: 1_000 });
    expect(signal?.reason).toBe(await call);
  });

  test('calls of one timeout share one timer, and each ends at its own time', async () => {
    const clock = new FakeClock();
    const policy = timeout('1s', { clock });
    const ended: number[] = [];
    for (let call = 0; call < 10; call += 1) {
      void policy.execute(() => new Promise(() => {})).catch(() => ended.push(clock.monotonic()));
      await clock.advance(50);
    }
    expect(clock.timers).toBe(1);
    await clock.advance(2_000);
    expect(ended).toEqual([1_000, 1_050, 1_100, 1_150, 1_200, 1_250, 1_300, 1_350, 1_400, 1_450]);
    expect(clock.timers).toBe(0);
  });

  test('what settles after it was given up is counted, and is no unhandled rejection', async () => {
    const clock = new FakeClock();
    const policy = timeout('1s', { clock });
    const [good, bad] = [deferred(), deferred()];
    const calls = [errorOf(policy.execute(() => good.promise)), errorOf(policy.execute(() => bad.promise))];
    await clock.advance(1_000);
    await Promise.all(calls);
    good.resolve('late');
    bad.reject(new Error('late'));
    await turn();
    expect(policy.stats()).toMatchObject({ calls: 2, timedOut: 2, lateSuccesses: 1, lateFailures: 1 });
  });

  test('cooperative waits for the operation: its success counts, its failure is a timeout', async () => {
    const clock = new FakeClock();
    const policy = timeout('1s', { mode: 'cooperative', clock });
    const late = deferred();
    const kept = policy.execute(() => late.promise);
    const stopped = errorOf(
      policy.execute(
        ({ signal }) =>
          new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(new Error('stopped')));
          }),
      ),
    );
    await clock.advance(1_500);
    expect(await stopped).toMatchObject({ code: 'TIMEOUT' });
    late.resolve('worth it');
    expect(await kept).toBe('worth it');
  });

  test('a place in a bulkhead is held until what timed out has really ended', async () => {
    const clock = new FakeClock();
    const places = bulkhead({ concurrency: 1, clock });
    const policy = pipeline(places, timeout('1s', { clock }));
    const slow = deferred();
    const call = errorOf(policy.execute(() => slow.promise));
    await clock.advance(1_000);
    expect(await call).toMatchObject({ code: 'TIMEOUT' });
    expect(await errorOf(policy.execute(() => 'x'))).toMatchObject({ code: 'BULKHEAD_FULL' });
    slow.resolve('ended');
    await turn();
    expect(await policy.execute(() => 'free')).toBe('free');
  });

  test('with releaseOn: abandon the place is free at once', async () => {
    const clock = new FakeClock();
    const policy = pipeline(
      bulkhead({ concurrency: 1, releaseOn: 'abandon', clock }),
      timeout('1s', { clock }),
    );
    const call = errorOf(policy.execute(() => new Promise(() => {})));
    await clock.advance(1_000);
    await call;
    expect(await policy.execute(() => 'free')).toBe('free');
  });

  test('a new duration is for calls that begin now', async () => {
    const clock = new FakeClock();
    const policy = timeout('1s', { clock });
    const ended: string[] = [];
    void policy.execute(() => new Promise(() => {})).catch(() => ended.push(`old at ${clock.monotonic()}`));
    policy.configure({ duration: '200ms' });
    void policy.execute(() => new Promise(() => {})).catch(() => ended.push(`new at ${clock.monotonic()}`));
    await clock.advance(1_000);
    expect(ended).toEqual(['new at 200', 'old at 1000']);
    expect(() => policy.configure({ duration: 0 })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  });

  test('no timer outlives the calls for long, and an idle one does not keep the process', async () => {
    const check = trackLeaks();
    const policy = timeout(30);
    await Promise.all(Array.from({ length: 100 }, () => policy.execute(async () => 'ok')));
    await check();
  });

  test('an operation sees the time it has left', async () => {
    const clock = new FakeClock();
    const policy = pipeline(timeout('5s', { clock }), timeout('2s', { clock }));
    expect(await policy.execute(({ remainingMs: left }) => left())).toBe(2_000);
    expect(await bulkhead({ concurrency: 1 }).execute(({ remainingMs: left }) => left())).toBe(Infinity);
  });
});

describe('deadline', () => {
  test('it ends calls made anywhere inside, and an inner one cannot be later', async () => {
    const clock = new FakeClock();
    const policy = bulkhead({ concurrency: 1, clock });
    const call = withDeadline(
      '1s',
      () => withDeadline('1h', () => errorOf(policy.execute(() => new Promise(() => {}))), { clock }),
      { clock },
    );
    await clock.advance(1_000);
    expect(await call).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(clock.timers).toBe(0);
  });

  test('after it, nothing starts', async () => {
    const clock = new FakeClock();
    let ran = false;
    const error = await withDeadline(
      '1s',
      async () => {
        await clock.advance(1_001);
        return await errorOf(bulkhead({ concurrency: 1, clock }).execute(() => (ran = true)));
      },
      { clock },
    );
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(ran).toBe(false);
    expect(remainingMs()).toBe(Infinity);
  });
});

describe('bulkhead', () => {
  async function busy(options: Parameters<typeof bulkhead>[0], waiting: readonly CallPriority[]) {
    const policy = bulkhead(options);
    const first = deferred();
    const running = policy.execute(() => first.promise);
    const order: string[] = [];
    const calls = waiting.map((priority, index) =>
      policy
        .execute(() => order.push(`${priority}${index}`), { priority })
        .catch((error: { code: string }) => order.push(`${error.code}${index}`)),
    );
    return {
      policy,
      order,
      finish: async () => {
        first.resolve('done');
        await Promise.all([running, ...calls]);
      },
    };
  }

  test('a place goes to the waiting in their order: first, last or by priority', async () => {
    const fifo = await busy({ concurrency: 1, queue: 3 }, ['low', 'high', 'normal']);
    await fifo.finish();
    expect(fifo.order).toEqual(['low0', 'high1', 'normal2']);
    const lifo = await busy({ concurrency: 1, queue: 3, order: 'lifo' }, ['low', 'high', 'normal']);
    await lifo.finish();
    expect(lifo.order).toEqual(['normal2', 'high1', 'low0']);
    const byPriority = await busy({ concurrency: 1, queue: 4, order: 'priority' }, [
      'low',
      'normal',
      'high',
      'high',
    ]);
    await byPriority.finish();
    expect(byPriority.order).toEqual(['high2', 'high3', 'normal1', 'low0']);
  });

  test('a full queue by priority sends the least important away for a more important call', async () => {
    const queue = await busy({ concurrency: 1, queue: 2, order: 'priority' }, [
      'low',
      'normal',
      'high',
      'low',
    ]);
    await queue.finish();
    expect(queue.order).toEqual(
      ['BULKHEAD_FULL3', 'BULKHEAD_FULL0', 'high2', 'normal1'].sort(
        (a, b) => queue.order.indexOf(a) - queue.order.indexOf(b),
      ),
    );
    expect(queue.policy.stats()).toMatchObject({ rejected: 2, active: 0, queued: 0 });
  });

  test('an abort in the queue rejects at once and frees the place in it', async () => {
    const policy = bulkhead({ concurrency: 1, queue: 1 });
    const first = deferred();
    const running = policy.execute(() => first.promise);
    const controller = new AbortController();
    const waiting = policy.execute(() => 'never', { signal: controller.signal });
    controller.abort();
    expect(await errorOf(waiting)).toBe(controller.signal.reason);
    expect(policy.stats().queued).toBe(0);
    const next = policy.execute(() => 'next');
    first.resolve('done');
    expect(await Promise.all([running, next])).toEqual(['done', 'next']);
  });

  test('nobody waits longer than maxWait', async () => {
    const clock = new FakeClock();
    const policy = bulkhead({ concurrency: 1, queue: 1, maxWait: '2s', clock });
    void policy.execute(() => new Promise(() => {}));
    const waiting = errorOf(policy.execute(() => 'x'));
    await clock.advance(2_000);
    expect(await waiting).toMatchObject({ code: 'BULKHEAD_FULL' });
    expect(clock.timers).toBe(0);
  });

  test('a newcomer cannot slip in before one that waits', async () => {
    const policy = bulkhead({ concurrency: 1, queue: 1 });
    const first = deferred();
    const running = policy.execute(() => first.promise);
    const waiting = policy.execute(() => 'waited');
    first.resolve('done');
    await running;
    const newcomer = policy.execute(() => 'newcomer');
    expect(await Promise.race([waiting, newcomer])).toBe('waited');
    await newcomer;
  });

  test('a larger limit lets the waiting in, a smaller one waits for places to become free', async () => {
    const policy = bulkhead({ concurrency: 1, queue: 10 });
    const gates = Array.from({ length: 4 }, () => deferred());
    const calls = gates.map((gate) => policy.execute(() => gate.promise));
    policy.configure({ concurrency: 3, queue: 10 });
    expect(policy.stats()).toMatchObject({ active: 3, queued: 1 });
    policy.configure({ concurrency: 1, queue: 10 });
    gates[0]?.resolve('a');
    await calls[0];
    expect(policy.stats()).toMatchObject({ active: 2, queued: 1 });
    for (const gate of gates) gate.resolve('b');
    await Promise.all(calls);
    expect(policy.stats()).toMatchObject({ active: 0, queued: 0 });
  });
});

describe('rate limit', () => {
  test('over any length of time it admits the limit and one burst, never more', async () => {
    const clock = new FakeClock();
    const random = seeded(7);
    const policy = rateLimit({ limit: 10, per: '1s', burst: 5, clock });
    let admitted = 0;
    for (let step = 0; step < 2_000; step += 1) {
      await policy.execute(() => (admitted += 1)).catch(() => {});
      await clock.advance(Math.floor(random() * 20));
      expect(admitted).toBeLessThanOrEqual((clock.monotonic() / 1_000) * 10 + 5);
    }
    expect(admitted).toBeGreaterThan((clock.monotonic() / 1_000) * 10 * 0.95);
  });

  test('a refusal says when the next place is, and then there is one', async () => {
    const clock = new FakeClock();
    const policy = rateLimit({ limit: 2, per: '1s', burst: 1, clock });
    await policy.execute(() => 'ok');
    const refused = (await errorOf(policy.execute(() => 'x'))) as { retryAfterMs: number };
    expect(refused).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 500 });
    await clock.advance(refused.retryAfterMs);
    expect(await policy.execute(() => 'ok')).toBe('ok');
  });

  test('with maxWait calls wait for their turn, and an abort ends the wait at once', async () => {
    const clock = new FakeClock();
    const policy = rateLimit({ limit: 10, per: '1s', burst: 1, maxWait: '250ms', clock });
    const at: number[] = [];
    const calls = Array.from({ length: 4 }, () =>
      policy.execute(() => at.push(clock.monotonic())).catch((error: { code: string }) => error.code),
    );
    await clock.advance(1_000);
    expect(at).toEqual([0, 100, 200]);
    expect((await Promise.all(calls))[3]).toBe('RATE_LIMITED');
    await policy.execute(() => 'takes the turn');
    const controller = new AbortController();
    const waiting = policy.execute(() => 'x', { signal: controller.signal });
    controller.abort();
    expect(await errorOf(waiting)).toBe(controller.signal.reason);
    expect(clock.timers).toBe(0);
  });

  test('a store needs a name', () => {
    const store = { take: async () => ({ granted: true, waitMs: 0 }) };
    expect(() => rateLimit({ limit: 1, store })).toThrow(
      expect.objectContaining({ details: { option: 'name' } }),
    );
  });

  test.each([
    ['local', ['ok', 'RATE_LIMITED']],
    ['allow', ['ok', 'ok']],
    ['deny', ['RATE_LIMITED', 'RATE_LIMITED']],
  ] as const)('when the store fails, %s decides', async (onStoreError, expected) => {
    const store = { take: () => Promise.reject(new Error('store down')) };
    const policy = rateLimit({ name: 'x', limit: 1, per: '1h', store, onStoreError });
    const call = (): Promise<string> =>
      policy.execute(() => 'ok').catch((error: { code: string }) => error.code);
    expect([await call(), await call()]).toEqual(expected);
    expect(policy.stats().storeErrors).toBe(2);
  });
});

describe('adaptive throttle', () => {
  test('it refuses more the more fails, at most 90 %, and recovers by itself', async () => {
    const clock = new FakeClock();
    const throttle = adaptiveThrottle({ name: 't', clock, random: seeded(3), window: '10s' });
    const policy = pipeline(fallback('refused'), throttle);
    const stats = () => throttle.stats();
    const seconds = async (count: number, works: boolean): Promise<number> => {
      let ran = 0;
      for (let call = 0; call < count * 100; call += 1) {
        await policy.execute(() => {
          ran += 1;
          if (!works) throw new Error('down');
        });
        if (call % 10 === 9) await clock.advance(100);
      }
      return ran / (count * 100);
    };
    expect(await seconds(10, true)).toBe(1);
    await seconds(20, false);
    expect(stats().rejection).toBeGreaterThan(0.85);
    expect(stats().rejection).toBeLessThanOrEqual(0.9);
    await seconds(30, true);
    expect(stats().rejection).toBe(0);
  });
});

describe('adaptive concurrency', () => {
  // A dependency with `capacity` workers, each busy 100 ms per call; callers keep `load` calls going.
  async function settle(
    algorithm: 'gradient2' | 'vegas' | 'aimd',
    capacities: readonly number[],
  ): Promise<readonly number[]> {
    const clock = new FakeClock();
    const random = seeded(11);
    const limiter = adaptiveConcurrency({ algorithm, initial: 20, max: 400, clock });
    const policy = pipeline(limiter, timeout('2s', { clock }));
    let capacity = capacities[0] ?? 0;
    let busy = 0;
    const waiting: (() => void)[] = [];
    const release = (): void => {
      busy -= 1;
      while (busy < capacity && waiting.length > 0) {
        busy += 1;
        waiting.shift()?.();
      }
    };
    const serve = async (): Promise<void> => {
      if (busy < capacity) busy += 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, 80 + random() * 40));
      release();
    };
    const limits: number[] = [];
    for (const next of capacities) {
      capacity = next;
      for (let tick = 0; tick < 1_200; tick += 1) {
        // Twice as many as it can take.
        for (let call = 0; call < next / 5; call += 1) void policy.execute(serve).catch(() => {});
        await clock.advance(10);
      }
      limits.push(limiter.stats().limit / next);
    }
    return limits;
  }

  test('gradient2 finds the capacity again after it fell to a quarter and rose fourfold', async () => {
    const limits = await settle('gradient2', [40, 10, 40]);
    for (const share of limits) {
      expect(share).toBeGreaterThan(0.7);
      expect(share).toBeLessThan(2.2);
    }
  }, 60_000);

  test('vegas keeps a short queue, and finds more room when there is', async () => {
    const [before, narrow, after] = await settle('vegas', [40, 10, 40]);
    expect([before, after].every((share) => (share ?? 0) > 0.7 && (share ?? 0) < 2.2)).toBe(true);
    expect((narrow ?? 0) * 10).toBeLessThan((before ?? 0) * 40);
  }, 60_000);

  test('aimd grows by one a window until calls time out, then gives a tenth back', async () => {
    const clock = new FakeClock();
    const limiter = adaptiveConcurrency({ algorithm: 'aimd', initial: 10, minimumCalls: 1, clock });
    const policy = pipeline(limiter, timeout('5s', { clock }));
    const window = async (works: boolean): Promise<number> => {
      const calls = Array.from({ length: 30 }, () =>
        policy.execute(() => (works ? turn() : new Promise<void>(() => {}))).catch(() => {}),
      );
      await clock.advance(works ? 1_000 : 5_000);
      await Promise.all(calls);
      return limiter.stats().limit;
    };
    const grown = [];
    for (let count = 0; count < 6; count += 1) grown.push(await window(true));
    expect(Math.max(...grown)).toBeGreaterThanOrEqual(14);
    expect(await window(false)).toBeLessThan(Math.max(...grown));
  });

  test('a dropped call shrinks the limit of every algorithm, and it never leaves its bounds', async () => {
    for (const algorithm of ['gradient2', 'vegas', 'aimd'] as const) {
      const clock = new FakeClock();
      const policy = adaptiveConcurrency({ algorithm, initial: 10, min: 3, max: 12, clock });
      for (let window = 0; window < 50; window += 1) {
        await clock.advance(1_000);
        await policy
          .execute(() => Promise.reject(Object.assign(new Error('busy'), { status: 429 })))
          .catch(() => {});
      }
      expect(policy.stats().limit).toBe(3);
      for (let window = 0; window < 50; window += 1) {
        const calls = Array.from({ length: 30 }, () => policy.execute(() => turn()).catch(() => {}));
        await Promise.all(calls);
        await clock.advance(1_000);
      }
      expect(policy.stats().limit).toBeGreaterThanOrEqual(3);
      expect(policy.stats().limit).toBeLessThanOrEqual(12);
    }
  });

  test('a client that uses little of its limit does not lose it', async () => {
    const clock = new FakeClock();
    const random = seeded(5);
    const policy = adaptiveConcurrency({ clock });
    for (let call = 0; call < 2_000; call += 1) {
      // Two kinds of calls, fast and slow.
      const running = policy.execute(
        () => new Promise<void>((resolve) => void clock.setTimeout(resolve, random() < 0.5 ? 5 : 200)),
      );
      await clock.advance(20);
      void running;
    }
    expect(policy.stats()).toMatchObject({ rejected: 0 });
    expect(policy.stats().limit).toBeGreaterThanOrEqual(20);
  });
});
