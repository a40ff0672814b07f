/** Rules evaluated here over the samples of a real Prometheus. */
import { expect, test } from 'vitest';
import { startPrometheus } from '@xiaoke/test-servers';
import { FakeClock } from '@xiaoke/core/testing';
import { createAlertManager, prometheusSource } from '@xiaoke/metrics/alerts';
import { remoteWriteTo } from './support/prometheus.ts';
import { startReceiver } from './support/receiver.ts';

test('alerts come from the samples that a Prometheus has, and its own recordings are left to it', async () => {
  await using prometheus = await startPrometheus({
    config: 'global: { scrape_interval: 1h }\n',
    args: ['--web.enable-remote-write-receiver'],
  });
  const now = Math.floor(Date.now() / 10_000) * 10_000;
  const at = (queue: string, value: number) => ({ labels: { __name__: 'depth', queue }, value, time: now });
  await remoteWriteTo(prometheus.url, [at('a', 5), at('b', 50), at('c', Infinity)]);
  const alerts = createAlertManager({
    rules: [
      { record: 'depth:max', expr: 'max(depth)' },
      { alert: 'Deep', expr: 'depth > 10', annotations: { summary: '{{ $labels.queue }}: {{ $value }}' } },
      { alert: 'Scalar', expr: 'scalar(count(depth)) * 1' },
    ],
    source: prometheusSource(`${prometheus.url}/`),
    clock: new FakeClock(now),
  });
  await alerts.evaluate(now);
  expect(alerts.stats().failures).toBe(0);
  expect(alerts.active().map(({ name, annotations }) => annotations['summary'] ?? name)).toEqual([
    'b: 50',
    'c: +Inf',
    'Scalar',
  ]);
  const source = prometheusSource(prometheus.url);
  expect(await source.query('"x"', { time: now })).toEqual({ type: 'string', time: now, value: 'x' });
  expect(await source.query('depth{queue="a"}[1m]', { time: now })).toMatchObject({
    type: 'matrix',
    series: [{ points: [[now, 5]] }],
  });
  await expect(source.query('sum(', { time: now })).rejects.toThrow('parse error');
  await alerts.close();
});

test('a Prometheus that is away or hangs is an evaluation that failed, and no address is told', async () => {
  await using receiver = await startReceiver();
  receiver.answer = () => ({ hang: true });
  const source = prometheusSource(receiver.url.replace('http://', 'http://me:s3cret@'), { timeout: 200 });
  const error = await source.query('up', { time: 0 }).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: 'PROMQL_EVALUATION' });
  expect(String(error) + JSON.stringify(error)).not.toContain('s3cret');
  expect(receiver.requests[0]?.headers['authorization']).toMatch(/^Basic /);
  await expect(prometheusSource('http://127.0.0.1:1').query('up', { time: 0 })).rejects.toThrow(
    'did not answer',
  );
  expect(() => prometheusSource('ftp://x')).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});
