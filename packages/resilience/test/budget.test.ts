import { FakeClock } from '@xiaoke/core/testing';
import { describe, expect, test } from 'vitest';
import { retry, retryBudget, type RetryBudget } from '@xiaoke/resilience';
import { deferred, turn } from './support.ts';

async function retries(budget: RetryBudget, calls: number, works: boolean): Promise<number> {
  const clock = new FakeClock();
  const policy = retry({ attempts: 2, baseDelay: 0, budget, clock });
  let runs = 0;
  for (let call = 0; call < calls; call += 1) {
    const running = policy
      .execute(() => ((runs += 1), works ? 'ok' : Promise.reject(new Error('x'))))
      .catch(() => {});
    await clock.advance(0);
    await running;
  }
  return runs - calls;
}

describe('tokens', () => {
  test('retries cost tokens, timeouts twice as many, and successes give them back', async () => {
    const budget = retryBudget({ algorithm: 'tokens', capacity: 50, cost: 5, timeoutCost: 10 });
    expect(await retries(budget, 30, false)).toBe(10);
    await retries(budget, 20, true);
    expect(budget.balance).toBe(4);
    expect([budget.tryGrant(0, true), budget.tryGrant(0, true), budget.tryGrant(0, false)]).toEqual([
      true,
      true,
      false,
    ]);
    budget.end({ succeeded: true, timedOut: false, refused: false, granted: 2 });
    expect(budget.balance).toBe(2);
  });
});

describe('concurrency', () => {
  test('so many of the calls in flight may retry at once, and at least a few', async () => {
    const clock = new FakeClock();
    const budget = retryBudget({ algorithm: 'concurrency', ratio: 0.2, min: 1 });
    const policy = retry({ attempts: 2, baseDelay: 0, budget, clock });
    const gate = deferred();
    let second = 0;
    const calls = Array.from({ length: 50 }, () =>
      policy
        .execute(({ attempt }) =>
          attempt === 1 ? Promise.reject(new Error('x')) : ((second += 1), gate.promise),
        )
        .catch(() => 'gave up'),
    );
    await clock.advance(0);
    await turn();
    expect(second).toBeGreaterThanOrEqual(1);
    expect(second).toBeLessThanOrEqual(10);
    gate.resolve('ok');
    await Promise.all(calls);
    expect(budget.balance).toBe(1);
  });
});

test('a budget is shared by reference', async () => {
  const budget = retryBudget({ ratio: 0, minPerSecond: 4 });
  expect(await retries(budget, 20, false)).toBe(4);
  expect(await retries(budget, 20, false)).toBe(0);
});

test.each([
  [{ algorithm: 'magic' as 'ratio' }, 'budget.algorithm'],
  [{ ratio: -1 }, 'budget.ratio'],
  [{ algorithm: 'tokens' as const, capacity: 0 }, 'budget.capacity'],
  [{ algorithm: 'concurrency' as const, min: 1.5 }, 'budget.min'],
  [{ rate: 1 } as never, 'budget.rate'],
])('%o is refused', (options, option) => {
  expect(() => retryBudget(options)).toThrow(expect.objectContaining({ details: { option } }));
});
