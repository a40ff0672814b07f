import { expect, test } from 'vitest';
import type * as errors from '../src/errors.ts';
import {
  InvalidOptionError,
  NonRetryableError,
  RetryLaterError,
  TimeoutError,
  XiaokeError,
} from '@xiaoke/core';

test('an error carries its code, the name of its class, its cause and its details', () => {
  class QueueGoneError extends XiaokeError {}
  const cause = new Error('socket closed');
  const error = new QueueGoneError('QUEUE_GONE', 'gone', { cause, details: { queue: 'a' } });

  expect(error).toMatchObject({
    code: 'QUEUE_GONE',
    name: 'QueueGoneError',
    message: 'gone',
    details: { queue: 'a' },
  });
  expect(error.cause).toBe(cause);
  expect(error.stack).toContain('QueueGoneError: gone');
});

test('details cannot be changed by whoever catches the error', () => {
  const error = new XiaokeError('X', 'x', { details: { a: 1 } });
  expect(() => Object.assign(error.details, { a: 2 })).toThrow(TypeError);
});

test('a bad option is named in the message and in the details', () => {
  const error = new InvalidOptionError('redis.url', 'must be a URL', { details: { given: 'number' } });
  expect(error.code).toBe('INVALID_OPTION');
  expect(error.message).toBe('Option "redis.url" must be a URL');
  expect(error.details).toEqual({ option: 'redis.url', given: 'number' });
});

test('instanceof follows the class hierarchy and nothing else', () => {
  const error = new InvalidOptionError('a', 'is wrong');
  expect(error instanceof XiaokeError).toBe(true);
  expect(error instanceof TimeoutError).toBe(false);
  expect(new Error('x') instanceof XiaokeError).toBe(false);
  for (const value of [null, undefined, 'x', 1, {}]) expect(value instanceof XiaokeError).toBe(false);
});

test('a subclass without a brand of its own recognises only its own instances', () => {
  class Mine extends TimeoutError {}
  expect(new TimeoutError('x', 1) instanceof Mine).toBe(false);
  expect(new Mine('x', 1) instanceof Mine).toBe(true);
  expect(new Mine('x', 1) instanceof TimeoutError).toBe(true);
});

test('instanceof holds across two copies of the package', async () => {
  const source = '../src/errors.ts';
  const copy = (await import(/* @vite-ignore */ `${source}?copy`)) as typeof errors;
  const foreign = new copy.TimeoutError('a call', 5);

  expect(copy.TimeoutError).not.toBe(TimeoutError);
  expect(foreign instanceof TimeoutError).toBe(true);
  expect(foreign instanceof XiaokeError).toBe(true);
  expect(foreign instanceof InvalidOptionError).toBe(false);
});

test('the errors that steer retries have their codes', () => {
  expect(new NonRetryableError('bad card').code).toBe('NON_RETRYABLE');
  expect(new RetryLaterError('2s')).toMatchObject({
    code: 'RETRY_LATER',
    delayMs: 2_000,
    details: { delayMs: 2_000 },
  });
  expect(new RetryLaterError(5, 'busy').message).toBe('busy');
  expect(() => new RetryLaterError('soon')).toThrow(InvalidOptionError);
  expect(new TimeoutError('PING', 50)).toMatchObject({ code: 'TIMEOUT', timeoutMs: 50 });
});
