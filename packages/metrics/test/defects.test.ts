/** Each defect that was found in prom-client 15: the stock metric shows it, ours does not. */
import promClient from 'prom-client';
import { describe, expect, test, vi } from 'vitest';
import { spawnNode } from '@xiaoke/test-servers';
import { FakeClock } from '@xiaoke/core/testing';
import { createMetricsCollector } from '@xiaoke/metrics';
import { createMetricsAggregator } from '@xiaoke/metrics/aggregation';

const lines = async (collector: ReturnType<typeof createMetricsCollector>, name: string, accept?: string) =>
  String((await collector.metrics(accept)).body)
    .split('\n')
    .filter((line) => line.startsWith(name));

const stockLines = async (registry: promClient.Registry, name: string) =>
  (await registry.metrics()).split('\n').filter((line) => line.startsWith(name));

function stock() {
  return new promClient.Registry();
}

describe('what prom-client gets wrong', () => {
  test('an amount that is not a number leaves a counter as it was, and is counted', async () => {
    const registry = stock();
    const theirs = new promClient.Counter({ name: 'jobs_total', help: 'h', registers: [registry] });
    theirs.inc(2);
    theirs.inc(NaN);
    expect(await stockLines(registry, 'jobs_total')).toEqual(['jobs_total Nan']);

    const metrics = createMetricsCollector();
    const ours = metrics.counter({ name: 'jobs_total', help: 'h', labels: { kind: ['a'] } });
    ours.inc({ kind: 'a' }, 2);
    for (const bad of [NaN, Infinity, -1, '3' as unknown as number]) ours.inc({ kind: 'a' }, bad);
    expect(await lines(metrics, 'jobs_total')).toEqual(['jobs_total{kind="a"} 2']);
    expect(await lines(metrics, 'xiaoke_metrics_invalid_total')).toContain(
      'xiaoke_metrics_invalid_total{metric="jobs_total"} 4',
    );
  });

  test('a caller may reuse its labels object', async () => {
    const registry = stock();
    const theirs = new promClient.Counter({
      name: 'c_total',
      help: 'h',
      labelNames: ['a'],
      registers: [registry],
    });
    const labels = { a: '1' };
    theirs.inc(labels);
    labels.a = '2';
    theirs.inc(labels);
    expect(await stockLines(registry, 'c_total')).toEqual(['c_total{a="2"} 1', 'c_total{a="2"} 1']);

    const metrics = createMetricsCollector();
    const ours = metrics.counter({ name: 'c_total', help: 'h', labels: { a: String } });
    const own = { a: '1' };
    ours.inc(own);
    own.a = '2';
    ours.inc(own);
    expect(await lines(metrics, 'c_total')).toEqual(['c_total{a="1"} 1', 'c_total{a="2"} 1']);
  });

  test('label values that contain separators are different series', async () => {
    const registry = stock();
    const theirs = new promClient.Counter({
      name: 'c_total',
      help: 'h',
      labelNames: ['a', 'b'],
      registers: [registry],
    });
    theirs.inc({ a: 'x,b:y' });
    theirs.inc({ a: 'x', b: 'y' });
    expect(await stockLines(registry, 'c_total')).toHaveLength(1);

    const metrics = createMetricsCollector();
    const ours = metrics.counter({ name: 'c_total', help: 'h', labels: { a: String, b: String } });
    ours.inc({ a: 'x,b:y', b: '' });
    ours.inc({ a: 'x', b: 'y' });
    expect(await lines(metrics, 'c_total')).toHaveLength(2);
  });

  test('one collector that throws costs nobody else', async () => {
    const registry = stock();
    new promClient.Counter({ name: 'fine_total', help: 'h', registers: [registry] }).inc();
    const broken = new promClient.Gauge({
      name: 'broken',
      help: 'h',
      registers: [registry],
      collect() {
        throw new Error('no');
      },
    });
    expect(broken).toBeDefined();
    await expect(registry.metrics()).rejects.toThrow('no');

    const metrics = createMetricsCollector({ registry });
    metrics.gauge({ name: 'also_broken', help: 'h', collect: () => Promise.reject(new Error('no')) });
    expect(await lines(metrics, 'fine_total')).toEqual(['fine_total 1']);
    const errors = await lines(metrics, 'xiaoke_metrics_collect_errors_total');
    expect(errors).toContain('xiaoke_metrics_collect_errors_total{collector="also_broken"} 2');
    expect(errors.some((line) => line.includes('collector="broken"'))).toBe(true);
  });

  test('a missing label does not make a series with fewer labels', async () => {
    const registry = stock();
    const theirs = new promClient.Counter({
      name: 'c_total',
      help: 'h',
      labelNames: ['a', 'b'],
      registers: [registry],
    });
    theirs.inc({ a: 'x' });
    expect(await stockLines(registry, 'c_total')).toEqual(['c_total{a="x"} 1']);

    const metrics = createMetricsCollector();
    const ours = metrics.counter({ name: 'c_total', help: 'h', labels: { a: String, b: String } });
    ours.inc({ a: 'x' } as never);
    expect(await lines(metrics, 'c_total')).toEqual(['c_total{a="__overflow__",b="__overflow__"} 1']);
    const strict = createMetricsCollector({ invalid: 'throw' });
    const counter = strict.counter({ name: 'c_total', help: 'h', labels: { a: String, b: String } });
    expect(() => counter.inc({ a: 'x' } as never)).toThrow('label "b" is missing');
  });

  test('reading as OpenMetrics renames nothing and escapes quotes in HELP', async () => {
    const registry = stock() as promClient.Registry<promClient.RegistryContentType>;
    registry.setContentType(promClient.Registry.OPENMETRICS_CONTENT_TYPE);
    const theirs = new promClient.Counter({ name: 'jobs_total', help: 'say "hi"', registers: [registry] });
    expect(await registry.getSingleMetricAsString('jobs_total')).toContain('jobs_total_total');
    expect(await registry.metrics()).toContain('# HELP jobs say "hi"');
    expect((theirs as unknown as { name: string }).name).toBe('jobs');

    const metrics = createMetricsCollector();
    metrics.counter({ name: 'jobs_total', help: 'say "hi"' }).inc();
    const first = await metrics.metrics('application/openmetrics-text');
    const text = await metrics.metrics('text/plain');
    const again = await metrics.metrics('application/openmetrics-text');
    expect(String(first.body)).toContain('# HELP jobs say \\"hi\\"\n# TYPE jobs counter\njobs_total 1\n');
    expect(String(text.body)).toContain(
      '# HELP jobs_total say "hi"\n# TYPE jobs_total counter\njobs_total 1\n',
    );
    expect(String(again.body)).toContain('jobs_total 1\n');
  });

  test('buckets may be given in any order, and twice', async () => {
    const registry = stock();
    const theirs = new promClient.Histogram({ name: 'h', help: 'h', buckets: [5, 1], registers: [registry] });
    theirs.observe(0.5);
    theirs.observe(3);
    const cumulative = (await stockLines(registry, 'h_bucket')).map((line) => Number(line.split(' ')[1]));
    expect(cumulative).toEqual([2, 2, 2]);

    const metrics = createMetricsCollector();
    const ours = metrics.histogram({ name: 'h', help: 'h', buckets: [5, 1, 5, Infinity] });
    ours.observe(0.5);
    ours.observe(3);
    expect(await lines(metrics, 'h_bucket')).toEqual([
      'h_bucket{le="1"} 1',
      'h_bucket{le="5"} 2',
      'h_bucket{le="+Inf"} 2',
    ]);
  });

  test('one collector that hangs costs a scrape its limit, and everybody else nothing', async () => {
    const registry = stock();
    new promClient.Counter({ name: 'fine_total', help: 'h', registers: [registry] }).inc();
    let started = 0;
    const hanging = new promClient.Gauge({
      name: 'hangs',
      help: 'h',
      registers: [registry],
      collect: () => {
        started += 1;
        return new Promise<void>(() => {});
      },
    });
    expect(hanging).toBeDefined();
    const waited = Promise.race([
      registry.metrics(),
      new Promise((resolve) => setTimeout(resolve, 500, 'late')),
    ]);
    expect(await waited).toBe('late');

    const metrics = createMetricsCollector({ registry, collectTimeout: 100 });
    metrics.gauge({ name: 'also_hangs', help: 'h', collect: () => new Promise<void>(() => {}) });
    const before = performance.now();
    expect(await lines(metrics, 'fine_total')).toEqual(['fine_total 1']);
    // Both hang side by side: the limit counts once.
    expect(performance.now() - before).toBeLessThan(1_000);
    // However often it is scraped, one of it hangs and not more.
    const begun = started;
    for (let i = 0; i < 3; i++) await metrics.metrics();
    expect(started).toBe(begun);
  });

  test('every garbage collection of a burst is counted', async () => {
    // In a process of its own, where collections can be forced; prom-client counts what its observer gets first.
    const code = `
      import promClient from 'prom-client';
      import { createMetricsCollector } from '@xiaoke/metrics';
      const registry = new promClient.Registry();
      promClient.collectDefaultMetrics({ register: registry });
      const metrics = createMetricsCollector();
      metrics.runtime();
      await new Promise((resolve) => setTimeout(resolve, 50));
      const count = async (text: string | Promise<string>) => [...String(await text)
        .matchAll(/^nodejs_gc_duration_seconds_count\\{.*kind="major".*\\} (\\d+)/gm)]
        .reduce((sum, match) => sum + Number(match[1]), 0);
      const body = async () => String((await metrics.metrics()).body);
      const before = [await count(registry.metrics()), await count(body())];
      for (let i = 0; i < 50; i++) globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 200));
      const after = [await count(registry.metrics()), await count(body())];
      process.send?.({ kind: 'counted', theirs: after[0]! - before[0]!, ours: after[1]! - before[1]! });
    `;
    await using child = spawnNode({ code, from: import.meta.url }, { execArgv: ['--expose-gc'] });
    const counted = await child.message(({ kind }) => kind === 'counted', 30_000);
    expect(counted['theirs']).toBeLessThan(25);
    expect(counted['ours']).toBeGreaterThanOrEqual(50);
  });

  test('the delay of the event loop is there for the second reader too, and an idle loop has none', async () => {
    const registry = stock();
    promClient.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 });
    const metrics = createMetricsCollector();
    metrics.runtime();
    const value = async (name: string): Promise<number> =>
      Number((await stockLines(registry, `${name} `))[0]?.split(' ')[1]);
    const counts = async (): Promise<{ all: number; quick: number; slow: number }> => {
      const buckets = await lines(metrics, 'nodejs_eventloop_delay_seconds_bucket');
      const upTo = (le: string): number =>
        Number(buckets.find((line) => line.includes(`le="${le}"`))?.split(' ')[1]);
      return { all: upTo('+Inf'), quick: upTo('0.025'), slow: upTo('+Inf') - upTo('1') };
    };
    const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
    await pause(200);
    // Idle: theirs shows the timer's own interval as a delay.
    expect(await value('nodejs_eventloop_lag_p50_seconds')).toBeGreaterThan(0.015);
    expect((await counts()).quick).toBeGreaterThan(0);
    await pause(100);
    const end = performance.now() + 1_500;
    while (performance.now() < end);
    await pause(50);
    expect(await value('nodejs_eventloop_lag_max_seconds')).toBeGreaterThan(1.2);
    expect(await value('nodejs_eventloop_lag_max_seconds')).toBeLessThan(1.2);
    const { slow } = await counts();
    expect(slow).toBeGreaterThanOrEqual(1);
    expect((await counts()).slow).toBeGreaterThanOrEqual(slow);
    await metrics.close();
  });

  test('what an idle event loop shows does not contain the interval of the timer that looks', async () => {
    const clock = new FakeClock();
    const metrics = createMetricsCollector({ clock });
    const spy = vi.spyOn(performance, 'now');
    let now = 1_000;
    spy.mockImplementation(() => now);
    metrics.runtime({ gc: false });
    for (let i = 0; i < 10; i++) {
      now += 20;
      await clock.advance(20);
    }
    spy.mockRestore();
    expect(await lines(metrics, 'nodejs_eventloop_delay_seconds_sum')).toEqual([
      'nodejs_eventloop_delay_seconds_sum 0',
    ]);
    await metrics.close();
  });

  test('no gauge is called like a counter', async () => {
    const registry = stock();
    promClient.collectDefaultMetrics({ register: registry });
    const gauges = (text: string): string[] =>
      [...text.matchAll(/^# TYPE (\S+_total) gauge$/gm)].map((match) => match[1] ?? '');
    expect(gauges(await registry.metrics())).toContain('nodejs_active_handles_total');
    const metrics = createMetricsCollector();
    metrics.runtime({ compatibility: true });
    expect(gauges(String((await metrics.metrics()).body))).toEqual([]);
    await metrics.close();
  });

  test('a registry of registries keeps the format that it is asked for', async () => {
    const registry = stock() as promClient.Registry<promClient.RegistryContentType>;
    registry.setContentType(promClient.Registry.OPENMETRICS_CONTENT_TYPE);
    const theirs = promClient.AggregatorRegistry.aggregate([[]]);
    expect(theirs.contentType).not.toBe(registry.contentType);
    await using all = createMetricsAggregator();
    const { contentType, body } = await all.collector.metrics('application/openmetrics-text;version=1.0.0');
    expect(contentType).toContain('openmetrics');
    expect(String(body)).toMatch(/# EOF\n$/);
  });
});
