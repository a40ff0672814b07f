import { getEventListeners } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock, type Clock } from '@xiaoke/core';
import { trackLeaks } from '@xiaoke/core/testing';
import { describe, expect, test } from 'vitest';
import {
  adaptiveConcurrency,
  bulkhead,
  circuitBreaker,
  collapse,
  fallback,
  faultInjection,
  hedge,
  pipeline,
  rateLimit,
  retry,
  timeout,
  type Policy,
} from '@xiaoke/resilience';
import { errorOf, nightly, turn } from './support.ts';

/** Counts the timers that are pending. */
function countingClock(): Clock & { readonly pending: number } {
  let pending = 0;
  return {
    ...systemClock,
    get pending() {
      return pending;
    },
    setTimeout(callback, delay) {
      let live = true;
      pending += 1;
      const end = (): void => {
        if (live) pending -= 1;
        live = false;
      };
      const timer = systemClock.setTimeout(() => {
        end();
        callback();
      }, delay);
      return {
        cancel: () => {
          end();
          timer.cancel();
        },
        unref: () => timer.unref(),
        ref: () => timer.ref(),
      };
    },
  };
}

const forever = (): Promise<never> => new Promise(() => {});
const down = (): Promise<never> => Promise.reject(new Error('down'));
// Where a call can be when it is aborted. `prepare` brings the policy there, and gives what it holds.
const places: Readonly<
  Record<
    string,
    (clock: Clock) => { policy: Policy<unknown>; operation: () => unknown; prepare?: () => unknown }
  >
> = {
  'in an attempt': (clock) => ({
    policy: pipeline(retry({ clock }), circuitBreaker({ clock })),
    operation: forever,
  }),
  'in the second attempt': (clock) => {
    let runs = 0;
    return {
      policy: retry({ baseDelay: 0, jitter: 'none', clock }),
      operation: () => ((runs += 1), runs === 1 ? down() : forever()),
    };
  },
  'in the wait before a retry': (clock) => ({
    policy: retry({ baseDelay: '9s', jitter: 'none', clock }),
    operation: down,
  }),
  'in the queue of a bulkhead': (clock) => {
    const policy = bulkhead({ concurrency: 1, queue: 1, maxWait: '9s', clock });
    return { policy, operation: forever, prepare: () => void policy.execute(forever) };
  },
  'in the queue of an adaptive limit': (clock) => {
    const policy = adaptiveConcurrency({ initial: 1, queue: 1, clock });
    return { policy, operation: forever, prepare: () => void policy.execute(forever) };
  },
  'waiting for a rate limit': (clock) => {
    const policy = rateLimit({ limit: 1, per: '9s', maxWait: '1m', clock });
    return { policy, operation: forever, prepare: () => policy.execute(() => 'ok') };
  },
  'while hedging': (clock) => ({ policy: hedge({ after: 1, max: 3, clock }), operation: forever }),
  'in a collapsed call': () => ({ policy: collapse(), operation: forever }),
  'in an injected delay': (clock) => ({
    policy: faultInjection({ latency: { rate: 1, delay: '9s' }, clock }),
    operation: forever,
  }),
  'under a timeout in a fallback': (clock) => ({
    policy: pipeline(fallback(1), timeout('9s', { clock })),
    operation: forever,
  }),
  'under everything': (clock) => ({
    policy: pipeline(
      fallback(1),
      collapse(),
      timeout('9s', { clock }),
      rateLimit({ limit: 100, clock }),
      retry({ clock }),
      hedge({ after: 2, clock }),
      circuitBreaker({ clock }),
      bulkhead({ concurrency: 5, queue: 5, clock }),
      timeout('8s', { clock }),
    ),
    operation: forever,
  }),
};

describe.each(Object.entries(places))('an abort %s', (_, make) => {
  test('ends the call at once with the reason, runs nothing more, and leaves no listener and no timer', async () => {
    const clock = countingClock();
    const { policy, operation, prepare } = make(clock);
    await prepare?.();
    const before = clock.pending;
    const controller = new AbortController();
    let runs = 0;
    const call = errorOf(
      policy.execute(() => ((runs += 1), operation()), { signal: controller.signal, key: 'k' }),
    );
    await new Promise((resolve) => setTimeout(resolve, 15));
    const reason = new Error('enough');
    const ran = runs;
    controller.abort(reason);
    const ended = await Promise.race([call, turn().then(() => 'later')]);
    expect(ended).toBe(reason);
    await turn();
    expect(runs).toBe(ran);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    // The one timer that the calls of a timeout share is kept for the next, and holds nothing.
    expect(clock.pending - before).toBeLessThanOrEqual(policy.kind === 'pipeline' ? 2 : 0);
  });
});

test('an abort of the caller that is a listener bomb, and listeners that throw, change no result', async () => {
  const policy = pipeline(
    retry({ attempts: 2, baseDelay: 0 }),
    circuitBreaker({ minimumCalls: 1, openFor: 1 }),
    timeout('1s'),
  );
  const bomb = (): never => {
    throw new Error('listener');
  };
  for (const part of policy.policies)
    (part as unknown as { on(event: string, listener: () => void): void }).on('retry', bomb);
  const breaker = circuitBreaker({ minimumCalls: 1 }).on('transition', bomb).on('open', bomb);
  let runs = 0;
  expect(await policy.execute(() => (runs += 1))).toBe(1);
  expect(await errorOf(breaker.execute(down))).toMatchObject({ message: 'down' });
  expect([runs, breaker.state]).toEqual([1, 'open']);
});

test('a million calls on one long-lived signal leave no listener, no timer and no memory', async () => {
  const check = trackLeaks();
  const controller = new AbortController();
  const policy = pipeline(
    retry({ attempts: 2, baseDelay: 0 }),
    circuitBreaker(),
    bulkhead({ concurrency: 100 }),
    timeout(500),
  );
  const calls = nightly ? 3_000_000 : 1_000_000;
  const options = { signal: controller.signal };
  const batch = async (count: number): Promise<void> => {
    for (let call = 0; call < count; call += 1) await policy.execute(operation, options);
  };
  await batch(20_000);
  collect();
  const before = process.memoryUsage().heapUsed;
  await batch(calls);
  collect();
  const grown = process.memoryUsage().heapUsed - before;
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  // Less than 16 bytes a call, collected or not: a listener, a timer or a closure that stays is ten times that.
  expect(grown).toBeLessThan(calls * 16);
  expect(policy.stats().calls).toBe(calls + 20_000);
  await check();
}, 120_000);

// The heap says something only after a collection, and the test runner does not offer one.
function collect(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

async function operation(): Promise<number> {
  return 1;
}
