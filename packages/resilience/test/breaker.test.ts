import { InvalidOptionError, NonRetryableError } from '@xiaoke/core';
import { FakeClock } from '@xiaoke/core/testing';
import { describe, expect, test } from 'vitest';
import {
  bulkhead,
  circuitBreaker,
  pipeline,
  timeout,
  type CircuitBreakerOptions,
  type CircuitBreakerPolicy,
} from '@xiaoke/resilience';

function make(options: CircuitBreakerOptions = {}): { clock: FakeClock; breaker: CircuitBreakerPolicy } {
  const clock = new FakeClock();
  return { clock, breaker: circuitBreaker({ minimumCalls: 4, openFor: '5s', clock, ...options }) };
}
const fail = (breaker: CircuitBreakerPolicy, error: unknown = new Error('down')): Promise<unknown> =>
  breaker.execute(() => Promise.reject(error)).catch((caught: unknown) => caught);
const succeed = (breaker: CircuitBreakerPolicy): Promise<unknown> =>
  breaker.execute(() => 'ok').catch((caught: { code: string }) => caught.code);
async function trip(breaker: CircuitBreakerPolicy): Promise<void> {
  for (let call = 0; call < 4; call += 1) await fail(breaker);
  expect(breaker.state).toBe('open');
}

function deferred(): {
  promise: Promise<string>;
  resolve: (value: string) => void;
  reject: (error: unknown) => void;
} {
  let resolve: (value: string) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<string>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

describe('opening', () => {
  test('the rate counts from minimumCalls on, and reached is enough', async () => {
    const { breaker } = make();
    await succeed(breaker);
    await succeed(breaker);
    await fail(breaker);
    expect(breaker.state).toBe('closed');
    await fail(breaker);
    expect(breaker.state).toBe('open');
  });

  test('calls older than the window do not count', async () => {
    const { breaker, clock } = make({ window: '10s' });
    for (let call = 0; call < 3; call += 1) await fail(breaker);
    await clock.advance(11_000);
    await fail(breaker);
    expect(breaker.state).toBe('closed');
    expect(breaker.stats().window.calls).toBe(1);
  });

  test('a count window judges the last calls only', async () => {
    const { breaker } = make({ window: { calls: 4 }, failureRate: 0.75 });
    for (let call = 0; call < 10; call += 1) await succeed(breaker);
    await fail(breaker);
    await fail(breaker);
    expect(breaker.state).toBe('closed');
    await fail(breaker);
    expect(breaker.state).toBe('open');
  });

  test('failures in a row open it whatever the rate', async () => {
    const { breaker } = make({ consecutiveFailures: 3, minimumCalls: 1_000 });
    for (const outcome of [fail, fail, succeed, fail, fail]) await outcome(breaker);
    expect(breaker.state).toBe('closed');
    await fail(breaker);
    expect(breaker.stats().transitions.at(-1)?.reason).toBe('consecutive-failures');
  });

  test('slow calls open it although they succeed', async () => {
    const { breaker, clock } = make({ slowCall: { after: '1s', rate: 0.5 } });
    for (let call = 0; call < 4; call += 1) {
      const slow = deferred();
      const running = breaker.execute(() => slow.promise);
      await clock.advance(1_000);
      slow.resolve('late');
      await running;
    }
    expect(breaker.stats()).toMatchObject({ state: 'open', slow: 4, failed: 0 });
    expect(breaker.stats().transitions.at(-1)?.reason).toBe('slow-calls');
  });

  test('aborts of the caller, refusals further in, throttles and ignored errors count for nothing', async () => {
    const { breaker, clock } = make({ ignoreIf: (error) => error instanceof NonRetryableError });
    const places = bulkhead({ concurrency: 1, clock });
    const policy = pipeline(breaker, places);
    const controller = new AbortController();
    const hanging = policy
      .execute(() => new Promise(() => {}), { signal: controller.signal })
      .catch(() => 'aborted');
    for (let call = 0; call < 10; call += 1)
      await expect(policy.execute(() => 'x')).rejects.toMatchObject({ code: 'BULKHEAD_FULL' });
    controller.abort();
    expect(await hanging).toBe('aborted');
    for (let call = 0; call < 10; call += 1) await fail(breaker, new NonRetryableError('bad request'));
    for (let call = 0; call < 10; call += 1) await fail(breaker, { status: 429 });
    for (let call = 0; call < 10; call += 1)
      await fail(breaker, { status: 503, headers: { 'retry-after': '1' } });
    expect(breaker.stats()).toMatchObject({ state: 'closed', failed: 0, ignored: 41, window: { calls: 0 } });
  });

  test('a timeout inside counts as a failure', async () => {
    const { breaker, clock } = make();
    const policy = pipeline(breaker, timeout('1s', { clock }));
    for (let call = 0; call < 4; call += 1) {
      const running = policy.execute(() => new Promise(() => {})).catch(() => {});
      await clock.advance(1_000);
      await running;
    }
    expect(breaker.state).toBe('open');
  });

  test('a result can be a failure, and an error a success', async () => {
    const { breaker } = make({
      failureIfResult: (result) => result === 'bad',
      failureIf: (error) => error !== 'fine',
    });
    for (let call = 0; call < 8; call += 1) await fail(breaker, 'fine');
    expect(breaker.stats()).toMatchObject({ state: 'closed', succeeded: 8 });
    for (let call = 0; call < 8; call += 1) await breaker.execute(() => 'bad').catch(() => {});
    expect(breaker.state).toBe('open');
  });
});

describe('half-open', () => {
  test('so many probes are let through at once, and others are refused with a time', async () => {
    const { breaker, clock } = make({ halfOpenCalls: 2 });
    await trip(breaker);
    expect(await fail(breaker)).toMatchObject({
      code: 'CIRCUIT_OPEN',
      retryAfterMs: 5_000,
      policy: breaker.name,
    });
    await clock.advance(5_000);
    expect(breaker.state).toBe('half-open');
    const [first, second] = [deferred(), deferred()];
    const running = [breaker.execute(() => first.promise), breaker.execute(() => second.promise)];
    expect(await fail(breaker)).toMatchObject({ code: 'CIRCUIT_OPEN' });
    first.resolve('a');
    second.resolve('b');
    expect(await Promise.all(running)).toEqual(['a', 'b']);
    expect(breaker.state).toBe('closed');
  });

  test('one hung probe cannot keep it half-open', async () => {
    const { breaker, clock } = make({ halfOpenCalls: 1, halfOpenTimeout: '10s' });
    await trip(breaker);
    await clock.advance(5_000);
    void breaker.execute(() => new Promise(() => {}));
    expect(await succeed(breaker)).toBe('CIRCUIT_OPEN');
    await clock.advance(10_000);
    expect(await succeed(breaker)).toBe('CIRCUIT_OPEN');
    expect(breaker.stats().transitions.at(-1)).toMatchObject({ to: 'open', reason: 'no-verdict' });
    await clock.advance(5_000);
    expect(await succeed(breaker)).toBe('ok');
    expect(breaker.state).toBe('closed');
  });

  test('a probe that is aborted gives its place to another', async () => {
    const { breaker, clock } = make({ halfOpenCalls: 1 });
    await trip(breaker);
    await clock.advance(5_000);
    const controller = new AbortController();
    const probe = breaker.execute(() => new Promise(() => {}), { signal: controller.signal });
    controller.abort();
    await expect(probe).rejects.toBe(controller.signal.reason);
    expect(await succeed(breaker)).toBe('ok');
    expect(breaker.state).toBe('closed');
  });

  test('results of calls admitted before the opening change nothing', async () => {
    const { breaker, clock } = make({ halfOpenCalls: 1 });
    const [good, bad] = [deferred(), deferred()];
    const early = [
      breaker.execute(() => good.promise),
      breaker.execute(() => bad.promise).catch(() => 'failed'),
    ];
    await trip(breaker);
    await clock.advance(5_000);
    expect(breaker.state).toBe('half-open');
    good.resolve('late success');
    bad.reject(new Error('late failure'));
    await Promise.all(early);
    expect(breaker.stats()).toMatchObject({ state: 'half-open', stale: 2 });
  });

  test('after closing, old failures are forgotten', async () => {
    const { breaker, clock } = make({ halfOpenCalls: 1 });
    await trip(breaker);
    await clock.advance(5_000);
    await succeed(breaker);
    await fail(breaker);
    expect(breaker.state).toBe('closed');
  });

  test('the open time grows while probes fail, and begins anew after a recovery', async () => {
    const { breaker, clock } = make({
      halfOpenCalls: 1,
      openFor: { initial: '1s', factor: 2, max: '4s', jitter: 0 },
    });
    const waits: number[] = [];
    await trip(breaker);
    for (let round = 0; round < 4; round += 1) {
      const refused = (await fail(breaker)) as { retryAfterMs: number };
      waits.push(refused.retryAfterMs);
      await clock.advance(refused.retryAfterMs);
      await fail(breaker);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 4_000]);
    await clock.advance(4_000);
    await succeed(breaker);
    await trip(breaker);
    expect(await fail(breaker)).toMatchObject({ retryAfterMs: 1_000 });
  });
});

describe('by hand', () => {
  test('isolation lasts until every handle is disposed of, and has no probes', async () => {
    const { breaker, clock } = make();
    const handles = [breaker.isolate(), breaker.isolate()];
    await clock.advance(3_600_000);
    expect(await fail(breaker)).toMatchObject({ code: 'CIRCUIT_ISOLATED', retryAfterMs: undefined });
    handles[0]?.[Symbol.dispose]();
    handles[0]?.[Symbol.dispose]();
    expect(breaker.state).toBe('isolated');
    handles[1]?.[Symbol.dispose]();
    expect(await succeed(breaker)).toBe('ok');
  });

  test('open() and close() work and are recorded', async () => {
    const { breaker } = make();
    const seen: string[] = [];
    breaker
      .on('open', ({ reason }) => seen.push(`open:${reason}`))
      .on('close', ({ reason }) => seen.push(`close:${reason}`));
    breaker.open();
    breaker.open();
    expect(await succeed(breaker)).toBe('CIRCUIT_OPEN');
    breaker.close();
    expect(await succeed(breaker)).toBe('ok');
    expect(seen).toEqual(['open:manual', 'close:manual']);
  });

  test('observing refuses nothing and says what it would have refused', async () => {
    const { breaker } = make({ mode: 'observe' });
    await trip(breaker);
    expect(await succeed(breaker)).toBe('ok');
    expect(breaker.stats()).toMatchObject({ wouldHaveRejected: 1, rejected: 0 });
  });

  test('a disabled circuit counts nothing', async () => {
    const { breaker } = make({ mode: 'disabled' });
    for (let call = 0; call < 20; call += 1) await fail(breaker);
    expect(breaker.stats()).toMatchObject({ state: 'closed', admitted: 0 });
  });

  test('it is reconfigured in place: an open circuit stays open, new calls are judged by the new options', async () => {
    const { breaker, clock } = make({ halfOpenCalls: 1 });
    await trip(breaker);
    breaker.configure({ minimumCalls: 2, openFor: '1s', clock });
    expect(breaker.state).toBe('open');
    await clock.advance(5_000);
    for (let call = 0; call < 3; call += 1) await succeed(breaker);
    expect(breaker.state).toBe('closed');
    await fail(breaker);
    await fail(breaker);
    expect(breaker.state).toBe('open');
    expect(() => breaker.configure({ failureRate: 2 })).toThrow(InvalidOptionError);
    expect(breaker.stats().minimumCalls).toBe(2);
  });

  test('the time in each state is told', async () => {
    const { breaker, clock } = make({ halfOpenCalls: 1 });
    await clock.advance(1_000);
    await trip(breaker);
    await clock.advance(6_000);
    await succeed(breaker);
    await clock.advance(500);
    expect(breaker.stats().timeInStateMs).toEqual({
      closed: 1_500,
      open: 6_000,
      'half-open': 0,
      isolated: 0,
    });
  });
});

test.each([
  [{ failureRate: 0 }, 'failureRate'],
  [{ failureRate: 50 }, 'failureRate'],
  [{ minimumCalls: 0 }, 'minimumCalls'],
  [{ window: 'long' }, 'window'],
  [{ window: { calls: 3 }, minimumCalls: 4 }, 'window.calls'],
  [{ slowCall: { after: '1s', rate: 0 } }, 'slowCall.rate'],
  [{ openFor: 0 }, 'openFor'],
  [{ openFor: { initial: '5s', max: '1s' } }, 'openFor.max'],
  [{ halfOpenCalls: 0 }, 'halfOpenCalls'],
  [{ halfOpenTimeout: 0 }, 'halfOpenTimeout'],
  [{ mode: 'off' as 'disabled' }, 'mode'],
  [{ name: '' }, 'name'],
  [{ treshold: 3 } as CircuitBreakerOptions, 'treshold'],
])('%o is refused at construction', (options, option) => {
  expect(() => circuitBreaker(options)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', details: { option } }),
  );
});
