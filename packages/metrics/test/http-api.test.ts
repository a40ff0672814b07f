/** The query API as its clients use it, and what it refuses. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sharedRedis } from '@xiaoke/test-servers';
import { FakeClock } from '@xiaoke/core/testing';
import { createMetricsCollector } from '@xiaoke/metrics';
import { createAlertManager } from '@xiaoke/metrics/alerts';
import {
  createTimeSeriesStore,
  fileStorage,
  memoryStorage,
  redisStorage,
  type StorageOption,
} from '@xiaoke/metrics/store';

const clock = new FakeClock();
const start = clock.now();
const metrics = createMetricsCollector({ clock, exemplars: () => ({ trace_id: 'abc' }) });
const store = createTimeSeriesStore({ clock });
const alerts = createAlertManager({
  rules: [{ alert: 'Always', expr: 'vector(1)', labels: { severity: 'none' } }],
  source: store,
  clock,
});
let server: Server;
let url: string;

beforeAll(async () => {
  store.attach(metrics, { labels: { instance: 'i1' } });
  const jobs = metrics.counter({ name: 'jobs_total', help: 'Jobs.', labels: { kind: String } });
  const wait = metrics.histogram({ name: 'wait_seconds', help: 'Wait.', buckets: [1, 2] });
  for (let i = 0; i < 60; i++) {
    jobs.inc({ kind: '<script>"\n' }, 2);
    wait.observe(1.5);
    await clock.advance(10_000);
  }
  await alerts.evaluate();
  const handler = store.httpApi({ alerts });
  server = createServer((request, response) => {
    void handler(request, response, () => response.writeHead(418).end('not mine'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await alerts.close();
  await store.close();
  await metrics.close();
});

interface Answer {
  status: string;
  data?: unknown;
  errorType?: string;
  error?: string;
}

async function ask(path: string, parameters: Record<string, string> = {}, init: RequestInit = {}) {
  const response = await fetch(`${url}/api/v1/${path}?${String(new URLSearchParams(parameters))}`, init);
  return { status: response.status, body: (await response.json()) as Answer };
}

describe('answers', () => {
  test('a query by GET and by form, values as text and times in seconds', async () => {
    const query = 'increase(jobs_total[1m])';
    const got = await ask('query', { query });
    const [one] = (got.body.data as { result: { metric: object; value: [number, string] }[] }).result;
    expect(one?.metric).toEqual({ kind: '<script>"\n', instance: 'i1' });
    expect(one?.value[0]).toBe(clock.now() / 1_000);
    expect(Number(one?.value[1])).toBeCloseTo(12, 6);
    const body = new URLSearchParams({ query });
    const posted = await fetch(`${url}/api/v1/query`, { method: 'POST', body });
    expect(await posted.json()).toEqual(got.body);
  });

  test('a range, with a step in seconds or as a duration, and a time as a date', async () => {
    const span = { start: new Date(start + 60_000).toISOString(), end: String((start + 300_000) / 1_000) };
    const plain = await ask('query_range', { query: 'sum(jobs_total)', ...span, step: '60' });
    expect(plain.body.data).toMatchObject({ resultType: 'matrix' });
    const [series] = (plain.body.data as { result: { values: unknown[] }[] }).result;
    expect(series?.values).toHaveLength(5);
    expect((await ask('query_range', { query: 'sum(jobs_total)', ...span, step: '1m' })).body).toEqual(
      plain.body,
    );
  });

  test('scalars and strings', async () => {
    expect((await ask('query', { query: '1 + 1' })).body.data).toMatchObject({
      resultType: 'scalar',
      result: [expect.any(Number), '2'],
    });
    expect((await ask('query', { query: '"x"' })).body.data).toMatchObject({
      resultType: 'string',
      result: [expect.any(Number), 'x'],
    });
    expect((await ask('query', { query: '-1/0' })).body.data).toMatchObject({
      result: [expect.any(Number), '-Inf'],
    });
  });

  test('labels, values, series and metadata', async () => {
    expect((await ask('labels')).body.data).toContain('kind');
    expect((await ask('label/kind/values')).body.data).toEqual(['<script>"\n']);
    expect((await ask('label/kind/values', { 'match[]': 'wait_seconds_count' })).body.data).toEqual([]);
    expect((await ask('series', { 'match[]': '{__name__=~"wait_.*_count"}' })).body.data).toEqual([
      { __name__: 'wait_seconds_count', instance: 'i1' },
    ]);
    expect((await ask('metadata', { metric: 'jobs_total' })).body.data).toEqual({
      jobs_total: [{ type: 'counter', help: 'Jobs.', unit: '' }],
    });
  });

  test('exemplars of the bucket they fell into', async () => {
    const { body } = await ask('query_exemplars', { query: 'wait_seconds_bucket', start: '0' });
    expect(body.data).toEqual([
      {
        seriesLabels: { __name__: 'wait_seconds_bucket', le: '2', instance: 'i1' },
        exemplars: [{ labels: { trace_id: 'abc' }, value: '1.5', timestamp: expect.any(Number) }],
      },
    ]);
    expect((await ask('query_exemplars', { query: 'wait_seconds_bucket', end: '1' })).body.data).toEqual([]);
  });

  test('rules and alerts, and what Grafana asks first', async () => {
    expect((await ask('rules')).body.data).toMatchObject({
      groups: [{ rules: [{ name: 'Always', state: 'firing' }] }],
    });
    expect((await ask('alerts')).body.data).toMatchObject({
      alerts: [{ labels: { alertname: 'Always' }, state: 'firing' }],
    });
    expect((await ask('status/buildinfo')).body.data).toMatchObject({ version: expect.any(String) });
    const alone = store.httpApi();
    const ended = await new Promise<string>((resolve) => {
      const response = { statusCode: 0, setHeader: () => {}, end: (text?: string) => resolve(text ?? '') };
      const request = Object.assign((async function* () {})(), { url: '/api/v1/rules', headers: {} });
      void alone(request, response);
    });
    expect(JSON.parse(ended)).toEqual({ status: 'success', data: { groups: [] } });
  });
});

describe('refuses', () => {
  test.each([
    ['query', {}, 400, 'bad_data'],
    ['query', { query: 'sum(' }, 400, 'bad_data'],
    ['query', { query: 'holt_winters(x[5m], 0.1, 0.1)' }, 400, 'bad_data'],
    ['query', { query: 'x', time: 'yesterday' }, 400, 'bad_data'],
    ['query_range', { query: 'x', start: '0', end: '1' }, 400, 'bad_data'],
    ['query_range', { query: 'x', start: '10', end: '0', step: '1' }, 400, 'bad_data'],
    ['query_range', { query: 'x', start: '0', end: '1000000', step: '1' }, 400, 'bad_data'],
    ['series', {}, 400, 'bad_data'],
    ['series', { 'match[]': 'rate(x[5m])' }, 400, 'bad_data'],
    ['nonsense', {}, 404, 'not_found'],
  ])('%s %j with %i %s', async (path, parameters, status, errorType) => {
    const answer = await ask(path, parameters);
    expect([answer.status, answer.body.errorType]).toEqual([status, errorType]);
    expect(answer.body.error).toMatch(/\w+/);
  });

  test('what is no reading, and a body beyond all measure', async () => {
    const removed = await fetch(`${url}/api/v1/query?query=1`, { method: 'DELETE' });
    expect([removed.status, removed.headers.get('allow')]).toEqual([405, 'GET, HEAD, POST']);
    const body = new URLSearchParams({ query: 'x'.repeat(1_100_000) });
    const big = await fetch(`${url}/api/v1/query`, { method: 'POST', body });
    expect(big.status).toBe(400);
  });

  test('nothing of a path that is not its own: that is for others', async () => {
    const other = await fetch(`${url}/elsewhere`);
    expect([other.status, await other.text()]).toEqual([418, 'not mine']);
  });

  test('what went wrong inside is not told', async () => {
    const broken = createTimeSeriesStore({ clock });
    const handler = broken.httpApi({
      alerts: {
        rulesApi: () => {
          throw new Error('the password is s3cret');
        },
        alertsApi: () => ({}),
      },
    });
    let sent = '';
    const response = { statusCode: 0, setHeader: () => {}, end: (text?: string) => (sent = text ?? '') };
    const request = Object.assign((async function* () {})(), { url: '/api/v1/rules', headers: {} });
    await handler(request, response);
    expect([response.statusCode, sent]).toEqual([500, expect.not.stringContaining('s3cret')]);
    await broken.close();
    const closed = Object.assign((async function* () {})(), { url: '/api/v1/query?query=x', headers: {} });
    await handler(closed, response);
    expect(response.statusCode).toBe(503);
  });
});

describe('a store', () => {
  const directory = mkdtempSync(join(tmpdir(), 'store-forms-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test.each<[string, () => Promise<StorageOption>]>([
    ['memory, by name', () => Promise.resolve('memory')],
    ['memory', () => Promise.resolve(memoryStorage())],
    ['a directory, as data', () => Promise.resolve({ file: join(directory, 'a') })],
    ['a directory', () => Promise.resolve(fileStorage(join(directory, 'b')))],
    [
      'Redis, as data',
      async () => ({ redis: (await sharedRedis()).url, namespace: `forms-${process.pid}-a` }),
    ],
    ['Redis', async () => redisStorage((await sharedRedis()).url, { namespace: `forms-${process.pid}-b` })],
  ])('may be in %s, and is asked in either words', async (_, storage) => {
    const own = createTimeSeriesStore({ storage: await storage(), clock });
    const now = Math.floor(clock.now() / 10_000) * 10_000;
    await own.append(now, [{ labels: { __name__: 'x' }, value: 7, kind: 'gauge' }]);
    const first = await own.query('x', { from: now, to: now, step: '10s' });
    expect(first).toMatchObject({ type: 'matrix', series: [{ points: [[now, 7]] }] });
    expect(await own.query('x', { start: new Date(now), end: now, step: 10_000 })).toEqual(first);
    await own.close();
  });

  test.each([
    ['storage', () => createTimeSeriesStore({ storage: 'disk' as never })],
    ['storage', () => createTimeSeriesStore({ storage: {} as never })],
    ['tiers', () => createTimeSeriesStore({ tiers: [] })],
    [
      'tiers.1.step',
      () =>
        createTimeSeriesStore({
          tiers: [
            { step: '10s', keep: '1h' },
            { step: '15s', keep: '2h' },
          ],
        }),
    ],
    [
      'tiers.1.keep',
      () =>
        createTimeSeriesStore({
          tiers: [
            { step: '10s', keep: '1h' },
            { step: '1m', keep: '1m' },
          ],
        }),
    ],
    ['maxBytes', () => createTimeSeriesStore({ maxBytes: 1 })],
    ['maxQuerySamples', () => createTimeSeriesStore({ maxQuerySamples: 0 })],
  ])('with a bad %s is refused', (option, make) => {
    expect(make).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: expect.objectContaining({ option }) }),
    );
  });

  test('is not asked about no time', async () => {
    await expect(store.query('x', { time: NaN })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(store.query('x', { from: new Date('no') })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
  });
});
