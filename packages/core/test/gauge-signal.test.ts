import { expect, test } from 'vitest';
import { recordingMetrics } from '@xiaoke/core/testing';

test('a gauge is no longer collected once the signal of its definition has fired', async () => {
  const metrics = recordingMetrics();
  const closing = new AbortController();
  let calls = 0;
  metrics.gauge({
    name: 'depth',
    help: 'How deep.',
    collect: () => void (calls += 1),
    signal: closing.signal,
  });
  await metrics.collect();
  closing.abort();
  await metrics.collect();
  expect(calls).toBe(1);
});
