import { InvalidOptionError } from '@xiaoke/core';
import { describe, expect, test } from 'vitest';
import {
  bulkhead,
  circuitBreaker,
  createResilienceManager,
  databasePolicy,
  fallback,
  fromOpossum,
  hedge,
  httpPolicy,
  partition,
  pipeline,
  protectedBy,
  rateLimit,
  retry,
  timeout,
} from '@xiaoke/resilience';
import { errorOf } from './support.ts';

const manager = createResilienceManager();
// What a caller without types, or a configuration file, may hand in.
const wrong = (value: unknown): never => value as never;

describe('a bad option is refused by its path where it is given', () => {
  test.each<[string, () => unknown]>([
    ['options', () => retry(wrong(3))],
    ['options', () => bulkhead(wrong(undefined))],
    ['attempts', () => retry({ attempts: 0 })],
    ['jitter', () => retry({ jitter: wrong('some') })],
    ['jitter.proportional', () => retry({ jitter: 1.5 })],
    ['retryAfter.max', () => retry({ retryAfter: { max: 'soon' } })],
    ['retryAfter', () => retry({ retryAfter: 'soon' })],
    ['budget', () => retry({ budget: wrong(null) })],
    ['onRetry', () => retry({ onRetry: wrong('log') })],
    ['retires', () => retry(wrong({ retires: 3 }))],
    ['slowCall.after', () => circuitBreaker({ slowCall: 'slowly' })],
    ['slowCall.rate', () => circuitBreaker({ slowCall: { after: 5, rate: 2 } })],
    ['window.calls', () => circuitBreaker({ minimumCalls: 20, window: { calls: 10 } })],
    ['duration', () => timeout(0)],
    ['limit', () => rateLimit({ limit: 0 })],
    ['max', () => hedge({ after: 5, max: 0 })],
    ['steps', () => Reflect.apply(fallback, undefined, [])],
    ['make', () => partition(wrong(undefined))],
    ['breaker', () => fromOpossum(wrong({ fire: 1 }))],
    ['policies[1]', () => pipeline(retry(), wrong(1))],
    ['name', () => protectedBy('')],
    ['retry.attempts', () => manager.policy('a', { retry: { attempts: 0 } })],
    ['retry', () => manager.policy('a', { retry: wrong(true) })],
    ['circuitBreaker.failureRate', () => manager.policy('a', { circuitBreaker: { failureRate: 50 } })],
    ['timeout', () => manager.policy('a', { timeout: 'soon' })],
    ['rateLimit.per', () => manager.policy('a', { rateLimit: { limit: 1, per: 'day' } })],
    ['hedge.after', () => manager.policy('a', { hedge: { after: 'late' } })],
    ['fallback', () => manager.policy('a', wrong({ fallback: 1 }))],
    [
      'policies.api.bulkhead.queue',
      () => createResilienceManager({ policies: { api: { bulkhead: { concurrency: 1, queue: -1 } } } }),
    ],
    ['retry.attempts', () => httpPolicy({ retry: { attempts: 0 } })],
    ['totalTimeout', () => httpPolicy({ totalTimeout: 0 })],
    ['circuitBreaker.window', () => databasePolicy({ dialect: 'mysql', circuitBreaker: { window: 'x' } })],
    ['timeout', () => databasePolicy({ dialect: 'mysql', timeout: 'x' })],
  ])('%s', (option, make) => {
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION', details: { option } }));
  });

  test.each<[string, () => Promise<unknown>]>([
    ['operation', () => retry().execute(wrong(undefined))],
    ['options', () => retry().execute(() => 1, wrong(null))],
    ['signal', () => retry().execute(() => 1, { signal: wrong('stop') })],
  ])('of a call: %s', async (option, call) => {
    expect(await errorOf(call())).toMatchObject({ code: 'INVALID_OPTION', details: { option } });
  });

  test('nothing is left of a policy that was refused', () => {
    expect(manager.names()).toEqual([]);
  });
});

describe('short forms', () => {
  test('a window of few calls needs no more of them than it holds', async () => {
    const breaker = circuitBreaker({ window: { calls: 4 } });
    for (let call = 0; call < 4; call += 1)
      await errorOf(breaker.execute(() => Promise.reject(new Error('x'))));
    expect(breaker.state).toBe('open');
  });

  test('a duration alone says what is slow', () => {
    expect(circuitBreaker({ slowCall: '1s' }).state).toBe('closed');
  });

  test('onRetry hears of every retry, and changes nothing when it throws', async () => {
    const heard: number[] = [];
    const policy = retry({
      baseDelay: 0,
      onRetry: ({ attempt }) => {
        heard.push(attempt);
        throw new Error('a bad listener');
      },
    });
    const down = new Error('down');
    expect(await errorOf(policy.execute(() => Promise.reject(down)))).toBe(down);
    expect(heard).toEqual([1, 2]);
  });
});
