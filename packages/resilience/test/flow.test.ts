import { FakeClock } from '@xiaoke/core/testing';
import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  bulkhead,
  circuitBreaker,
  collapse,
  contextKey,
  fallback,
  fallbackWhen,
  faultInjection,
  hedge,
  partition,
  pipeline,
  rateLimit,
  retry,
  retryBudget,
  timeout,
  type Policy,
} from '@xiaoke/resilience';
import { deferred, errorOf, turn } from './support.ts';

const fails = async (error: unknown): Promise<string> => {
  throw error;
};

describe('fallback', () => {
  test('the first step that works answers, and later steps see the newest error', async () => {
    const seen: unknown[] = [];
    const policy = fallback<string>(
      (error) => {
        seen.push(error);
        throw new Error('cache down');
      },
      (error) => {
        seen.push((error as Error).message);
        return 'default';
      },
      'never used',
    );
    const down = new Error('down');
    expect(await policy.execute(() => Promise.reject(down))).toBe('default');
    expect(seen).toEqual([down, 'cache down']);
    expect(policy.stats()).toMatchObject({ calls: 1, used: 1, usedStep: [0, 1, 0] });
  });

  test('when every step fails, the last error is thrown', async () => {
    const policy = fallback(() => Promise.reject(new Error('also down')));
    expect(await errorOf(policy.execute(() => Promise.reject(new Error('down'))))).toMatchObject({
      message: 'also down',
    });
    expect(policy.stats().exhausted).toBe(1);
  });

  test('an abort by the caller is not answered', async () => {
    const controller = new AbortController();
    const call = fallback('substitute').execute(() => new Promise(() => {}), { signal: controller.signal });
    controller.abort();
    expect(await errorOf(call)).toBe(controller.signal.reason);
  });

  test('only errors that qualify are answered', async () => {
    const policy = fallbackWhen({ when: (error) => error === 'soft' }, 'substitute');
    expect(await policy.execute(() => fails('soft'))).toBe('substitute');
    expect(await errorOf(policy.execute(() => fails('hard')))).toBe('hard');
  });

  test('it answers for refusals and timeouts of what is inside', async () => {
    const clock = new FakeClock();
    const policy = pipeline(fallback('substitute'), timeout('1s', { clock }));
    const call = policy.execute(() => new Promise<string>(() => {}));
    await clock.advance(1_000);
    expect(await call).toBe('substitute');
  });
});

describe('hedge', () => {
  test('the faster attempt wins, and the signal of the loser fires', async () => {
    const clock = new FakeClock();
    const policy = hedge({ after: '50ms', max: 2, clock });
    const signals: AbortSignal[] = [];
    const gates = [deferred(), deferred(), deferred()];
    const call = policy.execute(({ hedge: number, signal }) => {
      signals[number] = signal;
      return gates[number]?.promise;
    });
    await clock.advance(100);
    expect(signals).toHaveLength(3);
    gates[1]?.resolve('second');
    expect(await call).toBe('second');
    expect(signals.map((signal) => signal.aborted)).toEqual([true, false, true]);
    expect(policy.stats()).toMatchObject({ calls: 1, started: 2, won: 1 });
    expect(clock.timers).toBe(0);
  });

  test('a failure starts the next attempt at once, and the last failure is thrown', async () => {
    const clock = new FakeClock();
    const policy = hedge({ after: '1h', max: 2, clock });
    const error = await errorOf(
      policy.execute(({ hedge: number }) => Promise.reject(new Error(`attempt ${number}`))),
    );
    expect(error).toMatchObject({ message: 'attempt 2' });
    expect(clock.timers).toBe(0);
  });

  test('a call that may not run twice is not hedged', async () => {
    const clock = new FakeClock();
    const policy = hedge({ after: '1ms', clock });
    let runs = 0;
    const gate = deferred();
    const call = policy.execute(() => ((runs += 1), gate.promise), { idempotent: false });
    await clock.advance(1_000);
    gate.resolve('once');
    expect([await call, runs]).toEqual(['once', 1]);
  });

  test('hedges are bounded by a budget for all calls together', async () => {
    const clock = new FakeClock();
    const policy = hedge({ after: '1ms', clock, budget: retryBudget({ ratio: 0.1, minPerSecond: 0 }) });
    for (let call = 0; call < 100; call += 1) {
      const gate = deferred();
      const running = policy.execute(() => gate.promise);
      await clock.advance(2);
      gate.resolve('ok');
      await running;
    }
    // One token to begin with, and a tenth of each call.
    expect(policy.stats().started).toBeGreaterThanOrEqual(9);
    expect(policy.stats().started).toBeLessThanOrEqual(11);
    expect(policy.stats().denied).toBeGreaterThanOrEqual(89);
  });

  test('after a quantile: what is slower than most is hedged', async () => {
    const clock = new FakeClock();
    const policy = hedge({ after: { quantile: 0.9, initial: '10s', minimumCalls: 20 }, clock });
    for (let call = 0; call < 40; call += 1) {
      const running = policy.execute(
        () => new Promise<void>((resolve) => void clock.setTimeout(resolve, 100)),
      );
      await clock.advance(100);
      await running;
    }
    expect(policy.stats().afterMs).toBeGreaterThan(94);
    expect(policy.stats().afterMs).toBeLessThan(106);
  });

  test('an abort ends all attempts at once', async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const signals: AbortSignal[] = [];
    const call = hedge({ after: '10ms', clock }).execute(
      ({ signal }) => (signals.push(signal), new Promise(() => {})),
      { signal: controller.signal },
    );
    await clock.advance(10);
    controller.abort('stop');
    expect(await errorOf(call)).toBe('stop');
    expect(signals.map((signal) => signal.reason)).toEqual(['stop', 'stop']);
    expect(clock.timers).toBe(0);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('inside of a circuit a loser counts for nothing', async () => {
    const clock = new FakeClock();
    const breaker = circuitBreaker({ clock });
    const policy = pipeline(hedge({ after: '10ms', clock }), breaker);
    const call = policy.execute(({ hedge: number }) =>
      number === 0 ? new Promise<string>(() => {}) : 'fast',
    );
    await clock.advance(10);
    expect(await call).toBe('fast');
    expect(breaker.stats()).toMatchObject({ admitted: 2, succeeded: 1, failed: 0, ignored: 1 });
  });
});

describe('collapse', () => {
  test('overlapping calls of one key run once; others run apart', async () => {
    const policy = collapse();
    let runs = 0;
    const gate = deferred();
    const load = (key?: string): Promise<unknown> =>
      policy.execute(() => ((runs += 1), gate.promise), { key });
    const calls = [load('a'), load('a'), load('b'), load(), load()];
    gate.resolve('value');
    expect(await Promise.all(calls)).toEqual(['value', 'value', 'value', 'value', 'value']);
    expect(runs).toBe(4);
    await load('a');
    expect(runs).toBe(5);
    expect(policy.stats()).toMatchObject({ calls: 6, joined: 1, inFlight: 0 });
  });

  test('one that leaves leaves the others alone; the last one out ends the operation', async () => {
    const policy = collapse();
    const controllers = [new AbortController(), new AbortController()];
    let signal: AbortSignal | undefined;
    const calls = controllers.map((controller) =>
      errorOf(
        policy.execute((context) => ((signal = context.signal), new Promise(() => {})), {
          key: 'a',
          signal: controller.signal,
        }),
      ),
    );
    controllers[0]?.abort('first');
    expect(await calls[0]).toBe('first');
    expect(signal?.aborted).toBe(false);
    controllers[1]?.abort('second');
    expect(await calls[1]).toBe('second');
    expect(signal?.reason).toMatchObject({ code: 'ABANDONED' });
    expect(policy.stats().inFlight).toBe(0);
  });

  test('a failure is shared too, and the next call runs anew', async () => {
    const policy = collapse();
    const down = new Error('down');
    const calls = [1, 2].map(() => errorOf(policy.execute(() => Promise.reject(down), { key: 'a' })));
    expect(await Promise.all(calls)).toEqual([down, down]);
    expect(await policy.execute(() => 'up', { key: 'a' })).toBe('up');
  });

  test('beyond maxKeys calls run by themselves', async () => {
    const policy = collapse({ maxKeys: 1 });
    let runs = 0;
    const gate = deferred();
    const calls = ['a', 'b', 'b'].map((key) => policy.execute(() => ((runs += 1), gate.promise), { key }));
    gate.resolve('x');
    await Promise.all(calls);
    expect(runs).toBe(3);
  });
});

describe('partition', () => {
  test('each key has a policy of its own, and the one unused for longest is forgotten', async () => {
    const made: string[] = [];
    const policy = partition(
      (key) => (made.push(key), circuitBreaker({ name: `c-${key}`, minimumCalls: 1 })),
      { max: 2 },
    );
    const call = (key: string, fails = false): Promise<unknown> =>
      policy
        .execute(() => (fails ? Promise.reject(new Error('x')) : 'ok'), { key })
        .catch((error: { code?: string }) => error.code);
    await call('bad', true);
    expect([await call('bad'), await call('good')]).toEqual(['CIRCUIT_OPEN', 'ok']);
    await call('bad');
    await call('new');
    expect(policy.stats()).toMatchObject({ keys: 2, forgotten: 1 });
    expect(Object.keys(policy.stats().policies)).toEqual(['bad', 'new']);
    expect(made).toEqual(['bad', 'good', 'new']);
  });

  test('a timeout inside a partition reaches the operation', async () => {
    const clock = new FakeClock();
    const policy = pipeline(
      retry({ attempts: 1, clock }),
      partition(() => timeout('1s', { clock })),
    );
    let signal: AbortSignal | undefined;
    const call = errorOf(
      policy.execute((context) => ((signal = context.signal), new Promise(() => {})), { key: 'a' }),
    );
    await clock.advance(1_000);
    expect(await call).toMatchObject({ code: 'TIMEOUT' });
    expect(signal?.aborted).toBe(true);
  });
});

describe('fault injection', () => {
  test('it fails, delays and answers calls at the rates given, only while enabled', async () => {
    const clock = new FakeClock();
    let enabled = false;
    const values = [0.05, 0.5, 0.9];
    let index = 0;
    const policy = faultInjection({
      enabled: () => enabled,
      error: { rate: 0.1 },
      result: { rate: 0.6, make: () => 'injected' },
      latency: { rate: 0, delay: '1s' },
      random: () => values[index++ % values.length] ?? 0,
      clock,
    });
    expect(await policy.execute(() => 'real')).toBe('real');
    enabled = true;
    expect(await errorOf(policy.execute(() => 'real'))).toMatchObject({ message: 'A fault was injected' });
    index = 1;
    expect(await policy.execute(() => 'real')).toBe('real');
    index = 2;
    expect(await policy.execute(() => 'real')).toBe('injected');
    expect(policy.stats()).toEqual({
      kind: 'faultInjection',
      name: policy.name,
      calls: 4,
      delayed: 0,
      failed: 1,
      answered: 1,
    });
  });

  test('an injected delay ends with the call', async () => {
    const clock = new FakeClock();
    const policy = pipeline(
      timeout('1s', { clock }),
      faultInjection({ latency: { rate: 1, delay: '1h' }, clock }),
    );
    const call = errorOf(policy.execute(() => 'x'));
    await clock.advance(1_000);
    expect(await call).toMatchObject({ code: 'TIMEOUT' });
    expect(clock.timers).toBe(0);
  });
});

describe('pipeline', () => {
  test('policies nest as written: a retry outside sees each attempt, one inside sees none of the others', async () => {
    const inner = circuitBreaker({ minimumCalls: 100 });
    const outer = circuitBreaker({ minimumCalls: 100 });
    const policy = pipeline(outer, retry({ attempts: 3, baseDelay: 0 }), inner);
    await policy.execute(() => Promise.reject(new Error('down'))).catch(() => {});
    expect([outer.stats().failed, inner.stats().failed]).toEqual([1, 3]);
  });

  test('a pipeline in a pipeline works and counts for itself', async () => {
    const inner = pipeline(
      { name: 'inner' },
      retry({ attempts: 2, baseDelay: 0 }),
      bulkhead({ concurrency: 1 }),
    );
    const outer = pipeline({ name: 'outer' }, fallback('substitute'), inner);
    expect(await outer.execute(() => Promise.reject(new Error('down')))).toBe('substitute');
    expect(inner.stats()).toMatchObject({ calls: 1, failed: 1 });
    expect(outer.stats()).toMatchObject({ calls: 1, succeeded: 1 });
  });

  test('a policy made elsewhere fits, and giving up reaches through it', async () => {
    const clock = new FakeClock();
    const seen: string[] = [];
    const foreign = {
      kind: 'pipeline',
      name: 'foreign',
      execute: async (operation: (context: never) => unknown, options?: { signal?: AbortSignal }) => {
        seen.push('before');
        try {
          return await operation({
            signal: options?.signal ?? new AbortController().signal,
            attempt: 1,
          } as never);
        } finally {
          seen.push('after');
        }
      },
    } as unknown as Policy;
    const policy = pipeline(timeout('1s', { clock }), foreign, retry({ attempts: 2, baseDelay: 0, clock }));
    const second = policy.execute(({ attempt }) => (attempt === 1 ? Promise.reject(new Error('x')) : 'ok'));
    await clock.advance(0);
    expect(await second).toBe('ok');
    let signal: AbortSignal | undefined;
    const call = errorOf(policy.execute((context) => ((signal = context.signal), new Promise(() => {}))));
    await clock.advance(1_000);
    expect(await call).toMatchObject({ code: 'TIMEOUT' });
    expect(signal?.aborted).toBe(true);
    await turn();
    expect(seen).toEqual(['before', 'after', 'before', 'after']);
  });

  test('values travel with a call, through all attempts', async () => {
    const tries = contextKey<number>('tries');
    const policy = pipeline(retry({ attempts: 3, baseDelay: 0 }), bulkhead({ concurrency: 1 }));
    const result = await policy.execute(
      ({ get, set }) => {
        set(tries, (get(tries) ?? 0) + 1);
        if ((get(tries) ?? 0) < 12) throw new Error('again');
        return get(tries);
      },
      { values: [[tries, 9]] },
    );
    expect(result).toBe(12);
  });

  test('a wrapped function keeps its this, its arguments and takes the signal among them', async () => {
    const policy = retry({ attempts: 2, baseDelay: 0 });
    const service = {
      base: 40,
      add: policy.wrap(async function (this: { base: number }, a: number, b: number) {
        return this.base + a + b;
      }),
    };
    expect(await service.add(1, 1)).toBe(42);
    const controller = new AbortController();
    const hang = policy.wrap((_options: { signal: AbortSignal }) => new Promise(() => {}));
    const call = hang({ signal: controller.signal });
    controller.abort('stop');
    expect(await errorOf(call)).toBe('stop');
  });

  test('every policy counts a refusal by its code', async () => {
    const policy = pipeline(rateLimit({ limit: 1, per: '1h' }), bulkhead({ concurrency: 1 }));
    await policy.execute(() => 'ok');
    await errorOf(policy.execute(() => 'x'));
    expect(policy.stats()).toMatchObject({
      calls: 2,
      succeeded: 1,
      rejected: 1,
      rejectedBy: { RATE_LIMITED: 1 },
    });
  });

  test.each([
    ['bulkhead-outside-retry', () => [bulkhead({ concurrency: 1 }), retry(), timeout('1s')]],
    ['breaker-outside-retry', () => [circuitBreaker(), retry(), timeout('1s')]],
    ['two-retries', () => [retry(), retry(), timeout('1s')]],
    ['hedge-outside-retry', () => [hedge({ after: 10 }), retry(), timeout('1s')]],
    ['collapse-inside-retry', () => [retry(), collapse(), timeout('1s')]],
    ['limit-outside-fallback', () => [timeout('1s'), fallback(1)]],
    ['attempt-timeout-too-long', () => [timeout('1s'), retry(), timeout('2s')]],
    ['no-timeout', () => [retry(), bulkhead({ concurrency: 1 })]],
  ] as const)('the order %s is warned about', (rule, policies) => {
    expect(pipeline(...policies()).warnings.map((warning) => warning.rule)).toContain(rule);
  });

  test('the recommended order has no warning', () => {
    const policies = [
      fallback(1),
      collapse(),
      timeout('9s'),
      rateLimit({ limit: 1 }),
      retry(),
      hedge({ after: 10 }),
      circuitBreaker(),
      bulkhead({ concurrency: 1 }),
      timeout('1s'),
    ];
    expect(pipeline(...policies).warnings).toEqual([]);
  });

  test('an empty pipeline, something that is no policy, and different clocks are refused', () => {
    expect(() => pipeline()).toThrow(expect.objectContaining({ details: { option: 'policies' } }));
    expect(() => pipeline({ name: 'x' })).toThrow(
      expect.objectContaining({ details: { option: 'policies' } }),
    );
    expect(() => pipeline(retry(), 3 as never)).toThrow(
      expect.objectContaining({ details: { option: 'policies[1]' } }),
    );
    expect(() => pipeline(retry({ clock: new FakeClock() }), timeout('1s'))).toThrow(
      expect.objectContaining({ details: { option: 'clock' } }),
    );
  });

  test('what is no function is refused before anything happens', async () => {
    const policy = rateLimit({ limit: 1, per: '1h' });
    expect(await errorOf(policy.execute(5 as never))).toMatchObject({ code: 'INVALID_OPTION' });
    expect(policy.stats().admitted).toBe(0);
    expect(() => policy.wrap(5 as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });
});
