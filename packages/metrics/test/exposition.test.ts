/** What is served, read by the real Prometheus and promtool. */
import { spawnSync } from 'node:child_process';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import promClient from 'prom-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { promtoolPath, startPrometheus, type MonitoringServer } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { createMetricsCollector, type MetricsCollector } from '@xiaoke/metrics';
import { api } from './support/prometheus.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const UGLY = 'a "quoted" \\ back\nslash <script>alert(1)</script> ü€😀';
const FORMATS = ['text', 'openmetrics', 'protobuf'] as const;

function filled(): MetricsCollector {
  const registry = new promClient.Registry();
  const metrics = createMetricsCollector({
    registry,
    constLabels: { service: 'medical' },
    exemplars: () => ({ trace_id: TRACE }),
  });
  metrics.counter({ name: 'jobs_total', help: 'Say "hi" \\ now.\nTwice.', labels: { kind: String } });
  const jobs = metrics.counter({
    name: 'jobs_total',
    help: 'Say "hi" \\ now.\nTwice.',
    labels: { kind: String },
  });
  jobs.inc({ kind: UGLY }, 3);
  jobs.inc({ kind: '' }, 1e21);
  jobs.inc({ kind: 'tiny' }, 1.5e-9);
  metrics.counter({ name: 'unsuffixed', help: 'A counter without the suffix.' }).inc(4);
  const depth = metrics.gauge({ name: 'depth', help: 'Depth.', labels: { queue: String } });
  const values = { minus: -7.25, nan: NaN, inf: Infinity, ninf: -Infinity, zero: -0 };
  for (const [queue, value] of Object.entries(values)) depth.set({ queue }, value);
  const wait = metrics.histogram({
    name: 'wait_seconds',
    help: 'Wait.',
    labels: { queue: String },
    buckets: [0.1, 1, 1e6],
  });
  for (const value of [0.05, 0.5, 0.7, 30, 1e9]) wait.observe({ queue: 'a' }, value);
  const native = metrics.histogram({ name: 'native_seconds', help: 'N.', buckets: [0.5], native: true });
  for (let i = 1; i <= 1_000; i++) native.observe(i / 1_000);
  const signed = metrics.histogram({ name: 'signed', help: 'S.', buckets: [0], native: { schema: 2 } });
  for (let i = -50; i <= 50; i++) signed.observe(i * 100);
  const summary = metrics.summary({ name: 'sum_seconds', help: 'S.', quantiles: [0.5, 1] });
  for (let i = 0; i < 100; i++) summary.observe(4);
  metrics.info({ name: 'build', help: 'Build.', labels: { version: String } }).set({ version: '1.2' });
  metrics
    .stateSet({ name: 'breaker', help: 'State.', labels: { name: String }, states: ['open', 'closed'] })
    .set({ name: 'pg' }, 'open');
  const registers = [registry];
  new promClient.Counter({ name: 'stock_total', help: 'S "q"', labelNames: ['a'], registers }).inc(
    { a: UGLY },
    2,
  );
  new promClient.Gauge({ name: 'stock_depth', help: 'S', registers }).set(-1.5);
  const stock = new promClient.Histogram({
    name: 'stock_seconds',
    help: 'S',
    buckets: [1, 2],
    labelNames: ['a'],
    registers,
  });
  for (const value of [0.5, 1.5, 9]) stock.observe({ a: 'x' }, value);
  const quantiles = new promClient.Summary({
    name: 'stock_quantiles',
    help: 'S',
    percentiles: [0.5],
    registers,
  });
  for (let i = 0; i < 9; i++) quantiles.observe(3);
  return metrics;
}

const FIXED =
  '{__name__=~"jobs_total|unsuffixed.*|depth|wait_.*|sum_seconds.*|build_info|breaker|stock_.*",job="FORMAT"}';
type Vector = { result: { metric: Record<string, string>; value: [number, string] }[] };

let prometheus: MonitoringServer;
let server: Server;
let port: number;
const metrics = filled();

beforeAll(async () => {
  const handler = metrics.handler();
  server = createServer((request, response) => void handler(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
  const jobs = FORMATS.map(
    (format) => `
  - job_name: ${format}
    params: { format: [${format}] }
    static_configs: [{ targets: ['127.0.0.1:${port}'] }]`,
  );
  prometheus = await startPrometheus({
    config: `
global: { scrape_interval: 300ms, scrape_timeout: 300ms }
scrape_configs:${jobs.join('')}
  - job_name: negotiated
    static_configs: [{ targets: ['127.0.0.1:${port}'] }]
`,
    args: ['--enable-feature=native-histograms,exemplar-storage'],
  });
  await eventually(
    async () => {
      const { result } = await api<Vector>(prometheus.url, 'query', { query: 'up == 1' });
      return result.length === FORMATS.length + 1;
    },
    { timeout: 20_000 },
  );
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await metrics.close();
  await prometheus.stop();
});

/** What Prometheus has of a job, without its own labels; each series on a line. */
async function stored(format: string): Promise<string[]> {
  const { result } = await api<Vector>(prometheus.url, 'query', { query: FIXED.replace('FORMAT', format) });
  return result.map(({ metric, value }) => line(metric, Number(value[1].replace('Inf', 'Infinity')))).sort();
}

function line({ job: _job, instance: _instance, ...labels }: Record<string, string>, value: number): string {
  const bound = labels['le'] ?? labels['quantile'];
  const named = Object.entries(labels)
    .filter(([name, text]) => text !== '' && name !== 'le' && name !== 'quantile')
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([
    named,
    bound === undefined ? null : Number(bound.replace('Inf', 'Infinity')),
    String(value),
  ]);
}

/** The same of what we hold; OpenMetrics adds the suffix that a counter lacks. */
async function held(format: string): Promise<string[]> {
  const pattern = /^(jobs_total|unsuffixed|depth|wait_.*|sum_seconds.*|build_info|breaker|stock_.*)$/;
  return (await metrics.snapshot())
    .flatMap(({ samples }) => samples)
    .filter(({ name }) => pattern.test(name))
    .map(({ name, labels, value }) => {
      const called = name === 'unsuffixed' && format === 'openmetrics' ? 'unsuffixed_total' : name;
      return line({ ...labels, __name__: called }, value);
    })
    .sort();
}

describe('a real Prometheus', () => {
  test.each(FORMATS)('reads every value from %s as it is', async (format) => {
    const ours = await held(format);
    expect(ours.length).toBeGreaterThan(30);
    await eventually(async () => expect(await stored(format)).toEqual(ours), { timeout: 10_000 });
  });

  test('asks for protobuf by itself when native histograms are on, and gets all of it', async () => {
    const count = async (job: string, name: string): Promise<number> =>
      (await api<Vector>(prometheus.url, 'query', { query: `${name}{job="${job}"}` })).result.length;
    // As a native histogram it is one series without suffix.
    expect(await count('negotiated', 'native_seconds')).toBe(1);
    expect(await count('text', 'native_seconds')).toBe(0);
    expect(await count('text', 'native_seconds_bucket')).toBe(2);
  });

  test.each([0.1, 0.5, 0.9, 0.99])(
    'knows quantile %d of a native histogram within its promise',
    async (q) => {
      const query = `histogram_quantile(${q}, native_seconds{job="protobuf"})`;
      const { result } = await api<Vector>(prometheus.url, 'query', { query });
      // Schema 3: neighbours are 9 % apart, so nothing is off by more than 4.5 % of the middle.
      expect(Math.abs(Number(result[0]?.value[1]) / q - 1)).toBeLessThan(0.045);
    },
  );

  test('has the count, the sum and the negative half of a native histogram', async () => {
    const one = async (query: string): Promise<number> =>
      Number((await api<Vector>(prometheus.url, 'query', { query })).result[0]?.value[1]);
    expect(await one('histogram_count(native_seconds{job="protobuf"})')).toBe(1_000);
    expect(await one('histogram_sum(native_seconds{job="protobuf"})')).toBeCloseTo(500.5, 9);
    expect(await one('histogram_fraction(-Inf, 0, signed{job="protobuf"})')).toBeCloseTo(50.5 / 101, 1);
    expect(Math.abs((await one('histogram_quantile(0.25, signed{job="protobuf"})')) + 2_500)).toBeLessThan(
      300,
    );
  });

  test.each(['openmetrics', 'protobuf'])('keeps the trace of an exemplar from %s', async (job) => {
    const found = await api<{ seriesLabels: Record<string, string>; exemplars: { labels: object }[] }[]>(
      prometheus.url,
      'query_exemplars',
      { query: `{job="${job}"}`, start: '0', end: String(Date.now() / 1_000 + 60) },
    );
    const names = found.map(({ seriesLabels }) => seriesLabels['__name__']);
    expect(names).toContain('jobs_total');
    expect(names).toContain('wait_seconds_bucket');
    expect(found[0]?.exemplars[0]?.labels).toEqual({ trace_id: TRACE });
  });
});

test('plain text never carries an exemplar', async () => {
  expect(String((await metrics.metrics('text/plain')).body)).not.toContain(TRACE);
  expect(String((await metrics.metrics('application/openmetrics-text')).body)).toContain(TRACE);
});

test('promtool finds nothing wrong, the metrics of the runtime and of ourselves included', async () => {
  const all = createMetricsCollector();
  all.runtime();
  all.operation('requests', { labels: { type: ['a'] } });
  const http = createServer();
  all.nodeHttp(http);
  const { body } = await all.metrics();
  const { stdout, stderr, status } = spawnSync(promtoolPath(), ['check', 'metrics'], { input: String(body) });
  expect([String(stdout), String(stderr), status]).toEqual(['', '', 0]);
  await all.close();
  // prom-client's own do not pass.
  const registry = new promClient.Registry();
  promClient.collectDefaultMetrics({ register: registry });
  const theirs = spawnSync(promtoolPath(), ['check', 'metrics'], { input: await registry.metrics() });
  expect(theirs.status).not.toBe(0);
});

describe('the handler', () => {
  const get = (options: { path?: string; method?: string; headers?: Record<string, string> } = {}) =>
    new Promise<{ response: IncomingMessage; body: Buffer }>((resolve, reject) => {
      httpRequest({ port, host: '127.0.0.1', ...options }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve({ response, body: Buffer.concat(chunks) }));
        response.on('error', reject);
      })
        .on('error', reject)
        .end();
    });

  test.each([
    [undefined, 'text/plain; version=0.0.4'],
    ['*/*', 'text/plain; version=0.0.4'],
    ['text/html,application/xhtml+xml,*/*;q=0.8', 'text/plain; version=0.0.4'],
    ['application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5', 'application/openmetrics-text'],
    ['application/openmetrics-text;version=0.0.1', 'application/openmetrics-text'],
    ['application/openmetrics-text;version=2.0.0,text/plain;q=0.1', 'text/plain'],
    ['application/openmetrics-text;q=0,text/plain', 'text/plain'],
    [
      'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,*/*;q=0.1',
      'application/vnd.google.protobuf',
    ],
    [
      'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text,*/*;q=0.1',
      'text/plain',
    ],
    ['application/json', 'text/plain'],
  ])('answers Accept: %s with %s', async (accept, type) => {
    const { response, body } = await get({ headers: accept === undefined ? {} : { accept } });
    expect(response.headers['content-type']).toContain(type);
    expect(response.headers['vary']).toContain('accept');
    expect(String(body).endsWith('# EOF\n')).toBe(type.startsWith('application/openmetrics'));
  });

  test('compresses for those who can, and the content is the same', async () => {
    const { response, body } = await get({ headers: { 'accept-encoding': 'deflate, gzip;q=0.5' } });
    expect(response.headers['content-encoding']).toBe('gzip');
    expect(String(gunzipSync(body))).toContain('jobs_total{service="medical",kind=""} 1e+21');
    const plain = await get({ headers: { 'accept-encoding': 'gzip;q=0' } });
    expect(plain.response.headers['content-encoding']).toBeUndefined();
  });

  test('answers HEAD without a body and refuses what is no reading', async () => {
    const head = await get({ method: 'HEAD' });
    expect([head.response.statusCode, head.body.length]).toEqual([200, 0]);
    const posted = await get({ method: 'POST' });
    expect([posted.response.statusCode, posted.response.headers['allow']]).toEqual([405, 'GET, HEAD']);
  });

  test('ends its work when the reader hangs up, and goes on answering others', async () => {
    const big = createMetricsCollector({ limits: { seriesPerMetric: 100_000 } });
    const counter = big.counter({ name: 'c_total', help: 'C.', labels: { id: String } });
    for (let i = 0; i < 60_000; i++) counter.inc({ id: `a-rather-long-label-value-${i}` });
    const answers: Promise<void>[] = [];
    const handler = big.handler();
    const own = createServer((request, response) => void answers.push(handler(request, response)));
    await new Promise<void>((resolve) => own.listen(0, '127.0.0.1', resolve));
    const at = (own.address() as AddressInfo).port;
    await new Promise<void>((resolve) => {
      const request = httpRequest({ port: at, host: '127.0.0.1' }, (response) => {
        response.once('data', () => {
          response.destroy();
          resolve();
        });
      }).end();
      request.on('error', () => {});
    });
    await Promise.all(answers);
    const whole = await fetch(`http://127.0.0.1:${at}/`);
    expect((await whole.text()).match(/^c_total\{/gm)).toHaveLength(60_000);
    own.closeAllConnections();
    own.close();
  });
});
