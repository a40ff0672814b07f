/** Each defect that was found in prom-client 15: the stock metric shows it, ours does not. */
import promClient from 'prom-client';
import { describe, expect, test } from 'vitest';
import { createMetricsCollector } from '@xiaoke/metrics';

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
});
