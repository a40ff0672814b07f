/** Our evaluator against the real Prometheus: the same samples, the same questions. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { promtoolPath, startPrometheus, type MonitoringServer } from '@xiaoke/test-servers';
import { createTimeSeriesStore, type TimeSeriesStore } from '@xiaoke/metrics/store';
import { api, remoteWriteTo } from './support/prometheus.ts';

const STEP = 10_000;
const SLOTS = 320;
const end = Math.floor(Date.now() / 60_000) * 60_000;
const start = end - SLOTS * STEP;

let prometheus: MonitoringServer;
let server: Server;
let ours: string;
let store: TimeSeriesStore;

type Kind = 'counter' | 'gauge';
interface Row {
  labels: Record<string, string>;
  kind: Kind;
  at: (i: number) => number | undefined;
}

// A fixed generator, so that a failure can be repeated.
let seed = 7;
const random = (): number => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed / 2 ** 32;
};

function rows(): Row[] {
  const made: Row[] = [];
  for (const service of ['a', 'b']) {
    for (const outcome of ['ok', 'error']) {
      let total = 0;
      const speed = outcome === 'ok' ? 9 : 1;
      made.push({
        labels: { __name__: 'requests_total', service, outcome, instance: `${service}1` },
        kind: 'counter',
        // A restart in the middle of one of them.
        at: (i) => (total = service === 'b' && i === 150 ? 2 : total + Math.floor(random() * speed)),
      });
    }
    let depth = 20;
    made.push({
      labels: { __name__: 'depth', service, queue: 'q"1\\' },
      kind: 'gauge',
      // With a gap in one of them.
      at: (i) => {
        depth = Math.max(0, depth + random() * 10 - 5);
        return service === 'b' && i > 200 && i < 215 ? undefined : depth;
      },
    });
    const counts = { '0.1': 0, '0.5': 0, '2.5': 0, '+Inf': 0 };
    for (const le of Object.keys(counts) as (keyof typeof counts)[]) {
      made.push({
        labels: { __name__: 'wait_seconds_bucket', service, le },
        kind: 'counter',
        at: (i) => i * { '0.1': 2, '0.5': 5, '2.5': 8, '+Inf': 9 }[le],
      });
    }
  }
  made.push({ labels: { __name__: 'constant', service: 'a' }, kind: 'gauge', at: () => 4 });
  made.push({ labels: { __name__: 'weights', service: 'a' }, kind: 'gauge', at: () => 0.25 });
  made.push({ labels: { __name__: 'weights', service: 'b' }, kind: 'gauge', at: () => 0.75 });
  made.push({
    labels: { __name__: 'short', service: 'a' },
    kind: 'gauge',
    at: (i) => (i > 100 ? undefined : i),
  });
  return made;
}

beforeAll(async () => {
  prometheus = await startPrometheus({
    config: 'global: { scrape_interval: 1h }\n',
    args: ['--web.enable-remote-write-receiver', '--query.lookback-delta=5m'],
  });
  store = createTimeSeriesStore();
  const data = rows();
  for (let i = 0; i < SLOTS; i++) {
    const time = start + i * STEP;
    const present = data.flatMap(({ labels, kind, at }) => {
      const value = at(i);
      return value === undefined ? [] : [{ labels, kind, value, time }];
    });
    // A source of its own each time, so that a gap is a gap and not an end, as it is for remote write.
    await store.append(time, present, `append-${i}`);
    await remoteWriteTo(prometheus.url, present);
  }
  const handler = store.httpApi();
  server = createServer((request, response) => {
    void handler(request, response).then((own) => own || response.writeHead(404).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ours = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.close();
  await store.close();
  await prometheus.stop();
});

interface Result {
  resultType: string;
  result: unknown;
}
type Vector = { metric: Record<string, string>; value?: [number, string]; values?: [number, string][] }[];

function comparable({ resultType, result }: Result): unknown {
  const number = (text: string): number | string => (Number.isFinite(Number(text)) ? Number(text) : text);
  if (resultType === 'scalar') return (result as [number, string]).map((part) => number(String(part)));
  const list = (result as Vector).map(({ metric, value, values }) => ({
    metric,
    values: (values ?? [value ?? [0, '']]).map(([at, text]) => [at, number(text)]),
  }));
  const key = (one: { metric: Record<string, string> }): string =>
    JSON.stringify(Object.entries(one.metric).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { resultType, list: list.sort((a, b) => (key(a) < key(b) ? -1 : 1)) };
}

function expectSame(own: unknown, theirs: unknown): void {
  if (typeof own === 'number' && typeof theirs === 'number') {
    expect(Math.abs(own - theirs)).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(theirs)));
  } else if (Array.isArray(own) && Array.isArray(theirs)) {
    expect(own).toHaveLength(theirs.length);
    for (const [i, part] of own.entries()) expectSame(part, theirs[i]);
  } else if (typeof own === 'object' && own !== null) {
    expect(Object.keys(own).sort()).toEqual(Object.keys(theirs as object).sort());
    for (const [name, part] of Object.entries(own))
      expectSame(part, (theirs as Record<string, unknown>)[name]);
  } else expect(own).toEqual(theirs);
}

const QUERIES = [
  'requests_total',
  'depth{queue="q\\"1\\\\"}',
  'rate(requests_total[5m])',
  'rate(requests_total{service=~"a|c",outcome!="ok"}[1m])',
  'increase(requests_total[10m])',
  'irate(requests_total[2m])',
  'delta(depth[5m])',
  'idelta(depth[5m])',
  'deriv(depth[5m])',
  'predict_linear(depth[10m], 3600)',
  'changes(depth[5m])',
  'resets(requests_total[50m])',
  'avg_over_time(depth[5m])',
  'min_over_time(depth[5m])',
  'max_over_time(depth[5m])',
  'sum_over_time(depth[5m])',
  'count_over_time(depth[5m])',
  'stddev_over_time(depth[5m])',
  'stdvar_over_time(depth[5m])',
  'last_over_time(depth[5m])',
  'present_over_time(depth[5m])',
  'quantile_over_time(0.9, depth[5m])',
  'absent(nothing{service="x"})',
  'absent(depth)',
  'absent_over_time(short[5m])',
  'absent_over_time(nothing{a="b",c=~"d"}[5m])',
  'histogram_quantile(0.99, sum by (service, le) (rate(wait_seconds_bucket[5m])))',
  'histogram_quantile(0.5, rate(wait_seconds_bucket[5m]))',
  'sum(requests_total)',
  'sum by (service) (rate(requests_total[5m]))',
  'sum without (outcome, instance) (requests_total)',
  'avg(depth)',
  'min(depth)',
  'max by (service) (depth)',
  'count by (outcome) (requests_total)',
  'group(requests_total)',
  'stddev(requests_total)',
  'stdvar(requests_total)',
  'topk(2, requests_total)',
  'bottomk(1, requests_total) by (service)',
  'quantile(0.5, requests_total)',
  'count_values("value", constant)',
  'depth * 2 + 1',
  '1 - depth / 100',
  'depth > 10',
  'depth > bool 10',
  '10 < depth',
  'depth % 3',
  'constant ^ 2',
  '-depth',
  '-2 ^ 2',
  '2 ^ 3 ^ 2',
  '1 + 2 * 3 - 4 / 5',
  'constant == 4',
  'constant != 4',
  'depth * on (service) weights',
  'depth * on (service) group_left () weights',
  'requests_total * on (service) group_left () weights',
  'weights * on (service) group_right (instance) requests_total',
  'requests_total / ignoring (outcome) group_left () sum without (outcome) (requests_total)',
  'requests_total and on (service) (weights > 0.5)',
  'requests_total unless on (service) (weights > 0.5)',
  'weights or constant',
  'sum by (service) (rate(requests_total{outcome="error"}[5m])) / sum by (service) (rate(requests_total[5m])) > 0.01',
  'clamp(depth, 5, 10)',
  'clamp_min(depth, 12)',
  'clamp_max(depth, 12)',
  'abs(-depth)',
  'ceil(depth)',
  'floor(depth)',
  'round(depth)',
  'round(depth, 0.5)',
  'exp(constant)',
  'ln(constant)',
  'log2(constant)',
  'log10(constant)',
  'sqrt(constant)',
  'sgn(depth - 10)',
  'scalar(constant)',
  'scalar(depth)',
  'vector(7)',
  'time()',
  'timestamp(depth)',
  'sort(requests_total)',
  'sort_desc(requests_total)',
  'label_replace(depth, "new", "x-$1", "service", "(.*)")',
  'label_replace(depth, "new", "x", "service", "nope")',
  'label_join(requests_total, "joined", "-", "service", "outcome")',
  'day_of_week()',
  'hour(vector(1700000000))',
  'minute(vector(1700000000))',
  'month(vector(1700000000))',
  'year(vector(1700000000))',
  'day_of_month(vector(1700000000))',
  'days_in_month(vector(1700000000))',
  'depth offset 5m',
  'rate(requests_total[5m] offset 10m)',
  `depth @ ${end / 1_000 - 600}`,
  'rate(requests_total[5m] @ end())',
  'max_over_time(rate(requests_total[1m])[10m:30s])',
  'avg_over_time((depth > 10)[10m:1m])',
  'sum_over_time(depth[5m:10s] offset 1m)',
  'max_over_time(deriv(depth[1m])[5m:])',
  'short',
  'pi()',
];

describe('the same answer as Prometheus', () => {
  const same = async (path: string, parameters: Record<string, string>): Promise<void> => {
    const [own, theirs] = await Promise.all([
      api<Result>(ours, path, parameters),
      api<Result>(prometheus.url, path, parameters),
    ]);
    expectSame(comparable(own), comparable(theirs));
  };

  test.each(QUERIES)('%s', async (query) => {
    for (const time of [end, end - 3 * 60_000 - 4_000, end - 20 * 60_000, start + 95_000]) {
      await same('query', { query, time: String(time / 1_000) });
    }
    await same('query_range', {
      query,
      start: String((end - 30 * 60_000) / 1_000),
      end: String(end / 1_000),
      step: '47s',
    });
  });

  test('labels, label values and series', async () => {
    const span = { start: String(start / 1_000), end: String(end / 1_000) };
    for (const path of ['labels', 'label/service/values', 'label/__name__/values']) {
      expect(await api(ours, path, span)).toEqual(await api(prometheus.url, path, span));
    }
    const match = { ...span, 'match[]': 'requests_total{service="a"}' };
    const sorted = (list: unknown[]): string[] => list.map((one) => JSON.stringify(one)).sort();
    const own = await api<Record<string, string>[]>(ours, 'series', match);
    const theirs = await api<Record<string, string>[]>(prometheus.url, 'series', match);
    const entries = (list: Record<string, string>[]) =>
      list.map((labels) => Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
    expect(sorted(entries(own))).toEqual(sorted(entries(theirs)));
  });

  test.each([
    ['query', 'instant', [`rate(requests_total[5m] @ ${end / 1_000})`]],
    ['query', 'range', [`--start=${start / 1_000}`, `--end=${end / 1_000}`, '--step=60s', 'sum(depth)']],
    ['query', 'labels', ['instance']],
    ['query', 'series', ['--match=depth']],
  ])('promtool %s %s reads our API', async (command, kind, args) => {
    const flags = args.filter((arg) => arg.startsWith('--'));
    const rest = args.filter((arg) => !arg.startsWith('--'));
    const run = async (url: string): Promise<string[]> => {
      const { stdout } = await promisify(execFile)(promtoolPath(), [command, kind, ...flags, url, ...rest]);
      // Evaluated at the time of the call, which is not the same for both.
      return stdout
        .replaceAll(/@\[[\d.]+\]/g, '')
        .split('\n')
        .sort();
    };
    expect((await run(ours)).join('').length).toBeGreaterThan(1);
    expect(await run(ours)).toEqual(await run(prometheus.url));
  });
});

describe('what is refused', () => {
  test.each([
    ['holt_winters(depth[5m], 0.5, 0.5)', 'PROMQL_UNSUPPORTED', 'holt_winters()'],
    ['histogram_count(depth)', 'PROMQL_UNSUPPORTED', 'histogram_count()'],
    ['limitk(2, depth)', 'PROMQL_UNSUPPORTED', 'limitk'],
    ['rate(depth)', 'PROMQL_SYNTAX', 'rate() takes a matrix'],
    ['depth[5m]  + 1', 'PROMQL_SYNTAX', 'takes scalars or vectors'],
    ['sum(', 'PROMQL_SYNTAX', 'position'],
    ['', 'PROMQL_SYNTAX', 'characters'],
    ['{a=~".*"}', 'PROMQL_SYNTAX', 'empty'],
    ['depth{a=~"("}', 'PROMQL_SYNTAX', 'regular expression'],
    ['1 > 2', 'PROMQL_SYNTAX', 'bool'],
    ['depth + bool 2', 'PROMQL_SYNTAX', 'bool'],
    ['depth and 1', 'PROMQL_SYNTAX', 'vectors only'],
    ['topk(depth)', 'PROMQL_SYNTAX', 'arguments'],
    ['clamp(depth, 1)', 'PROMQL_SYNTAX', 'arguments'],
    ['requests_total + on (service) depth', 'PROMQL_EVALUATION', 'group_left'],
    ['depth + on (service) requests_total', 'PROMQL_EVALUATION', 'many-to-many'],
    ['label_replace(depth, "service", "x", "service", ".*")', 'PROMQL_EVALUATION', 'same'],
    ['label_replace(depth, "1", "x", "service", ".*")', 'PROMQL_EVALUATION', 'label name'],
    ['(depth + 1) offset 5m', 'PROMQL_SYNTAX', 'offset'],
  ])('%s', async (query, code, message) => {
    await expect(store.query(query, { time: end })).rejects.toMatchObject({ code });
    await expect(store.query(query, { time: end })).rejects.toThrow(message);
    const response = await fetch(
      `${ours}/api/v1/query?${String(new URLSearchParams({ query, time: String(end / 1_000) }))}`,
    );
    expect([400, 422]).toContain(response.status);
  });
});
