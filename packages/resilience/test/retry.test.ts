import { NonRetryableError, RetryLaterError } from '@xiaoke/core';
import { FakeClock, trackLeaks } from '@xiaoke/core/testing';
import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { AbortError as PRetryAbortError } from 'p-retry';
import {
  attemptInfo,
  bulkhead,
  circuitBreaker,
  pipeline,
  retry,
  timeout,
  type Policy,
  type RetryOptions,
} from '@xiaoke/resilience';

const fast: RetryOptions = { baseDelay: 1, maxDelay: 1, jitter: 'none' };

function failing(times: number, ...errors: readonly unknown[]) {
  const error = errors.length === 0 ? new Error('down') : errors[0];
  const seen: number[] = [];
  const operation = ({ attempt }: { attempt: number }): Promise<string> => {
    seen.push(attempt);
    return seen.length <= times ? Promise.reject(error) : Promise.resolve('ok');
  };
  return { operation, seen };
}

/** How many attempts beyond the first `count` calls in a row make. */
async function retriesOf(
  policy: Policy<unknown>,
  clock: FakeClock,
  count: number,
  operation: () => unknown,
): Promise<number> {
  let attempts = 0;
  for (let call = 0; call < count; call += 1) {
    const running = policy.execute(() => ((attempts += 1), operation())).catch(() => {});
    await clock.advance(0);
    await running;
  }
  return attempts - count;
}

describe('what is retried', () => {
  test('a call that succeeds at once runs once', async () => {
    const { operation, seen } = failing(0);
    expect(await retry(fast).execute(operation)).toBe('ok');
    expect(seen).toEqual([1]);
  });

  test('attempts are counted from 1 and end at the limit', async () => {
    const { operation, seen } = failing(9);
    await expect(retry({ ...fast, attempts: 4 }).execute(operation)).rejects.toThrow('down');
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  test.each([
    ['a string', 'broken'],
    ['a plain object', { code: 503 }],
    ['undefined', undefined],
    ['null', null],
    ['an error of another realm', Object.assign(Object.create(null), { message: 'odd' })],
  ])('%s is thrown by identity and retried like an error', async (_, thrown) => {
    const { operation, seen } = failing(9, thrown);
    const caught = await retry(fast)
      .execute(operation)
      .then(
        () => expect.unreachable(),
        (error: unknown) => error,
      );
    expect(caught).toBe(thrown);
    expect(seen).toHaveLength(3);
  });

  test('a TypeError is retried when retryIf says so, which p-retry alone refuses', async () => {
    const { operation, seen } = failing(2, new TypeError('boom'));
    expect(await retry({ ...fast, retryIf: () => true }).execute(operation)).toBe('ok');
    expect(seen).toHaveLength(3);
  });

  test.each([
    ['NonRetryableError', new NonRetryableError('no')],
    ['an error that says retryable: false', Object.assign(new Error('no'), { retryable: false })],
    ['a cause that says so', new Error('outer', { cause: new NonRetryableError('no') })],
    ['a mistake of the program', new TypeError('x is not a function')],
    ["p-retry's AbortError", new PRetryAbortError('stop')],
    ['an abort of something else', new DOMException('aborted', 'AbortError')],
  ])('%s is not retried', async (_, error) => {
    const { operation, seen } = failing(9, error);
    await expect(retry(fast).execute(operation)).rejects.toBe(error);
    expect(seen).toHaveLength(1);
    expect(attemptInfo(error)).toMatchObject({ attempts: 1, reason: 'not-retryable' });
  });

  test('a failed fetch is retried although it is a TypeError', async () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const { operation, seen } = failing(9, new TypeError('fetch failed', { cause }));
    await expect(retry(fast).execute(operation)).rejects.toThrow('fetch failed');
    expect(seen).toHaveLength(3);
  });

  test('a refusal of an open circuit is not retried, so an outage makes no extra load', async () => {
    const breaker = circuitBreaker();
    breaker.open();
    const policy = pipeline(retry(fast), breaker);
    await expect(policy.execute(() => 'never')).rejects.toMatchObject({ code: 'CIRCUIT_OPEN' });
    expect(breaker.stats().rejected).toBe(1);
  });

  test('a result can be retried, and the last one is returned when attempts run out', async () => {
    const disposed: unknown[] = [];
    const options = {
      ...fast,
      retryIfResult: (result: unknown) => result !== 3,
      disposeResult: (result: unknown) => disposed.push(result),
    };
    let result = 0;
    expect(await retry(options).execute(() => (result += 1))).toBe(3);
    expect(disposed).toEqual([1, 2]);
    result = 10;
    expect(await retry(options).execute(() => (result += 1))).toBe(13);
  });

  test('a predicate that throws ends the retries with the error of the operation', async () => {
    const { operation, seen } = failing(9);
    const retryIf = (): boolean => {
      throw new Error('predicate');
    };
    await expect(retry({ ...fast, retryIf }).execute(operation)).rejects.toThrow('down');
    expect(seen).toHaveLength(1);
  });

  test('RetryLaterError waits as long as it says and does not count as an attempt', async () => {
    const clock = new FakeClock();
    let runs = 0;
    const call = retry({ ...fast, attempts: 1, clock, random: () => 0 }).execute(() => {
      runs += 1;
      if (runs < 4) throw new RetryLaterError('2s');
      return runs;
    });
    await clock.advance(5_999);
    expect(runs).toBe(3);
    await clock.advance(1);
    expect(await call).toBe(4);
  });
});

describe('limits', () => {
  test('no attempt starts after maxElapsed, and a wait that would end later is not begun', async () => {
    const clock = new FakeClock();
    const { operation, seen } = failing(99);
    const call = retry({
      attempts: Infinity,
      baseDelay: 400,
      strategy: 'constant',
      jitter: 'none',
      maxElapsed: '1s',
      clock,
    })
      .execute(operation)
      .catch((error: unknown) => attemptInfo(error));
    await clock.advance(800);
    expect(await call).toMatchObject({
      attempts: 3,
      reason: 'elapsed',
      elapsedMs: 800,
      delaysMs: [400, 400],
    });
    expect(seen).toHaveLength(3);
    expect(clock.timers).toBe(0);
  });

  test('inside a total timeout, a wait that would outlast it is not begun', async () => {
    const clock = new FakeClock();
    const policy = pipeline(
      timeout('1s', { clock }),
      retry({ ...fast, baseDelay: 800, maxDelay: 800, clock }),
    );
    const call = policy.execute(() => Promise.reject(new Error('down'))).catch((error: unknown) => error);
    await clock.advance(800);
    const error = await call;
    expect(error).toMatchObject({ message: 'down' });
    expect(attemptInfo(error)).toMatchObject({ attempts: 2, reason: 'deadline' });
  });

  test.each([20, 100, 1_000, 5_000])(
    'by default a fifth of the calls and a small reserve may be retried: %d calls that all fail',
    async (count) => {
      const clock = new FakeClock();
      const policy = retry({ baseDelay: 0, clock });
      expect(await retriesOf(policy, clock, count, () => Promise.reject(new Error('down')))).toBe(
        Math.min(2 * count, 10 + Math.floor((count - 1) / 5)),
      );
      expect(policy.stats().amplification).toBeLessThanOrEqual(1.2 + 10 / count);
    },
  );

  test('the reserve fills by itself, a second of it at most; calls save up ten seconds of it at most', async () => {
    const clock = new FakeClock();
    const policy = retry({ baseDelay: 0, clock, budget: { ratio: 0 } });
    const down = (): Promise<never> => Promise.reject(new Error('down'));
    expect(await retriesOf(policy, clock, 50, down)).toBe(10);
    await clock.advance(300);
    expect(await retriesOf(policy, clock, 50, down)).toBe(3);
    await clock.advance(60_000);
    expect(await retriesOf(policy, clock, 50, down)).toBe(10);
    const saving = retry({ baseDelay: 0, clock });
    await retriesOf(saving, clock, 5_000, () => 'ok');
    expect(await retriesOf(saving, clock, 1, down)).toBe(2);
    expect(saving.stats().budgetBalance).toBe(108);
  });

  test('calls that time out, or are refused, earn no retries: an overloaded dependency gets less, not more', async () => {
    const clock = new FakeClock();
    const timedOut = retry({ baseDelay: 0, clock });
    const late = Object.assign(new Error('late'), { name: 'TimeoutError' });
    expect(await retriesOf(timedOut, clock, 1_000, () => Promise.reject(late))).toBe(10);
    const breaker = circuitBreaker({ clock });
    breaker.open();
    const refusing = retry({ baseDelay: 0, clock });
    await retriesOf(pipeline(refusing, breaker), clock, 1_000, () => 'never');
    expect(refusing.stats().budgetBalance).toBe(10);
  });

  test.each([
    [{ attempts: 0 }, 'attempts'],
    [{ attempts: 1.5 }, 'attempts'],
    [{ baseDelay: -1 }, 'baseDelay'],
    [{ baseDelay: 'soon' }, 'baseDelay'],
    [{ maxDelay: Infinity }, 'maxDelay'],
    [{ strategy: 'quadratic' as 'linear' }, 'strategy'],
    [{ jitter: 'some' as 'full' }, 'jitter'],
    [{ jitter: { proportional: 2 } }, 'jitter.proportional'],
    [{ factor: 0.5 }, 'factor'],
    [{ maxElapsed: 'never' }, 'maxElapsed'],
    [{ budget: { ratio: 2 } }, 'budget.ratio'],
    [{ budget: 5 as unknown as false }, 'budget'],
    [{ nested: 'maybe' as 'allow' }, 'nested'],
    [{ retryIf: 3 as never }, 'retryIf'],
    [{ tries: 3 } as RetryOptions, 'tries'],
  ])('%o is refused at construction', (options, option) => {
    expect(() => retry(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option } }),
    );
  });
});

describe('aborts', () => {
  test('an abort before the call runs nothing', async () => {
    const { operation, seen } = failing(0);
    const reason = new Error('changed my mind');
    await expect(retry(fast).execute(operation, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(seen).toEqual([]);
  });

  test('an abort during a wait rejects at once with its reason and leaves no timer or listener', async () => {
    const check = trackLeaks();
    const controller = new AbortController();
    const { operation, seen } = failing(99);
    const call = retry({ baseDelay: '60s', maxDelay: '60s', jitter: 'none' }).execute(operation, {
      signal: controller.signal,
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toEqual([1]);
    const reason = { why: 'not needed' };
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(seen).toEqual([1]);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    await check();
  });

  test('an abort during an attempt rejects at once, also when the operation ignores its signal', async () => {
    const controller = new AbortController();
    const policy = retry(fast);
    const call = policy.execute(() => new Promise(() => {}), { signal: controller.signal });
    controller.abort();
    await expect(call).rejects.toBe(controller.signal.reason);
    expect(policy.stats()).toMatchObject({ aborted: 1, exhausted: 0, attempts: 1 });
  });
});

describe('what can be read afterwards', () => {
  test('attemptInfo tells the story of an error', async () => {
    const errors = [new Error('one'), new Error('two'), new Error('three')];
    const last = await retry(fast)
      .execute(({ attempt }) => Promise.reject(errors[attempt - 1] ?? new Error('more')))
      .catch((error: unknown) => error);
    expect(last).toBe(errors[2]);
    expect(attemptInfo(last)).toMatchObject({ attempts: 3, reason: 'attempts', errors, delaysMs: [1, 1] });
  });

  test('the statistics tell what retrying brought and cost', async () => {
    const policy = retry(fast);
    await policy.execute(failing(0).operation);
    await policy.execute(failing(1).operation);
    await policy.execute(failing(2).operation);
    await policy.execute(failing(9).operation).catch(() => {});
    expect(policy.stats()).toMatchObject({
      calls: 4,
      attempts: 9,
      amplification: 2.25,
      firstTry: 1,
      recovered: 2,
      exhausted: 1,
      attemptHistogram: [1, 1, 2],
      successAfter: [1, 1, 1],
      wastedRetries: 2,
      delayMs: 5,
    });
  });

  test('a retry event comes before each wait, and a listener that throws changes nothing', async () => {
    const events: number[] = [];
    const policy = retry(fast).on('retry', ({ attempt, delayMs }) => {
      events.push(attempt, delayMs);
      throw new Error('listener');
    });
    expect(await policy.execute(failing(2).operation)).toBe('ok');
    expect(events).toEqual([1, 1, 2, 1]);
  });

  test('a bulkhead inside a retry is free while the retry waits', async () => {
    const places = bulkhead({ concurrency: 1 });
    const policy = pipeline(retry(fast), places);
    expect(await policy.execute(failing(2).operation)).toBe('ok');
    expect(places.stats()).toMatchObject({ active: 0, admitted: 3 });
  });
});
