import { systemClock, type Clock } from '@xiaoke/core';
import { MetricsError } from '../errors.ts';
import { formatValue } from '../names.ts';
import { parseDuration } from './promql/durations.ts';
import { parsePromql } from './promql/parse.ts';
import type { Point, QueryResult, ResultSeries } from './promql/query.ts';
import { labelTest, type Labels } from './promql/values.ts';
import type { TimeSeriesStore } from './store.ts';

/** What `/rules` and `/alerts` are answered from: the alert manager. */
export interface RuleSource {
  /** The body of `/api/v1/rules`. */
  rulesApi(): object;
  /** The body of `/api/v1/alerts`. */
  alertsApi(): object;
}

/** How the API is served. */
export interface ApiOptions {
  readonly alerts?: RuleSource;
  readonly clock?: Clock;
  /** The path in front of the endpoints. @default '/api/v1' */
  readonly basePath?: string;
}

/** The part of node's request that is read. */
export interface ApiRequest extends AsyncIterable<Uint8Array> {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** The part of node's response that is written. */
export interface ApiResponse {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body?: string): unknown;
}

/** Answers a request and resolves `true`; for a path that is not its own, calls `next` and resolves `false`. */
export type AsyncHandler = (
  request: ApiRequest,
  response: ApiResponse,
  next?: () => unknown,
) => Promise<boolean>;

const METHODS: readonly string[] = ['GET', 'HEAD', 'POST'];
const MAX_BODY = 1_000_000;
const YEAR = 365 * 86_400_000;

/** Prometheus's HTTP API over a store, as far as its clients (promtool, Grafana) need it to query. */
export function createHttpApi(store: TimeSeriesStore, options: ApiOptions): AsyncHandler {
  const { basePath = '/api/v1' } = options;
  const api = new Api(store, options.clock ?? systemClock, options.alerts);
  return async (request, response, next) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (!url.pathname.startsWith(`${basePath}/`)) {
      next?.();
      return false;
    }
    const path = url.pathname.slice(basePath.length + 1);
    if (!METHODS.includes(request.method ?? 'GET')) {
      response.setHeader('allow', METHODS.join(', '));
      send(response, 405, { status: 'error', errorType: 'bad_data', error: 'only GET and POST' });
      return true;
    }
    try {
      const parameters = await parametersOf(request, url);
      const data = await api.answer(path, parameters);
      if (data === undefined)
        send(response, 404, { status: 'error', errorType: 'not_found', error: 'no such endpoint' });
      else send(response, 200, { status: 'success', data });
    } catch (error) {
      sendError(response, error);
    }
    return true;
  };
}

class Api {
  readonly #store: TimeSeriesStore;
  readonly #clock: Clock;
  readonly #alerts: RuleSource | undefined;

  constructor(store: TimeSeriesStore, clock: Clock, alerts: RuleSource | undefined) {
    this.#store = store;
    this.#clock = clock;
    this.#alerts = alerts;
  }

  async answer(path: string, parameters: URLSearchParams): Promise<unknown> {
    const value = /^label\/([^/]+)\/values$/.exec(path)?.[1];
    if (value !== undefined) return this.#values(decodeURIComponent(value), parameters);
    switch (path) {
      case 'query':
        return await this.#query(parameters);
      case 'query_range':
        return await this.#queryRange(parameters);
      case 'labels':
        return [...new Set(this.#series(parameters).flatMap((labels) => Object.keys(labels)))].sort();
      case 'series':
        return this.#series(parameters, true);
      case 'metadata':
        return this.#metadata(parameters);
      case 'query_exemplars':
        return this.#exemplars(parameters);
      case 'rules':
        return this.#alerts?.rulesApi() ?? { groups: [] };
      case 'alerts':
        return this.#alerts?.alertsApi() ?? { alerts: [] };
      case 'status/buildinfo':
        return {
          version: '2.42.0',
          revision: 'xiaoke',
          branch: '',
          buildUser: '',
          buildDate: '',
          goVersion: '',
        };
      default:
        return undefined;
    }
  }

  async #query(parameters: URLSearchParams): Promise<object> {
    const time = parseTime(parameters.get('time'), this.#clock.now());
    return resultData(await this.#store.query(need(parameters, 'query'), { time }));
  }

  async #queryRange(parameters: URLSearchParams): Promise<object> {
    const from = parseTime(need(parameters, 'start'), NaN);
    const to = parseTime(need(parameters, 'end'), NaN);
    const step = parseDuration(need(parameters, 'step'));
    return resultData(await this.#store.query(need(parameters, 'query'), { from, to, step }));
  }

  #series(parameters: URLSearchParams, required = false): readonly Labels[] {
    const now = this.#clock.now();
    const from = parseTime(parameters.get('start'), now - YEAR);
    const to = parseTime(parameters.get('end'), now);
    const matches = parameters.getAll('match[]');
    if (required && matches.length === 0)
      throw new MetricsError('PROMQL_SYNTAX', 'no match[] parameter provided');
    const tests = matches.map((text) => selectorTest(text));
    const all = this.#store.series(from, to);
    return tests.length === 0 ? all : all.filter((labels) => tests.some((test) => test(labels)));
  }

  #values(name: string, parameters: URLSearchParams): readonly string[] {
    const values = this.#series(parameters).map((labels) => labels[name]);
    return [...new Set(values.filter((value) => value !== undefined))].sort();
  }

  #metadata(parameters: URLSearchParams): object {
    const wanted = parameters.get('metric');
    const entries = this.#store.metadata().filter(({ name }) => wanted === null || name === wanted);
    const unit = '';
    return Object.fromEntries(entries.map(({ name, type, help }) => [name, [{ type, help, unit }]]));
  }

  #exemplars(parameters: URLSearchParams): readonly object[] {
    const from = parseTime(parameters.get('start'), 0);
    const to = parseTime(parameters.get('end'), this.#clock.now());
    const test = selectorTest(need(parameters, 'query'));
    return this.#store
      .exemplars()
      .filter(({ labels }) => test(labels))
      .map(({ labels, exemplars }) => ({
        seriesLabels: labels,
        exemplars: exemplars
          .filter(({ timestamp }) => timestamp * 1_000 >= from && timestamp * 1_000 <= to)
          .map((one) => ({ ...one, value: formatValue(one.value) })),
      }))
      .filter(({ exemplars }) => exemplars.length > 0);
  }
}

function resultData(result: QueryResult): object {
  const point = ([time, value]: Point): [number, string] => [time / 1_000, formatValue(value)];
  if (result.type === 'scalar') return { resultType: 'scalar', result: point(result.point) };
  if (result.type === 'string') return { resultType: 'string', result: [result.time / 1_000, result.value] };
  if (result.type === 'vector') {
    const one = ({ labels, points }: ResultSeries): object => ({
      metric: labels,
      value: point(points[0] ?? [0, NaN]),
    });
    return { resultType: 'vector', result: result.series.map(one) };
  }
  const result_ = result.series.map(({ labels, points }) => ({ metric: labels, values: points.map(point) }));
  return { resultType: 'matrix', result: result_ };
}

/** A test of labels from a selector; other expressions are tested by any of their selectors. */
function selectorTest(text: string): (labels: Labels) => boolean {
  const expr = parsePromql(text);
  if (expr.kind !== 'vector') throw new MetricsError('PROMQL_SYNTAX', 'a series selector is wanted here');
  return labelTest(expr.matchers);
}

async function parametersOf(request: ApiRequest, url: URL): Promise<URLSearchParams> {
  const parameters = new URLSearchParams(url.search);
  const type = String(request.headers['content-type'] ?? '');
  if (request.method !== 'POST' || !type.startsWith('application/x-www-form-urlencoded')) return parameters;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new MetricsError('PROMQL_SYNTAX', 'the request is too large');
    chunks.push(chunk);
  }
  for (const [name, value] of new URLSearchParams(Buffer.concat(chunks).toString()))
    parameters.append(name, value);
  return parameters;
}

function need(parameters: URLSearchParams, name: string): string {
  const value = parameters.get(name);
  if (value === null || value === '')
    throw new MetricsError('PROMQL_SYNTAX', `the parameter ${name} is missing`);
  return value;
}

function parseTime(text: string | null, fallback: number): number {
  if (text === null || text === '') return fallback;
  const seconds = Number(text);
  const time = Number.isNaN(seconds) ? Date.parse(text) : seconds * 1_000;
  if (Number.isNaN(time)) throw new MetricsError('PROMQL_SYNTAX', `"${text.slice(0, 40)}" is no time`);
  return Math.round(time);
}

const STATUS: Readonly<Record<string, readonly [number, string]>> = {
  PROMQL_SYNTAX: [400, 'bad_data'],
  PROMQL_UNSUPPORTED: [400, 'bad_data'],
  INVALID_OPTION: [400, 'bad_data'],
  PROMQL_EVALUATION: [422, 'execution'],
  STORE_CLOSED: [503, 'unavailable'],
};

function sendError(response: ApiResponse, error: unknown): void {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const [status, errorType] = STATUS[code] ?? [500, 'internal'];
  // Only our own messages are known to hold no secret.
  const message = status === 500 ? 'the query failed' : (error as Error).message;
  send(response, status, { status: 'error', errorType, error: message });
}

function send(response: ApiResponse, status: number, body: object): void {
  response.statusCode = status;
  response.setHeader('content-type', 'application/json; charset=utf-8');
  response.setHeader('cache-control', 'no-store');
  response.end(JSON.stringify(body));
}
