/** Pushing, to the real receivers where there are any, and to a strict one of our own. */
import { describe, expect, test } from 'vitest';
import { startPrometheus, startPushgateway } from '@xiaoke/test-servers';
import { eventually, FakeClock } from '@xiaoke/core/testing';
import { createMetricsCollector, type MetricsCollector } from '@xiaoke/metrics';
import { otlpHttp, pushgateway, remoteWrite } from '@xiaoke/metrics/push';
import { api } from './support/prometheus.ts';
import { startReceiver } from './support/receiver.ts';

type Vector = { result: { metric: Record<string, string>; value: [number, string] }[] };

function filled(): MetricsCollector {
  const metrics = createMetricsCollector({
    constLabels: { service: 's' },
    exemplars: () => ({ trace_id: '4bf92f3577b34da6a3ce929d0e0e4736', span_id: '00f067aa0ba902b7' }),
  });
  const jobs = metrics.counter({ name: 'jobs_total', help: 'Jobs.', labels: { kind: String } });
  jobs.inc({ kind: 'a "b"\n<script>' }, 3);
  jobs.inc({ kind: 'ü' }, 0.5);
  metrics.gauge({ name: 'depth', help: 'Depth.' }).set(-7.25);
  const wait = metrics.histogram({ name: 'wait_seconds', help: 'Wait.', buckets: [0.1, 1] });
  for (const value of [0.05, 0.5, 0.7, 30]) wait.observe(value);
  const native = metrics.histogram({ name: 'native_seconds', help: 'N.', buckets: [1], native: true });
  for (let i = 1; i <= 1_000; i++) native.observe(i / 1_000);
  for (let i = 0; i < 10; i++) native.observe(-i);
  const summary = metrics.summary({ name: 'sum_seconds', help: 'S.', quantiles: [0.5] });
  for (let i = 0; i < 100; i++) summary.observe(4);
  metrics.info({ name: 'build', help: 'Build.', labels: { version: String } }).set({ version: '1.2' });
  return metrics;
}

describe('remote write', () => {
  test('a real Prometheus takes it and has the same values, native histograms and exemplars too', async () => {
    await using prometheus = await startPrometheus({
      config: 'global: { scrape_interval: 1h }\n',
      args: ['--web.enable-remote-write-receiver', '--enable-feature=native-histograms,exemplar-storage'],
    });
    const metrics = filled();
    const url = `${prometheus.url}/api/v1/write`;
    // Small batches, so that there are several.
    await using writer = remoteWrite(metrics, { url, interval: 0, batchSize: 7, labels: { instance: 'i1' } });
    await writer.push();
    expect(writer.stats()).toMatchObject({ failed: 0, dropped: 0, pending: 0 });

    const snapshot = await metrics.snapshot();
    for (const name of ['jobs_total', 'depth', 'wait_seconds_bucket', 'wait_seconds_sum', 'build_info']) {
      const { result } = await api<Vector>(prometheus.url, 'query', { query: name });
      const theirs = result.map(({ metric, value }) => ({ ...metric, value: Number(value[1]) }));
      const ours = snapshot
        .flatMap(({ samples }) => samples.filter((sample) => sample.name === name))
        .map(({ labels, value }) => ({ __name__: name, instance: 'i1', ...labels, value }));
      const text = (list: object[]): string[] =>
        list.map((one) => JSON.stringify(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))).sort();
      expect(text(theirs)).toEqual(text(ours));
    }
    const query = 'histogram_quantile(0.9, native_seconds)';
    const { result } = await api<Vector>(prometheus.url, 'query', { query });
    // 10 of 1010 lie below zero, so this is the 899th of 1000.
    expect(Math.abs(Number(result[0]?.value[1]) / 0.899 - 1)).toBeLessThan(0.045);
    const exemplars = await api<{ exemplars: { labels: Record<string, string> }[] }[]>(
      prometheus.url,
      'query_exemplars',
      { query: 'wait_seconds_bucket', start: '0', end: String(Date.now() / 1_000 + 60) },
    );
    expect(exemplars[0]?.exemplars[0]?.labels['trace_id']).toBe('4bf92f3577b34da6a3ce929d0e0e4736');
  });

  test('an outage loses nothing that fits the buffer, and the samples keep their times', async () => {
    await using prometheus = await startPrometheus({
      config: 'global: { scrape_interval: 1h }\n',
      args: ['--web.enable-remote-write-receiver'],
    });
    const metrics = createMetricsCollector();
    const count = metrics.counter({ name: 'ticks_total', help: 'Ticks.' });
    await using receiver = await startReceiver();
    // A gate in front of the real one: down at first.
    let down = true;
    const forwarded: Promise<number>[] = [];
    receiver.answer = ({ headers, body }) => {
      if (down) return { status: 503 };
      const { host: _host, connection: _connection, 'content-length': _length, ...rest } = headers;
      const write = async (): Promise<number> => {
        const answer = await fetch(`${prometheus.url}/api/v1/write`, {
          method: 'POST',
          headers: rest as Record<string, string>,
          body: new Uint8Array(body),
        });
        return answer.status;
      };
      // In the order in which they came.
      forwarded.push((forwarded.at(-1) ?? Promise.resolve(0)).then(write));
      return {};
    };
    const writer = remoteWrite(metrics, { url: receiver.url, interval: 100 });
    const started = Date.now();
    const numbers = setInterval(() => count.inc(), 20);
    await eventually(() => writer.stats().pending >= 10);
    expect(writer.healthIndicator().name).toBe('metrics-remote-write');
    expect((await writer.healthIndicator().check({ signal: AbortSignal.timeout(1_000) })).status).toBe(
      'degraded',
    );
    down = false;
    await eventually(() => writer.stats().pending === 0, { timeout: 20_000 });
    clearInterval(numbers);
    await writer.close();
    expect(new Set(await Promise.all(forwarded))).toEqual(new Set([204]));
    expect(writer.stats().dropped).toBe(0);
    const { result } = await api<{ result: { values: [number, string][] }[] }>(prometheus.url, 'query', {
      query: `ticks_total[1h]`,
    });
    const values = result[0]?.values ?? [];
    expect(values.length).toBe(forwarded.length);
    // From the first moments of the outage on, rising.
    expect((values[0]?.[0] ?? Infinity) * 1_000).toBeLessThan(started + 2_000);
    expect(values.map(([, value]) => Number(value))).toEqual(
      values.map(([, value]) => Number(value)).sort((a, b) => a - b),
    );
  });

  test('what is refused for good is dropped and counted, and not sent again', async () => {
    await using receiver = await startReceiver();
    receiver.answer = () => ({ status: 400 });
    const metrics = filled();
    const writer = remoteWrite(metrics, { url: receiver.url, interval: 0 });
    await expect(writer.push()).rejects.toMatchObject({ code: 'PUSH_FAILED' });
    await writer.close();
    expect(writer.stats()).toMatchObject({ sent: 0, failed: 0, pending: 0 });
    expect(writer.stats().dropped).toBeGreaterThan(0);
    expect(String((await metrics.metrics()).body)).toMatch(
      /xiaoke_metrics_pushes_total\{service="s",target="remote-write",outcome="dropped"} [1-9]/,
    );
  });

  test('the buffer has a limit, and the oldest goes first', async () => {
    await using receiver = await startReceiver();
    receiver.answer = () => ({ status: 500 });
    await using writer = remoteWrite(filled(), { url: receiver.url, interval: 0, maxBufferBytes: 4_000 });
    for (let i = 0; i < 30; i++) await expect(writer.push()).rejects.toThrow('answered 500');
    expect(writer.stats().pendingBytes).toBeLessThanOrEqual(4_000);
    expect(writer.stats().dropped).toBeGreaterThan(5);
  });

  test('a receiver that hangs is given up after the time limit, and closing does not wait for it', async () => {
    await using receiver = await startReceiver();
    receiver.answer = () => ({ hang: true });
    const writer = remoteWrite(filled(), { url: receiver.url, interval: 0, timeout: 200 });
    await expect(writer.push()).rejects.toThrow('did not answer in time');
    receiver.answer = () => ({ hang: true });
    const before = performance.now();
    await writer.close({ timeout: 300 });
    expect(performance.now() - before).toBeLessThan(3_000);
    await expect(writer.push()).rejects.toMatchObject({ code: 'PUSH_FAILED' });
  });

  test('a password in the address becomes a header, and appears in no error', async () => {
    await using receiver = await startReceiver();
    const url = receiver.url.replace('http://', 'http://me:s3cr%40t@');
    receiver.answer = () => ({ status: 401 });
    const writer = remoteWrite(filled(), { url, interval: 0 });
    const error = await writer.push().catch((caught: unknown) => caught);
    await writer.close();
    expect(receiver.requests[0]?.headers['authorization']).toBe(
      `Basic ${Buffer.from('me:s3cr@t').toString('base64')}`,
    );
    expect(JSON.stringify(error) + String(error)).not.toMatch(/s3cr|me:/);
  });

  test('pushes at its interval, and after a pause that the receiver asks for', async () => {
    const clock = new FakeClock();
    await using receiver = await startReceiver();
    const metrics = createMetricsCollector({ clock });
    receiver.answer = () => ({ status: 429, headers: { 'retry-after': '7' } });
    const writer = remoteWrite(metrics, { url: receiver.url, interval: '1m', clock });
    await clock.advance(60_000);
    await eventually(() => writer.stats().failed === 1);
    receiver.answer = () => undefined;
    await clock.advance(6_900);
    expect(receiver.requests).toHaveLength(1);
    await clock.advance(200);
    await eventually(() => writer.stats().sent === 1);
    await writer.close();
  });
});

describe('OTLP', () => {
  interface Metric {
    name: string;
    [kind: string]: unknown;
  }
  const pushed = async (options: { compression?: 'gzip' | 'none' } = {}) => {
    await using receiver = await startReceiver();
    const resource = { 'service.name': 'medical' };
    const url = `${receiver.url}/v1/metrics`;
    await using exporter = otlpHttp(filled(), { url, interval: 0, resource, ...options });
    await exporter.push();
    const [request] = receiver.requests;
    const body = request?.json() as {
      resourceMetrics: { resource: object; scopeMetrics: { metrics: Metric[] }[] }[];
    };
    const metrics = body.resourceMetrics[0]?.scopeMetrics[0]?.metrics ?? [];
    return { request, body, metrics, of: (name: string) => metrics.find((one) => one.name === name) };
  };

  test('everything arrives as the protocol says, with integers as strings and buckets apart', async () => {
    const { request, body, of } = await pushed();
    expect(request?.path).toBe('/v1/metrics');
    expect(request?.headers).toMatchObject({
      'content-type': 'application/json',
      'content-encoding': 'gzip',
    });
    expect(body.resourceMetrics[0]?.resource).toEqual({
      attributes: [{ key: 'service.name', value: { stringValue: 'medical' } }],
    });
    const service = { key: 'service', value: { stringValue: 's' } };
    const times = { startTimeUnixNano: expect.stringMatching(/^\d{19}$/), timeUnixNano: expect.any(String) };
    expect(of('jobs_total')).toMatchObject({
      description: 'Jobs.',
      sum: {
        aggregationTemporality: 2,
        isMonotonic: true,
        dataPoints: [
          {
            ...times,
            asDouble: 3,
            attributes: [service, { key: 'kind', value: { stringValue: 'a "b"\n<script>' } }],
            exemplars: [
              { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7', asDouble: 3 },
            ],
          },
          { asDouble: 0.5 },
        ],
      },
    });
    expect(of('depth')).toMatchObject({ gauge: { dataPoints: [{ ...times, asDouble: -7.25 }] } });
    expect(of('wait_seconds')).toMatchObject({
      histogram: {
        aggregationTemporality: 2,
        dataPoints: [
          {
            count: '4',
            sum: 31.25,
            bucketCounts: ['1', '2', '1'],
            explicitBounds: [0.1, 1],
            attributes: [service],
          },
        ],
      },
    });
    expect(of('sum_seconds')).toMatchObject({
      summary: { dataPoints: [{ count: '100', sum: 400, quantileValues: [{ quantile: 0.5 }] }] },
    });
  });

  test('a native histogram is an exponential one whose buckets hold what they should', async () => {
    const { of } = await pushed({ compression: 'none' });
    interface Side {
      offset: number;
      bucketCounts: string[];
    }
    const histogram = of('native_seconds')?.['exponentialHistogram'] as {
      dataPoints: { scale: number; count: string; zeroCount: string; positive: Side; negative: Side }[];
    };
    const point = histogram.dataPoints[0];
    if (point === undefined) throw new Error('no point');
    expect(point).toMatchObject({ count: '1010', zeroCount: '1' });
    const base = 2 ** (2 ** -point.scale);
    const values = Array.from({ length: 1_000 }, (_, i) => (i + 1) / 1_000);
    // OpenTelemetry: bucket `i` holds (base^i, base^(i+1)].
    const expected = point.positive.bucketCounts.map((_, i) => {
      const low = base ** (point.positive.offset + i);
      return values.filter((value) => value > low * (1 + 1e-12) && value <= low * base * (1 + 1e-12)).length;
    });
    expect(point.positive.bucketCounts.map(Number)).toEqual(expected);
    const total = (side: Side): number => side.bucketCounts.reduce((sum, count) => sum + Number(count), 0);
    expect([total(point.positive), total(point.negative)]).toEqual([1_000, 9]);
  });

  test('points that the receiver refused in a success are counted', async () => {
    await using receiver = await startReceiver();
    receiver.answer = () => ({ body: '{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"no"}}' });
    await using exporter = otlpHttp(filled(), { url: receiver.url, interval: 0 });
    await exporter.push();
    expect(exporter.stats()).toMatchObject({ sent: 0, dropped: 1, pending: 0 });
    // 500 is final to OTLP, 503 is not.
    receiver.answer = () => ({ status: 500 });
    await expect(exporter.push()).rejects.toThrow('500');
    expect(exporter.stats()).toMatchObject({ dropped: 2, pending: 0 });
    receiver.answer = () => ({ status: 503 });
    await expect(exporter.push()).rejects.toThrow('503');
    expect(exporter.stats()).toMatchObject({ failed: 1, pending: 1 });
  });
});

describe('Pushgateway', () => {
  const shown = async (url: string): Promise<string> => (await fetch(`${url}/metrics`)).text();

  test('a real Pushgateway shows what was pushed, replaces it, and forgets it', async () => {
    await using gateway = await startPushgateway();
    const metrics = filled();
    const grouping = { instance: 'a/b', empty: '' };
    const options = { url: gateway.url, job: 'nightly run', grouping, interval: 0 } as const;
    const pusher = pushgateway(metrics, { ...options, deleteOnClose: true });
    await pusher.push();
    const text = await shown(gateway.url);
    expect(text).toContain(
      'jobs_total{empty="",instance="a/b",job="nightly run",kind="a \\"b\\"\\n<script>",service="s"} 3',
    );
    expect(text).toMatch(/wait_seconds_bucket\{[^}]*le="0.1"} 1/);
    metrics.remove('depth');
    await pusher.push();
    expect(await shown(gateway.url)).not.toMatch(/^depth/m);
    await pusher.close();
    expect(await shown(gateway.url)).not.toContain('jobs_total');
    expect(pusher.stats()).toMatchObject({ sent: 4, failed: 0, dropped: 0 });
  });

  test('without replacing, metrics of the group that are not pushed stay; closing pushes a last time', async () => {
    await using gateway = await startPushgateway();
    const first = createMetricsCollector({ selfMetrics: false });
    first.gauge({ name: 'one', help: 'One.' }).set(1);
    await pushgateway(first, { url: `${gateway.url}/`, job: 'j', interval: 0, replace: false }).close();
    const second = createMetricsCollector({ selfMetrics: false });
    second.gauge({ name: 'two', help: 'Two.' }).set(2);
    await pushgateway(second, { url: gateway.url, job: 'j', interval: 0, replace: false }).close();
    const text = await shown(gateway.url);
    expect(text).toContain('one{instance="",job="j"} 1');
    expect(text).toContain('two{instance="",job="j"} 2');
  });

  test('a gateway that is away costs no memory: only the last collection waits', async () => {
    await using receiver = await startReceiver();
    receiver.answer = () => ({ status: 502 });
    const pusher = pushgateway(filled(), { url: receiver.url, job: 'j', interval: 0 });
    for (let i = 0; i < 3; i++) await expect(pusher.push()).rejects.toThrow('502');
    expect(pusher.stats().pending).toBe(1);
    await pusher.close();
  });
});

test.each([
  ['url', () => remoteWrite(createMetricsCollector(), { url: 'ftp://x' })],
  ['url', () => otlpHttp(createMetricsCollector(), { url: 'nowhere' })],
  ['url', () => pushgateway(createMetricsCollector(), undefined as never)],
  ['batchSize', () => remoteWrite(createMetricsCollector(), { url: 'http://x', batchSize: 0 })],
  ['maxBufferBytes', () => remoteWrite(createMetricsCollector(), { url: 'http://x', maxBufferBytes: 0 })],
  ['labels.a-b', () => remoteWrite(createMetricsCollector(), { url: 'http://x', labels: { 'a-b': '' } })],
  ['compression', () => otlpHttp(createMetricsCollector(), { url: 'http://x', compression: 'br' as never })],
  ['job', () => pushgateway(createMetricsCollector(), { url: 'http://x', job: '' })],
  [
    'grouping.job',
    () => pushgateway(createMetricsCollector(), { url: 'http://x', job: 'j', grouping: { job: 'k' } }),
  ],
])('a bad %s is refused', (option, make) => {
  expect(make).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', details: expect.objectContaining({ option }) }),
  );
});
