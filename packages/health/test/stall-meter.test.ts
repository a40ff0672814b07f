import { afterEach, expect, test } from 'vitest';
import { trackLeaks } from '@xiaoke/core/testing';
import { createBalancer, type Balancer } from '@xiaoke/health/discovery';

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 30));

function block(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function balance(): Balancer {
  const balancer = createBalancer(['http://a.test']);
  closers.push(() => balancer.close());
  return balancer;
}

const ewmaMs = (balancer: Balancer): number => balancer.stats().instances[0]?.ewmaMs ?? NaN;

test('an answer that waited for this process, whose event loop was blocked, does not make its instance slow', async () => {
  const balancer = balance();
  await balancer.call(() => turn());
  const before = ewmaMs(balancer);
  // Answers that were there all the time are seen when the loop turns again.
  await balancer.call(async () => {
    await turn();
    setImmediate(() => block(500));
    await new Promise((resolve) => setTimeout(resolve, 1));
  });
  expect(ewmaMs(balancer)).toBeLessThan(before + 200);
});

test('an answer that was late by itself does, however blocked the loop was before', async () => {
  const balancer = balance();
  await balancer.call(() => turn());
  await balancer.call(async () => {
    block(300);
    await turn();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  });
  expect(ewmaMs(balancer)).toBeGreaterThan(500);
});

test('nothing is measured, and no timer runs, once no call is under way or the balancer is closed', async () => {
  const check = trackLeaks();
  const balancer = createBalancer(['http://a.test']);
  balancer.pick().ok();
  await check();
  balancer.pick();
  await balancer.close();
  await check();
});
