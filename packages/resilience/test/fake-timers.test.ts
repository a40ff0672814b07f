import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { bulkhead, circuitBreaker, hedge, pipeline, rateLimit, retry, timeout } from '@xiaoke/resilience';
import { errorOf } from './support.ts';

// Code that is tested with the fake timers of a test runner needs no clock in its policies.
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());
const down = (): Promise<never> => Promise.reject(new Error('down'));

test('the fake timers of a test runner drive every policy', async () => {
  let runs = 0;
  const retried = errorOf(
    retry({ attempts: 3, baseDelay: '1h', maxDelay: '9h', jitter: 'none' }).execute(
      () => ((runs += 1), down()),
    ),
  );
  await vi.advanceTimersByTimeAsync(3 * 3_600_000);
  expect(await retried).toMatchObject({ message: 'down' });
  expect(runs).toBe(3);

  const timed = errorOf(
    pipeline(timeout('1h'), bulkhead({ concurrency: 1 })).execute(() => new Promise(() => {})),
  );
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(await timed).toMatchObject({ code: 'TIMEOUT' });

  const breaker = circuitBreaker({ minimumCalls: 1, openFor: '1h' });
  await errorOf(breaker.execute(down));
  expect(breaker.state).toBe('open');
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(breaker.state).toBe('half-open');

  const hedged = hedge({ after: '1h' }).execute(({ hedge: number }) =>
    number === 1 ? 'second' : new Promise<string>(() => {}),
  );
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(await hedged).toBe('second');

  const limited = rateLimit({ limit: 1, per: '1h', maxWait: '2h' });
  await limited.execute(() => 'now');
  const later = limited.execute(() => 'later');
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(await later).toBe('later');
  expect(vi.getTimerCount()).toBe(0);
});
