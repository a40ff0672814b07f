import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, expect, test } from 'vitest';
import { circuitBreaker, pipeline, retry, type CallMessage } from '@xiaoke/resilience';
import { errorOf } from './support.ts';

const heard: [string, object][] = [];
const listen = (message: unknown, name: string | symbol): void => {
  heard.push([String(name).split(':').at(-1) ?? '', message as object]);
};
const names = ['call', 'retry', 'transition'].map((name) => `xiaoke:resilience:${name}`);
afterEach(() => {
  for (const name of names) unsubscribe(name, listen);
});

test('whoever subscribes hears of every call, retry and transition of the process, without touching a policy', async () => {
  for (const name of names) subscribe(name, listen);
  const breaker = circuitBreaker({ name: 'b', minimumCalls: 2 });
  const policy = pipeline({ name: 'p' }, retry({ name: 'r', attempts: 2, baseDelay: 0 }), breaker);
  await errorOf(policy.execute(() => Promise.reject(new Error('down'))));
  await errorOf(policy.execute(() => 'refused'));
  expect(heard.map(([kind]) => kind)).toEqual(['retry', 'transition', 'call', 'call']);
  expect(heard.map(([, message]) => message)).toMatchObject([
    { policy: 'r', attempt: 1, delayMs: 0 },
    { breaker: 'b', from: 'closed', to: 'open', reason: 'failure-rate' },
    { pipeline: 'p', outcome: 'failure', code: undefined },
    { pipeline: 'p', outcome: 'rejected', code: 'CIRCUIT_OPEN' } satisfies Partial<CallMessage>,
  ]);
});
