import promClient from 'prom-client';
import { afterEach, expect, test, vi } from 'vitest';
import { FakeClock, trackLeaks } from '@xiaoke/core/testing';
import {
  createMetricsCollector,
  getMetricsCollector,
  MetricConflictError,
  type MetricsCollector,
} from '@xiaoke/metrics';

const open: MetricsCollector[] = [];
function collector(options: Parameters<typeof createMetricsCollector>[0] = {}): MetricsCollector {
  const made = createMetricsCollector({ selfMetrics: false, ...options });
  open.push(made);
  return made;
}
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});
const text = async (metrics: MetricsCollector, accept?: string) =>
  String((await metrics.metrics(accept)).body);
const lines = async (metrics: MetricsCollector, name: string) =>
  (await text(metrics)).split('\n').filter((line) => line.startsWith(name));

test('instruments without labels take the value alone', async () => {
  const metrics = collector({ prefix: 'app_', constLabels: { service: 'medical' } });
  metrics.counter({ name: 'jobs_total', help: 'Jobs.' }).inc(3);
  const gauge = metrics.gauge({ name: 'depth', help: 'Depth.' });
  gauge.set(7);
  gauge.dec(2);
  metrics.histogram({ name: 'wait_seconds', help: 'Wait.', buckets: [1] }).observe(0.5);
  expect(await text(metrics)).toBe(
    [
      '# HELP app_jobs_total Jobs.',
      '# TYPE app_jobs_total counter',
      'app_jobs_total{service="medical"} 3',
      '# HELP app_depth Depth.',
      '# TYPE app_depth gauge',
      'app_depth{service="medical"} 5',
      '# HELP app_wait_seconds Wait.',
      '# TYPE app_wait_seconds histogram',
      'app_wait_seconds_bucket{service="medical",le="1"} 1',
      'app_wait_seconds_bucket{service="medical",le="+Inf"} 1',
      'app_wait_seconds_sum{service="medical"} 0.5',
      'app_wait_seconds_count{service="medical"} 1',
      '',
    ].join('\n'),
  );
});

test('a series of a closed set of labels is there at 0 before its first event', async () => {
  const metrics = collector();
  metrics.counter({ name: 'a_total', help: 'h', labels: { outcome: ['ok', 'error'] } });
  const mixed = metrics.counter({
    name: 'b_total',
    help: 'h',
    labels: { queue: String, outcome: ['ok', 'error'] },
  });
  mixed.inc({ queue: 'q', outcome: 'ok' });
  expect(await lines(metrics, 'a_total')).toEqual(['a_total{outcome="ok"} 0', 'a_total{outcome="error"} 0']);
  expect(await lines(metrics, 'b_total')).toEqual([
    'b_total{queue="q",outcome="ok"} 1',
    'b_total{queue="q",outcome="error"} 0',
  ]);
});

test('ten thousand label values make no more series than the limit, and the sum stays right', async () => {
  const metrics = collector({ limits: { seriesPerMetric: 100 }, selfMetrics: true });
  const counter = metrics.counter({ name: 'hits_total', help: 'h', labels: { user: String } });
  const histogram = metrics.histogram({
    name: 'hit_seconds',
    help: 'h',
    labels: { user: String },
    buckets: [1],
  });
  for (let i = 0; i < 10_000; i++) {
    counter.inc({ user: `u${Math.floor(Math.random() * 1e9)}` });
    histogram.observe({ user: `u${i}` }, 0.25);
  }
  const series = await lines(metrics, 'hits_total');
  expect(series).toHaveLength(101);
  const sum = series.reduce((total, line) => total + Number(line.split(' ')[1]), 0);
  expect(sum).toBe(10_000);
  expect(series.filter((line) => line.includes('__overflow__'))).toHaveLength(1);
  const counts = (await lines(metrics, 'hit_seconds_count')).map((line) => Number(line.split(' ')[1]));
  expect(counts.reduce((a, b) => a + b)).toBe(10_000);
  const dropped = await lines(metrics, 'xiaoke_metrics_series_dropped_total{metric="hits_total"}');
  expect(Number(dropped[0]?.split(' ')[1])).toBeGreaterThan(9_000);
});

test('label values come out escaped', async () => {
  const metrics = collector();
  const counter = metrics.counter({ name: 'c_total', help: 'back\\slash\nline', labels: { v: String } });
  counter.inc({ v: 'quote " backslash \\ newline \n <script>alert(1)</script>' });
  expect(await lines(metrics, 'c_total')).toEqual([
    'c_total{v="quote \\" backslash \\\\ newline \\n <script>alert(1)</script>"} 1',
  ]);
  expect(await text(metrics)).toContain('# HELP c_total back\\\\slash\\nline\n');
});

test('the same definition twice is one metric, and another shape names both places', async () => {
  const metrics = collector();
  const first = metrics.counter({ name: 'c_total', help: 'h', labels: { a: String } });
  const second = metrics.counter({ name: 'c_total', help: 'other words', labels: { a: String } });
  first.inc({ a: 'x' });
  second.inc({ a: 'x' });
  expect(await lines(metrics, 'c_total')).toEqual(['c_total{a="x"} 2']);
  const conflict = () => metrics.counter({ name: 'c_total', help: 'h', labels: { b: String } });
  expect(conflict).toThrow(MetricConflictError);
  expect(conflict).toThrow(/set of labels.*collector\.test\.ts:\d+.*collector\.test\.ts:\d+/s);
  expect(() => metrics.gauge({ name: 'c_total', help: 'h' })).toThrow('kind');
  metrics.histogram({ name: 'h', help: 'h', buckets: [1] });
  expect(() => metrics.histogram({ name: 'h', help: 'h', buckets: [2] })).toThrow('buckets');
});

test('two collectors on one registry share their metrics, as after a hot reload', async () => {
  const registry = new promClient.Registry();
  const one = collector({ registry });
  const two = collector({ registry });
  one.counter({ name: 'c_total', help: 'h' }).inc();
  two.counter({ name: 'c_total', help: 'h' }).inc();
  two.gauge({ name: 'g', help: 'h', collect: (gauge) => gauge.set(5) });
  expect(await lines(one, 'c_total')).toEqual(['c_total 2']);
  expect(await lines(one, 'g')).toEqual(['g 5']);
});

test('a second copy of the package on the same registry finds the same instruments', async () => {
  vi.resetModules();
  const copy = await import('@xiaoke/metrics');
  expect(copy.createMetricsCollector).not.toBe(createMetricsCollector);
  const registry = new promClient.Registry();
  const one = collector({ registry });
  const two = copy.createMetricsCollector({ registry, selfMetrics: false });
  one
    .histogram({ name: 'h_seconds', help: 'h', buckets: [1], labels: { a: String } })
    .observe({ a: 'x' }, 0.5);
  two
    .histogram({ name: 'h_seconds', help: 'h', buckets: [1], labels: { a: String } })
    .observe({ a: 'x' }, 0.5);
  expect(await lines(two, 'h_seconds_count')).toEqual(['h_seconds_count{a="x"} 2']);
  expect(copy.getMetricsCollector()).toBe(getMetricsCollector());
  await getMetricsCollector().close();
});

test('stock metrics of the registry appear beside ours, and ours in the registry', async () => {
  const registry = new promClient.Registry();
  registry.setDefaultLabels({ zone: 'a' });
  const metrics = collector({ registry });
  const stock = new promClient.Histogram({
    name: 'stock_seconds',
    help: 'Stock.',
    labelNames: ['x'],
    buckets: [1],
    registers: [registry],
  });
  stock.observe({ x: '"1"' }, 0.5);
  new promClient.Counter({ name: 'stock_total', help: 'Stock.', registers: [registry] }).inc(2);
  metrics.counter({ name: 'own_total', help: 'Own.', labels: { a: String } }).inc({ a: 'b' }, 4);
  metrics.histogram({ name: 'own_seconds', help: 'Own.', buckets: [1] }).observe(3);
  expect(await lines(metrics, 'stock_')).toEqual([
    'stock_seconds_bucket{zone="a",le="1",x="\\"1\\""} 1',
    'stock_seconds_bucket{zone="a",le="+Inf",x="\\"1\\""} 1',
    'stock_seconds_sum{zone="a",x="\\"1\\""} 0.5',
    'stock_seconds_count{zone="a",x="\\"1\\""} 1',
    'stock_total{zone="a"} 2',
  ]);
  const theirs = await registry.metrics();
  expect(theirs).toContain('own_total{a="b",zone="a"} 4');
  expect(theirs).toContain('own_seconds_bucket{le="+Inf",zone="a"} 1');
  const merged = promClient.AggregatorRegistry.aggregate([
    await registry.getMetricsAsJSON(),
    await registry.getMetricsAsJSON(),
  ] as never);
  expect(await merged.metrics()).toContain('own_total{a="b",zone="a"} 8');
  expect(await promClient.Registry.merge([registry]).metrics()).toContain('own_total');
  expect(await text(metrics, 'application/openmetrics-text')).toContain('stock_total{zone="a"} 2\n');
});

test('a stock metric that reports one series twice is served with the sum', async () => {
  const registry = new promClient.Registry();
  const metrics = collector({ registry });
  const stock = new promClient.Counter({
    name: 'c_total',
    help: 'h',
    labelNames: ['a'],
    registers: [registry],
  });
  const labels = { a: '1' };
  stock.inc(labels);
  labels.a = '2';
  stock.inc(labels);
  expect(await lines(metrics, 'c_total')).toEqual(['c_total{a="2"} 2']);
});

test('a collector that hangs delays the scrape by its limit and nothing else', async () => {
  const metrics = collector({ collectTimeout: 100, selfMetrics: true });
  let calls = 0;
  metrics.gauge({
    name: 'stuck',
    help: 'h',
    collect: () => {
      calls += 1;
      return new Promise(() => {});
    },
  });
  metrics.gauge({ name: 'fine', help: 'h', collect: async (gauge) => gauge.set(1) });
  const started = performance.now();
  expect(await text(metrics)).toContain('\nfine 1\n');
  expect(performance.now() - started).toBeLessThan(100 + 250);
  await Promise.all([metrics.metrics(), metrics.metrics()]);
  expect(calls).toBe(1);
  const errors = await lines(metrics, 'xiaoke_metrics_collect_errors_total');
  expect(errors).toEqual(['xiaoke_metrics_collect_errors_total{collector="stuck"} 1']);
});

test('a gauge is collected anew by each scrape, and no oftener than it asks for', async () => {
  const clock = new FakeClock();
  const metrics = collector({ clock });
  let [plain, rare] = [0, 0];
  const closing = new AbortController();
  metrics.gauge({
    name: 'plain',
    help: 'h',
    collect: (gauge) => gauge.set((plain += 1)),
    signal: closing.signal,
  });
  metrics.gauge({ name: 'rare', help: 'h', collect: (gauge) => gauge.set((rare += 1)), collectEvery: '1m' });
  await metrics.metrics();
  expect(await lines(metrics, 'plain')).toEqual(['plain 2']);
  expect(await lines(metrics, 'rare')).toEqual(['rare 1']);
  await clock.advance(60_000);
  closing.abort();
  expect(await lines(metrics, 'plain')).toEqual(['plain 3']);
  expect(await lines(metrics, 'rare')).toEqual(['rare 2']);
});

test('a bound child survives a reset, and records nowhere after its series was removed', async () => {
  const metrics = collector();
  const counter = metrics.counter({ name: 'c_total', help: 'h', labels: { a: String } });
  const child = counter.with({ a: 'x' });
  child.inc(5);
  counter.reset();
  child.inc();
  expect(await lines(metrics, 'c_total')).toEqual(['c_total{a="x"} 1']);
  expect(counter.remove({ a: 'x' })).toBe(true);
  expect(counter.remove({ a: 'x' })).toBe(false);
  counter.inc({ a: 'new' }, 10);
  child.inc(100);
  expect(await lines(metrics, 'c_total')).toEqual(['c_total{a="new"} 10']);
});

test('a gauge with a ttl forgets a series that is not updated, and shows it again when it is', async () => {
  const clock = new FakeClock();
  const metrics = collector({ clock });
  const gauge = metrics.gauge({ name: 'g', help: 'h', labels: { a: String }, ttl: '1m' });
  const x = gauge.with({ a: 'x' });
  x.set(1);
  gauge.set({ a: 'y' }, 2);
  await clock.advance(59_000);
  gauge.inc({ a: 'y' });
  await clock.advance(2_000);
  expect(await lines(metrics, 'g')).toEqual(['g{a="y"} 3']);
  x.set(9);
  expect(await lines(metrics, 'g')).toEqual(['g{a="y"} 3', 'g{a="x"} 9']);
});

test('beyond its limit a gauge still sums what is added, and shows nothing that was set', async () => {
  const metrics = collector();
  const gauge = metrics.gauge({ name: 'g', help: 'h', labels: { a: String }, limit: 1 });
  gauge.set({ a: 'x' }, 1);
  gauge.set({ a: 'y' }, 50);
  gauge.inc({ a: 'z' }, 2);
  expect(await lines(metrics, 'g')).toEqual(['g{a="x"} 1', 'g{a="__overflow__"} 2']);
});

test('a state set has one state at 1, and an info holds one set of facts', async () => {
  const metrics = collector();
  const state = metrics.stateSet({ name: 's', help: 'h', labels: { b: String }, states: ['open', 'closed'] });
  state.set({ b: 'x' }, 'open');
  state.set({ b: 'x' }, 'closed');
  expect(await lines(metrics, 's')).toEqual(['s{b="x",state="open"} 0', 's{b="x",state="closed"} 1']);
  const info = metrics.info({ name: 'build', help: 'h', labels: { version: String } });
  info.set({ version: '1' });
  info.set({ version: '2' });
  expect(await lines(metrics, 'build')).toEqual(['build_info{version="2"} 1']);
  expect(await text(metrics, 'application/openmetrics-text')).toContain(
    '# TYPE build info\nbuild_info{version="2"} 1\n',
  );
});

test('a summary gives quantiles of the last minutes', async () => {
  const clock = new FakeClock();
  const metrics = collector({ clock });
  const summary = metrics.summary({ name: 's_seconds', help: 'h', quantiles: [0.5, 0.99], maxAge: '5m' });
  for (let i = 1; i <= 1_000; i++) summary.observe(i / 1_000);
  const [p50, p99] = (await lines(metrics, 's_seconds{')).map((line) => Number(line.split(' ')[1]));
  expect(p50).toBeGreaterThan(0.49);
  expect(p50).toBeLessThan(0.51);
  expect(p99).toBeGreaterThan(0.97);
  expect(p99).toBeLessThan(1.01);
  await clock.advance(6 * 60_000);
  expect((await lines(metrics, 's_seconds{'))[0]).toContain('NaN');
  expect(await lines(metrics, 's_seconds_count')).toEqual(['s_seconds_count 1000']);
});

test('an operation is counted by outcome, timed, and counted while it runs', async () => {
  const metrics = collector();
  const operation = metrics.operation('medical_requests', {
    labels: { type: ['triage'] },
    slo: { objective: 0.995, latency: { threshold: 2, objective: 0.95 } },
    classify: (error) => (error instanceof RangeError ? 'rejected' : 'error'),
  });
  await operation.run({ type: 'triage' }, async () => {
    expect(await lines(metrics, 'medical_requests_in_progress')).toEqual([
      'medical_requests_in_progress{type="triage"} 1',
    ]);
  });
  await expect(operation.run({ type: 'triage' }, () => Promise.reject(new Error('x')))).rejects.toThrow('x');
  await expect(operation.run({ type: 'triage' }, () => Promise.reject(new RangeError('y')))).rejects.toThrow(
    'y',
  );
  const running = operation.start({ type: 'triage' });
  running.end('ok');
  running.end('error');
  expect(await lines(metrics, 'medical_requests_')).toEqual([
    'medical_requests_processed_total{type="triage",outcome="ok"} 2',
    'medical_requests_processed_total{type="triage",outcome="error"} 1',
    'medical_requests_processed_total{type="triage",outcome="rejected"} 1',
    'medical_requests_in_progress{type="triage"} 0',
  ]);
  expect(await lines(metrics, 'medical_request_duration_seconds_count')).toEqual([
    'medical_request_duration_seconds_count{type="triage"} 3',
  ]);
  expect(await text(metrics)).toContain('medical_request_duration_seconds_bucket{type="triage",le="2"}');
});

test('an operation without labels runs with no labels, or with none of them said', async () => {
  const metrics = createMetricsCollector();
  const operation = metrics.operation('imports');
  expect(await operation.run(async () => 1)).toBe(1);
  expect(await operation.run({}, async () => 2)).toBe(2);
  expect(await lines(metrics, 'imports_processed_total{outcome="ok"}')).toEqual([
    'imports_processed_total{outcome="ok"} 2',
  ]);
  const wrong: unknown = 'work';
  await expect(operation.run(wrong as () => void)).rejects.toThrow('fn');
});

test('methods and functions are timed and counted by a decorator, whatever their outcome', async () => {
  const metrics = collector();
  class Service {
    @metrics.timed('scan_seconds')
    @metrics.counted('scans_total')
    @metrics.inFlight('scans_in_flight')
    async scan(fail: boolean): Promise<string> {
      if (fail) throw new Error('no');
      return 'done';
    }
  }
  const service = new Service();
  expect(await service.scan(false)).toBe('done');
  await expect(service.scan(true)).rejects.toThrow('no');
  const plain = metrics.counted('plain_total')((n: number) => {
    if (n > 1) throw new Error('big');
    return n;
  });
  expect(plain(1)).toBe(1);
  expect(() => plain(2)).toThrow('big');
  expect(await lines(metrics, 'scans_')).toEqual([
    'scans_total{outcome="ok"} 1',
    'scans_total{outcome="error"} 1',
    'scans_in_flight 0',
  ]);
  expect(await lines(metrics, 'scan_seconds_count')).toEqual([
    'scan_seconds_count{outcome="ok"} 1',
    'scan_seconds_count{outcome="error"} 1',
  ]);
  expect(await lines(metrics, 'plain_total')).toEqual([
    'plain_total{outcome="ok"} 1',
    'plain_total{outcome="error"} 1',
  ]);
});

test('a timer observes once, and at the end of its block', async () => {
  const metrics = collector();
  const histogram = metrics.histogram({ name: 'h_seconds', help: 'h', labels: { a: String } });
  {
    using timer = histogram.startTimer({ a: 'x' });
    expect(timer()).toBeGreaterThanOrEqual(0);
  }
  await expect(histogram.time({ a: 'x' }, () => Promise.reject(new Error('x')))).rejects.toThrow('x');
  expect(await lines(metrics, 'h_seconds_count')).toEqual(['h_seconds_count{a="x"} 2']);
});

test.each([
  ['a name that Prometheus refuses', { name: '1x', help: 'h' }, 'name'],
  [
    'a label that starts with two underscores',
    { name: 'x', help: 'h', labels: { __x: String } },
    'labels.__x',
  ],
  ['no help', { name: 'x', help: '' }, 'help'],
  ['an empty closed set', { name: 'x', help: 'h', labels: { a: [] } }, 'labels.a'],
  ['a limit of zero', { name: 'x', help: 'h', limit: 0 }, 'limit'],
])('%s is refused before anything is registered', async (_what, definition, option) => {
  const metrics = collector();
  expect(() => metrics.counter(definition as never)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', details: expect.objectContaining({ option }) }),
  );
  expect(metrics.registry.getMetricsAsArray()).toHaveLength(0);
});

test('bad options are refused', () => {
  for (const bad of [
    { prefix: 'a-b' },
    { limits: { seriesPerMetric: 0 } },
    { invalid: 'log' },
    { constLabels: { le: 'x' } },
    { constLabels: { a: 1 } },
    { registry: {} },
    { collectTimeout: 'soon' },
  ]) {
    expect(() => createMetricsCollector(bad as never)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
  }
  const metrics = collector();
  expect(() => metrics.histogram({ name: 'h', help: 'h', labels: { le: String } })).toThrow('reserved');
  expect(() => metrics.histogram({ name: 'h', help: 'h', buckets: [NaN] })).toThrow('buckets');
  expect(() => metrics.histogram({ name: 'h', help: 'h', native: { schema: 9 } })).toThrow('native.schema');
  expect(() => metrics.histogram({ name: 'h', help: 'h', native: { maxBuckets: 1 } })).toThrow(
    'native.maxBuckets',
  );
  expect(() => metrics.summary({ name: 'h', help: 'h', quantiles: [2] })).toThrow('quantiles');
  expect(() => metrics.operation('o', { slo: { objective: 1 } })).toThrow('slo.objective');
});

test('closing ends the runtime metrics and leaves nothing alive', async () => {
  const check = trackLeaks();
  const metrics = collector();
  metrics.runtime({ compatibility: true });
  metrics.runtime();
  expect(await text(metrics)).toContain('nodejs_eventloop_lag_p99_seconds');
  await metrics.close();
  await metrics.close();
  expect(metrics.closed).toBe(true);
  await check();
});

test('reset, remove, stats and health say what is there', async () => {
  const metrics = collector();
  const counter = metrics.counter({ name: 'c_total', help: 'h', labels: { a: String }, limit: 1 });
  counter.inc({ a: 'x' });
  expect(await metrics.healthIndicator().check({ signal: AbortSignal.timeout(1_000) })).toEqual({
    status: 'healthy',
  });
  counter.inc({ a: 'y' });
  expect(metrics.stats()).toEqual({ metrics: 1, series: 2, dropped: 1, invalid: 0, scrapes: 0 });
  expect(await metrics.healthIndicator().check({ signal: AbortSignal.timeout(1_000) })).toEqual({
    status: 'degraded',
    code: 'SERIES_LIMIT',
  });
  metrics.reset();
  expect(await lines(metrics, 'c_total')).toEqual(['c_total{a="x"} 0', 'c_total{a="__overflow__"} 0']);
  metrics.remove('c_total');
  expect(await text(metrics)).toBe('');
});
