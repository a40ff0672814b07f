import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { abortable, onAbort, sleep, TimeoutError, withTimeout } from '@xiaoke/core';
import { FakeClock } from '@xiaoke/core/testing';

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

test('sleep ends at its time and leaves nothing behind', async () => {
  const clock = new FakeClock();
  const { signal } = new AbortController();
  let woke = false;
  const sleeping = sleep(100, { clock, signal }).then(() => (woke = true));
  await clock.advance(99);
  expect(woke).toBe(false);
  await clock.advance(1);
  await sleeping;
  expect([clock.timers, listeners(signal)]).toEqual([0, 0]);
});

test('an aborted sleep rejects with the reason and leaves nothing behind', async () => {
  const clock = new FakeClock();
  const controller = new AbortController();
  const sleeping = sleep(100, { clock, signal: controller.signal });
  controller.abort('enough');
  await expect(sleeping).rejects.toBe('enough');
  expect([clock.timers, listeners(controller.signal)]).toEqual([0, 0]);
  await expect(sleep(100, { clock, signal: controller.signal })).rejects.toBe('enough');
});

test('abortable settles as the work does, and rejects at once when aborted', async () => {
  const controller = new AbortController();
  expect(await abortable(Promise.resolve(1), controller.signal)).toBe(1);
  await expect(abortable(Promise.reject(new Error('x')), controller.signal)).rejects.toThrow('x');
  expect(await abortable(Promise.resolve(2), undefined)).toBe(2);
  const never = abortable(new Promise(() => {}), controller.signal);
  controller.abort('stop');
  await expect(never).rejects.toBe('stop');
  await expect(abortable(new Promise(() => {}), controller.signal)).rejects.toBe('stop');
  expect(listeners(controller.signal)).toBe(0);
});

test('withTimeout settles as the work does, or with a TimeoutError that names it', async () => {
  const clock = new FakeClock();
  expect(await withTimeout(Promise.resolve(1), 50, 'PING', { clock })).toBe(1);
  await expect(withTimeout(Promise.reject(new Error('x')), 50, 'PING', { clock })).rejects.toThrow('x');
  expect(await withTimeout(Promise.resolve(2), Infinity, 'PING', { clock })).toBe(2);
  const late = withTimeout(new Promise(() => {}), 50, 'PING', { clock, ref: false });
  const refused = late.catch((error: unknown) => error);
  await clock.advance(50);
  expect(await refused).toEqual(new TimeoutError('PING', 50));
  expect(clock.timers).toBe(0);
});

test('onAbort calls once, at once when it is too late, and can be taken back', () => {
  const controller = new AbortController();
  const seen: unknown[] = [];
  onAbort(controller.signal, (reason) => seen.push(reason));
  onAbort(controller.signal, () => seen.push('taken back'))();
  onAbort(undefined, () => seen.push('no signal'))();
  controller.abort('now');
  onAbort(controller.signal, (reason) => seen.push(['late', reason]))();
  expect(seen).toEqual(['now', ['late', 'now']]);
});
