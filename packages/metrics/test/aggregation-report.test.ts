/** What is reported, seen from inside one process. */
import promClient from 'prom-client';
import { afterEach, expect, test, vi } from 'vitest';
import { eventually, FakeClock } from '@xiaoke/core/testing';
import { createMetricsCollector } from '@xiaoke/metrics';
import { createMetricsAggregator, reportMetrics, type ForkedProcess } from '@xiaoke/metrics/aggregation';

afterEach(() => void vi.restoreAllMocks());

interface Message {
  'xiaoke.metrics': { series: unknown[]; numbers: unknown[]; removed: number[]; bye: boolean };
}

/** Stands where the channel to the parent is; `parent` hears what is sent there. */
function channel() {
  const sent: Message[] = [];
  const listeners = new Set<(message: unknown) => void>();
  const written: (() => void)[] = [];
  let reads = true;
  const send = (message: unknown, ...rest: unknown[]): boolean => {
    const text = JSON.stringify(message);
    sent.push(JSON.parse(text) as Message);
    const done = rest.at(-1) as (error: Error | null) => void;
    if (reads) done(null);
    else written.push(() => done(null));
    for (const listener of listeners) listener(JSON.parse(text));
    return true;
  };
  vi.spyOn(process as { send: (...args: never[]) => boolean }, 'send').mockImplementation(send);
  vi.spyOn(process, 'connected', 'get').mockReturnValue(true);
  const parent: ForkedProcess = {
    on: (event: string, listener: never) => event === 'message' && listeners.add(listener),
    off: (_event: string, listener: never) => listeners.delete(listener),
  };
  return {
    parent,
    sent,
    reports: () => sent.map((message) => message['xiaoke.metrics']),
    stopReading: () => (reads = false),
    readAll: () => {
      reads = true;
      for (const done of written.splice(0)) done();
    },
  };
}

function filled() {
  const registry = new promClient.Registry();
  const metrics = createMetricsCollector({
    registry,
    constLabels: { zone: 'z1' },
    exemplars: () => ({ trace_id: 't' }),
    selfMetrics: false,
  });
  const jobs = metrics.counter({ name: 'jobs_total', help: 'J.', labels: { kind: String } });
  const depth = metrics.gauge({ name: 'depth', help: 'D.', labels: { queue: String } });
  const native = metrics.histogram({ name: 'native_seconds', help: 'N.', buckets: [1], native: true });
  const registers = [registry];
  const stock = new promClient.Counter({
    name: 'stock_total',
    help: 'S.',
    labelNames: ['a', 'b'],
    registers,
  });
  const buckets = new promClient.Histogram({ name: 'stock_seconds', help: 'S.', buckets: [1, 2], registers });
  const sizes = new promClient.Summary({ name: 'stock_sizes', help: 'S.', registers });
  jobs.inc({ kind: 'a' }, 2);
  depth.set({ queue: 'q' }, 7);
  for (const value of [-3, 0, 0.5, 2, 400]) native.observe(value);
  stock.inc({ a: '1' }, 3);
  stock.inc({ a: '1', b: '2' });
  for (const value of [0.5, 1.5, 9]) buckets.observe(value);
  sizes.observe(4);
  return { metrics, jobs, depth, native, stock };
}

/** The lines of ours that are compared: without comments and what sums do not have. */
async function lines(metrics: ReturnType<typeof createMetricsCollector>): Promise<string[]> {
  const text = String((await metrics.metrics()).body);
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#') && !/^xiaoke_metrics_|quantile=/.test(line))
    .map((line) =>
      line
        .replaceAll(/zone="z1",?|[a-z]+="",?/g, '')
        .replace(',}', '}')
        .replace('{}', ''),
    )
    .sort();
}

test('the sums of one collector are what it has, at every scrape', async () => {
  const { metrics, jobs, depth } = filled();
  await using all = createMetricsAggregator({ local: metrics });
  const own = await lines(metrics);
  expect(await lines(all.collector)).toEqual(own);
  jobs.inc({ kind: 'b' });
  depth.remove({ queue: 'q' });
  depth.set({ queue: 'r' }, 1);
  expect(await lines(all.collector)).toEqual(await lines(metrics));
  expect(await lines(all.collector)).toEqual(await lines(metrics));
  const native = await all.collector.metrics(
    'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited',
  );
  expect((native.body as Buffer).includes('native_seconds')).toBe(true);
});

test('a process sends what changed, everything in turn, what was removed, and a last word', async () => {
  const clock = new FakeClock();
  const { parent, reports } = channel();
  const { metrics, jobs, depth } = filled();
  await using all = createMetricsAggregator({ seriesPerMetric: 50 });
  all.watch(parent);
  const reporter = reportMetrics(metrics, { clock, interval: '1s' });
  await reporter.report();
  const known = reports()[0]?.series.length ?? 0;
  expect(known).toBeGreaterThan(6);
  expect(await lines(all.collector)).toEqual(await lines(metrics));
  jobs.inc({ kind: 'a' });
  await reporter.report();
  const second = reports().at(-1);
  expect(second?.series.length).toBeLessThan(known);
  expect(second?.numbers.length).toBeLessThanOrEqual((second?.series.length ?? 0) + 1);
  depth.remove({ queue: 'q' });
  await reporter.report();
  expect(reports().at(-1)?.removed).toHaveLength(1);
  expect(await lines(all.collector)).toEqual(await lines(metrics));
  // Whoever begins to listen now knows all of it after a while.
  await using late = createMetricsAggregator();
  late.watch(parent);
  for (let i = 0; i < 30; i++) await reporter.report();
  expect(await lines(late.collector)).toEqual(await lines(metrics));
  await reporter.close();
  expect(reports().at(-1)?.bye).toBe(true);
  expect(all.sources()).toEqual([]);
  expect((await lines(all.collector)).join('\n')).toContain('jobs_total{kind="a"} 3');
});

test('to a parent that does not read no messages pile up, and closing does not wait for it', async () => {
  const clock = new FakeClock();
  const { sent, stopReading, readAll } = channel();
  const { metrics } = filled();
  stopReading();
  const reporter = reportMetrics(metrics, { clock, interval: '1s' });
  await eventually(() => sent.length === 1);
  for (let i = 0; i < 20; i++) await clock.advance(1_000);
  expect(sent).toHaveLength(1);
  readAll();
  await eventually(async () => {
    await clock.advance(1_000);
    return sent.length > 1;
  });
  stopReading();
  await clock.advance(1_000);
  const before = performance.now();
  await reporter.close({ timeout: 100 });
  expect(performance.now() - before).toBeLessThan(5_000);
});

test('a process without a parent has nobody to report to', () => {
  const send = process.send?.bind(process);
  Object.defineProperty(process, 'send', { value: undefined, configurable: true, writable: true });
  try {
    expect(() => reportMetrics(createMetricsCollector())).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  } finally {
    if (send !== undefined)
      Object.defineProperty(process, 'send', { value: send, configurable: true, writable: true });
  }
});
