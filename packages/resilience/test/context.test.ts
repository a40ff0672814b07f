import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, test } from 'vitest';
import {
  bulkhead,
  circuitBreaker,
  collapse,
  fallback,
  hedge,
  pipeline,
  rateLimit,
  retry,
  timeout,
  type Policy,
} from '@xiaoke/resilience';

const request = new AsyncLocalStorage<string>();
const hang = (): Promise<never> => new Promise(() => {});

// Each policy runs the operation later than it was called, on behalf of a timer or of somebody else.
const policies: Readonly<Record<string, () => Policy<unknown>>> = {
  'a retry after a timeout': () => pipeline(retry({ baseDelay: 1 }), timeout(20)),
  'a hedge': () => hedge({ after: 5 }),
  'a fallback after a timeout': () =>
    pipeline(
      fallback(() => request.getStore()),
      timeout(10),
    ),
  'a place in a queue': () => bulkhead({ concurrency: 1, queue: 10 }),
  'a turn of a rate limit': () => rateLimit({ limit: 100, burst: 1, maxWait: '1s' }),
  'everything together': () =>
    pipeline(
      collapse(),
      timeout('5s'),
      retry({ baseDelay: 1 }),
      circuitBreaker(),
      bulkhead({ concurrency: 1, queue: 10 }),
      timeout(20),
    ),
};

describe.each(Object.entries(policies))('%s', (name, make) => {
  test('runs the operation in the context of its own caller', async () => {
    const policy = make();
    const call = (id: string): Promise<unknown> =>
      request.run(id, () => {
        let runs = 0;
        return policy.execute(async ({ signal }) => {
          runs += 1;
          await new Promise((resolve) => setTimeout(resolve, 2));
          if (runs > 1 || name.includes('queue') || name.includes('turn')) return request.getStore();
          // Heeds its signal, so that its place is free for the next attempt.
          return await Promise.race([
            hang(),
            new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
          ]);
        });
      });
    const ids = ['a', 'b', 'c', 'd'];
    expect(await Promise.all(ids.map((id) => call(id)))).toEqual(ids);
  });
});

test('an error tells, behind the operation, who called through the policies', async () => {
  const policy = pipeline(
    retry({ attempts: 1 }),
    circuitBreaker(),
    bulkhead({ concurrency: 1 }),
    timeout('1s'),
  );
  async function loadInvoice(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    throw new Error('down');
  }
  async function handleRequest(): Promise<void> {
    await policy.execute(loadInvoice);
  }
  const stack = await handleRequest().catch((error: Error) => error.stack);
  expect(stack).toContain('loadInvoice');
  expect(stack).toContain('handleRequest');
});
