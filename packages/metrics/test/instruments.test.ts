/** Every method of every instrument, with labels and bound. */
import { expect, test, vi } from 'vitest';
import { createMetricsAggregator } from '@xiaoke/metrics/aggregation';
import { FakeClock } from '@xiaoke/core/testing';
import {
  createMetricsCollector,
  getMetricsCollector,
  NativeHistogram,
  type MetricsCollector,
} from '@xiaoke/metrics';

const lines = async (metrics: MetricsCollector, name: string): Promise<string[]> =>
  String((await metrics.metrics()).body)
    .split('\n')
    .filter((line) => line.startsWith(name));

const create = (): MetricsCollector => createMetricsCollector({ selfMetrics: false });

test('a gauge goes up and down, by labels and bound, and refuses what is no number', async () => {
  const metrics = createMetricsCollector();
  const depth = metrics.gauge({ name: 'depth', help: 'D.', labels: { queue: String } });
  depth.set({ queue: 'a' }, 10);
  depth.inc({ queue: 'a' }, 5);
  depth.dec({ queue: 'a' });
  const bound = depth.with({ queue: 'b' });
  bound.inc();
  bound.dec(3);
  for (const wrong of ['7', null, undefined]) bound.set(wrong as never);
  bound.inc(NaN);
  depth.dec({ queue: 'b' }, Infinity);
  expect(await lines(metrics, 'depth')).toEqual(['depth{queue="a"} 14', 'depth{queue="b"} -2']);
  expect(await lines(metrics, 'xiaoke_metrics_invalid_total{metric="depth"}')).toEqual([
    'xiaoke_metrics_invalid_total{metric="depth"} 5',
  ]);
  depth.reset();
  expect(await lines(metrics, 'depth')).toEqual(['depth{queue="a"} 0', 'depth{queue="b"} 0']);
  depth.remove({ queue: 'a' });
  expect(await lines(metrics, 'depth')).toEqual(['depth{queue="b"} 0']);
});

test('a histogram is observed, timed and reset, by labels and bound', async () => {
  const metrics = create();
  const wait = metrics.histogram({
    name: 'w',
    help: 'W.',
    labels: { queue: String },
    buckets: [60],
    native: true,
  });
  wait.observe({ queue: 'a' }, 3);
  expect(await wait.time({ queue: 'a' }, () => Promise.resolve('done'))).toBe('done');
  await expect(wait.time({ queue: 'a' }, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  const stop = wait.startTimer({ queue: 'a' });
  expect(stop()).toBe(stop());
  wait.with({ queue: 'b' }).observe(100);
  wait.with({ queue: 'b' }).observe(NaN);
  expect(await lines(metrics, 'w_count')).toEqual(['w_count{queue="a"} 4', 'w_count{queue="b"} 1']);
  expect(await lines(metrics, 'w_bucket{queue="b"')).toEqual([
    'w_bucket{queue="b",le="60"} 0',
    'w_bucket{queue="b",le="+Inf"} 1',
  ]);
  wait.reset();
  expect(await lines(metrics, 'w_count')).toEqual(['w_count{queue="a"} 0', 'w_count{queue="b"} 0']);
  expect((await metrics.snapshot())[0]?.natives.map(({ histogram }) => histogram.count)).toEqual([0, 0]);
  expect(wait.remove({ queue: 'a' })).toBe(true);
  expect(wait.remove({ queue: 'a' })).toBe(false);
  expect(wait.remove({ wrong: 'a' } as never)).toBe(false);
});

test('a summary has labels, bound children, and an end', async () => {
  const clock = new FakeClock();
  const metrics = createMetricsCollector({ selfMetrics: false, clock });
  const sizes = metrics.summary({ name: 's', help: 'S.', labels: { kind: String }, quantiles: [0, 0.5, 1] });
  for (let i = 1; i <= 9; i++) sizes.observe({ kind: 'a' }, i);
  sizes.with({ kind: 'b' }).observe(4);
  sizes.observe({ kind: 'b' }, NaN);
  const [least, middle, most] = (await lines(metrics, 's{kind="a"')).map((line) =>
    Number(line.split(' ')[1]),
  );
  expect(least).toBeCloseTo(1, 1);
  expect(middle).toBeGreaterThan(4.4);
  expect(middle).toBeLessThan(5.6);
  expect(Math.abs((most ?? 0) / 9 - 1)).toBeLessThan(0.022);
  expect(await lines(metrics, 's_count')).toEqual(['s_count{kind="a"} 9', 's_count{kind="b"} 1']);
  const openMetrics = String((await metrics.metrics('application/openmetrics-text')).body);
  expect(openMetrics).toContain('s{kind="b",quantile="0.5"}');
  expect(openMetrics).toContain('s{kind="b",quantile="1.0"}');
  const protobuf = await metrics.metrics(
    'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited',
  );
  expect(protobuf.body).toBeInstanceOf(Buffer);
  sizes.reset();
  expect(await lines(metrics, 's_sum')).toEqual(['s_sum{kind="a"} 0', 's_sum{kind="b"} 0']);
  expect(sizes.remove({ kind: 'a' })).toBe(true);
  const plain = metrics.summary({ name: 'p', help: 'P.', maxAge: '1m' });
  plain.observe(1);
  plain.reset();
  expect(await lines(metrics, 'p_count')).toEqual(['p_count 0']);
});

test('a counter forgets, begins again, and takes any text as a label', async () => {
  const metrics = create();
  const jobs = metrics.counter({ name: 'c_total', help: 'C.', labels: { a: String, b: String } });
  jobs.inc({ a: 1 as never, b: true as never });
  jobs.inc({ a: '1', b: 'true' });
  jobs.inc(null as never);
  jobs.inc(undefined as never);
  jobs.inc(7 as never);
  jobs.inc({ a: {} as never, b: 'x' });
  jobs.inc({ a: 'x', b: undefined as never });
  expect(await lines(metrics, 'c_total')).toEqual([
    'c_total{a="1",b="true"} 2',
    'c_total{a="__overflow__",b="__overflow__"} 5',
  ]);
  jobs.reset();
  expect((await lines(metrics, 'c_total'))[0]).toBe('c_total{a="1",b="true"} 0');
  // A property of the prototype is no label.
  const odd = metrics.counter({ name: 'odd_total', help: 'O.', labels: { constructor: String } });
  odd.inc({} as never);
  expect(await lines(metrics, 'odd_total')).toEqual(['odd_total{constructor="__overflow__"} 1']);
});

test('a series that comes and goes many times leaves nothing behind', async () => {
  const metrics = create();
  const gauge = metrics.gauge({ name: 'g', help: 'G.', labels: { id: String, kind: String } });
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 40; i++) gauge.set({ id: `${round}-${i}`, kind: `k${i % 3}` }, i);
    for (let i = 0; i < 40; i++) expect(gauge.remove({ id: `${round}-${i}`, kind: `k${i % 3}` })).toBe(true);
  }
  expect(await lines(metrics, 'g')).toEqual([]);
  expect(metrics.stats()).toMatchObject({ series: 0, dropped: 0 });
  gauge.set({ id: 'a', kind: 'b' }, 1);
  expect(await lines(metrics, 'g')).toEqual(['g{id="a",kind="b"} 1']);
});

test('a state set refuses a state that it does not have, with labels and without', async () => {
  const metrics = createMetricsCollector();
  const plain = metrics.stateSet({ name: 'mode', help: 'M.', states: ['on', 'off'], stateLabel: 'mode' });
  plain.set('on');
  plain.set('broken' as never);
  expect(await lines(metrics, 'mode{')).toEqual(['mode{mode="on"} 1', 'mode{mode="off"} 0']);
  expect((await lines(metrics, 'xiaoke_metrics_invalid_total{metric="mode"}'))[0]).toMatch(/ 1$/);
  plain.set('off');
  expect(await lines(metrics, 'mode{')).toEqual(['mode{mode="on"} 0', 'mode{mode="off"} 1']);
});

test('the process-wide collector is one, and lives on the global registry of prom-client', async () => {
  const global = getMetricsCollector();
  expect(getMetricsCollector()).toBe(global);
  const { default: promClient } = await import('prom-client');
  expect(global.registry).toBe(promClient.register);
  global.counter({ name: 'global_total', help: 'G.' }).inc();
  expect(await promClient.register.metrics()).toContain('global_total 1');
  global.remove('global_total');
  expect(await promClient.register.metrics()).not.toContain('global_total');
});

test('a registry that is none, and definitions that are none, are refused', () => {
  const refused = expect.objectContaining({ code: 'INVALID_OPTION' });
  expect(() => createMetricsCollector({ registry: {} as never })).toThrow(refused);
  expect(() => createMetricsCollector({ constLabels: { le: 'x' } })).toThrow(refused);
  expect(() => createMetricsCollector({ constLabels: { a: 1 as never } })).toThrow(refused);
  expect(() => createMetricsCollector({ limits: { seriesPerMetric: 0 } })).toThrow(refused);
  expect(() => createMetricsCollector({ invalid: 'ignore' as never })).toThrow(refused);
  const metrics = create();
  expect(() => metrics.counter(null as never)).toThrow(refused);
  expect(() => metrics.counter({ name: 'c', help: ' ' })).toThrow(refused);
  expect(() => metrics.counter({ name: 'c', help: 'C.', limit: 0 })).toThrow(refused);
  expect(() => metrics.counter({ name: 'c', help: 'C.', labels: { a: [] } })).toThrow(refused);
  expect(() => metrics.histogram({ name: 'h', help: 'H.', buckets: [NaN] })).toThrow(refused);
  expect(() => metrics.histogram({ name: 'h', help: 'H.', labels: { le: String } })).toThrow(refused);
  expect(() => metrics.histogram({ name: 'h', help: 'H.', native: { schema: 9 } })).toThrow(refused);
  expect(() => metrics.histogram({ name: 'h', help: 'H.', native: { maxBuckets: 10 } })).toThrow(refused);
  expect(() => metrics.summary({ name: 's', help: 'S.', quantiles: [2] })).toThrow(refused);
  expect(() => metrics.gauge({ name: 'g', help: 'G.', collect: 1 as never })).toThrow(refused);
  expect(() => metrics.operation('o', { slo: { objective: 1 } })).toThrow(refused);
  expect(() =>
    metrics.operation('o', { slo: { objective: 0.9, latency: { threshold: 0, objective: 0.9 } } }),
  ).toThrow(refused);
});

test('the runtime metrics are there once, with values that make sense', async () => {
  const metrics = createMetricsCollector();
  metrics.runtime({ compatibility: true });
  metrics.runtime();
  const burn = performance.now() + 50;
  while (performance.now() < burn);
  await vi.waitFor(async () => {
    const value = async (name: string): Promise<number> =>
      Number((await lines(metrics, `${name} `))[0]?.split(' ')[1]);
    expect(await value('process_cpu_seconds_total')).toBeGreaterThan(0.04);
    expect(await value('process_resident_memory_bytes')).toBeGreaterThan(1e7);
    expect(
      Math.abs((await value('process_start_time_seconds')) - (Date.now() / 1_000 - process.uptime())),
    ).toBeLessThan(2);
    expect(await value('nodejs_eventloop_active_seconds_total')).toBeGreaterThan(0);
    expect(await value('nodejs_eventloop_delay_seconds_count')).toBeGreaterThan(0);
    expect(await value('nodejs_heap_size_used_bytes')).toBeGreaterThan(1e6);
    expect(await value('process_open_fds')).toBeGreaterThan(2);
    expect(await value('process_max_fds')).toBeGreaterThan(10);
    expect(await value('process_virtual_memory_bytes')).toBeGreaterThan(1e7);
  });
  expect((await lines(metrics, 'nodejs_version_info'))[0]).toContain(`version="${process.version}"`);
  expect(await lines(metrics, 'nodejs_active_resources')).not.toEqual([]);
  await metrics.close();
});

test('a native histogram of the finest schema falls back to what its buckets allow', () => {
  const wide = new NativeHistogram(8, 80);
  for (let power = -100; power <= 100; power++) wide.observe(2 ** power);
  expect(wide.schema).toBeLessThan(0);
  expect(wide.count).toBe(201);
});

test('a label of the metric itself wins over a constant one of the same name', async () => {
  const metrics = createMetricsCollector({ selfMetrics: false, constLabels: { service: 'a', zone: 'z' } });
  const jobs = metrics.counter({ name: 'c_total', help: 'C.', labels: { service: String } });
  jobs.inc({ service: 'own' });
  expect(await lines(metrics, 'c_total')).toEqual(['c_total{zone="z",service="own"} 1']);
  expect((await metrics.snapshot())[0]?.samples[0]?.labels).toEqual({ zone: 'z', service: 'own' });
  expect(await metrics.registry.metrics()).toContain('c_total{zone="z",service="own"} 1');
});

test('default labels of the registry are on our metrics as on its own, whenever they are set', async () => {
  const { default: promClient } = await import('prom-client');
  const registry = new promClient.Registry();
  const metrics = createMetricsCollector({ registry, selfMetrics: false, constLabels: { service: 's' } });
  metrics.counter({ name: 'c_total', help: 'C.', labels: { kind: String } }).inc({ kind: 'x' });
  metrics.histogram({ name: 'h', help: 'H.', buckets: [1] }).observe(2);
  await using all = createMetricsAggregator({ local: metrics });
  expect(await lines(all.collector, 'c_total')).toEqual(['c_total{service="s",kind="x"} 1']);
  registry.setDefaultLabels({ app: 'one', kind: 'default', service: 'default' });
  expect(await lines(metrics, 'c_total')).toEqual(['c_total{app="one",service="s",kind="x"} 1']);
  expect(await lines(metrics, 'h_count')).toEqual(['h_count{app="one",kind="default",service="s"} 1']);
  registry.setDefaultLabels({ app: 'two' });
  expect(await lines(metrics, 'c_total')).toEqual(['c_total{app="two",service="s",kind="x"} 1']);
  expect(await registry.metrics()).toContain('kind="x",app="two"} 1');
  // The sums had another shape first; the series without the label goes.
  expect(await lines(all.collector, 'c_total')).toEqual([]);
});
