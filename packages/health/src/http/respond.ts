import type { HealthStatus } from '@xiaoke/core';
import type { HealthCheckManager } from '../manager.ts';
import type { HealthReport } from '../report.ts';
import { renderPage } from './page.ts';

/** The part of a request that an answer depends on. */
export interface HealthRequest {
  readonly method: string;
  /** With or without a query string. */
  readonly url: string;
  readonly accept?: string | undefined;
}

/** An answer that is ready to be written. */
export interface HealthResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Empty for HEAD. */
  readonly body: Buffer;
}

/** Where the probes answer and how much they say. */
export interface HealthHandlerOptions {
  readonly paths?: {
    readonly live?: string;
    readonly ready?: string;
    readonly start?: string;
    readonly full?: string;
    /** A page for people; off unless it is given. */
    readonly page?: string;
  };
  /**
   * Whether reports say more than status and code: ages, durations, numbers. Decide by the request where not everybody may
   * see them. @default false
   */
  readonly details?: boolean | ((request: HealthRequest) => boolean);
}

/** Answers health probes from memory; gives `undefined` for a path that is none of its own. */
export type HealthResponder = (request: HealthRequest) => HealthResponse | undefined;

type Format = 'json' | 'health+json' | 'text';

interface Endpoint {
  readonly group: string | undefined;
  readonly page: boolean;
  /** What was said last, by format: written once, and said again until the report is another one. */
  readonly ready: Map<Format, Prepared>;
}

interface Prepared {
  readonly report: HealthReport;
  readonly get: HealthResponse;
  readonly head: HealthResponse;
}

const NOTHING = Buffer.alloc(0);
const NOT_ALLOWED: HealthResponse = Object.freeze({
  status: 405,
  headers: Object.freeze({ allow: 'GET, HEAD', 'content-length': '0' }),
  body: NOTHING,
});

/** Makes the responder that every adapter uses. It never waits and never runs a check. */
export function createHealthResponder(
  manager: HealthCheckManager,
  options: HealthHandlerOptions = {},
): HealthResponder {
  const endpoints = endpointsOf(options.paths);
  const { details = false } = options;
  return (request) => {
    // Most probes ask for exactly the path.
    const endpoint = endpoints.get(request.url) ?? endpoints.get(pathOf(request.url));
    if (endpoint === undefined) return undefined;
    if (request.method !== 'GET' && request.method !== 'HEAD') return NOT_ALLOWED;
    const detailed = typeof details === 'function' ? details(request) : details;
    const group = endpoint.group ?? groupOf(request.url);
    const report = manager.report(group, detailed ? DETAILED : undefined);
    const { get, head } = endpoint.page
      ? prepare(report, 200, 'text/html; charset=utf-8', renderPage(report, manager))
      : prepared(endpoint, report, formatOf(request.accept));
    return request.method === 'HEAD' ? head : get;
  };
}

const DETAILED = { details: true } as const;

function endpointsOf(paths: HealthHandlerOptions['paths'] = {}): ReadonlyMap<string, Endpoint> {
  const { live = '/livez', ready = '/readyz', start = '/startupz', full = '/healthz', page } = paths;
  const groups: readonly (readonly [string, string | undefined])[] = [
    [live, 'liveness'],
    [ready, 'readiness'],
    [start, 'startup'],
    [full, undefined],
  ];
  const endpoints = new Map<string, Endpoint>();
  for (const [path, group] of groups) endpoints.set(path, { group, page: false, ready: new Map() });
  if (page !== undefined) endpoints.set(page, { group: undefined, page: true, ready: new Map() });
  return endpoints;
}

function pathOf(url: string): string {
  const end = url.indexOf('?');
  const path = end < 0 ? url : url.slice(0, end);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function groupOf(url: string): string | undefined {
  const start = url.indexOf('?');
  return start < 0 ? undefined : (new URLSearchParams(url.slice(start + 1)).get('group') ?? undefined);
}

function formatOf(accept = ''): Format {
  if (accept === '' || accept === '*/*') return 'json';
  if (accept.includes('application/health+json')) return 'health+json';
  return accept.startsWith('text/plain') ? 'text' : 'json';
}

function prepared(endpoint: Endpoint, report: HealthReport, format: Format): Prepared {
  const known = endpoint.ready.get(format);
  if (known?.report === report) return known;
  const { type, text } = render(report, format);
  const made = prepare(report, httpStatus(report.status), type, text);
  endpoint.ready.set(format, made);
  return made;
}

/** Healthy and degraded serve; unhealthy and unknown do not. */
function httpStatus(status: HealthStatus): 200 | 503 {
  return status === 'healthy' || status === 'degraded' ? 200 : 503;
}

function prepare(report: HealthReport, status: number, type: string, text: string): Prepared {
  const body = Buffer.from(text);
  const headers = Object.freeze({
    'content-type': type,
    'content-length': String(body.byteLength),
    'cache-control': 'no-store',
    ...(status === 503 ? { 'retry-after': '5' } : {}),
  });
  return {
    report,
    get: Object.freeze({ status, headers, body }),
    head: Object.freeze({ status, headers, body: NOTHING }),
  };
}

function render(report: HealthReport, format: Format): { readonly type: string; readonly text: string } {
  if (format === 'health+json')
    return { type: 'application/health+json; charset=utf-8', text: JSON.stringify(toHealthJson(report)) };
  if (format === 'text') return { type: 'text/plain; charset=utf-8', text: `${report.status}\n` };
  return { type: 'application/json; charset=utf-8', text: JSON.stringify(report) };
}

const WORDS: Readonly<Record<HealthStatus, string>> = {
  healthy: 'pass',
  degraded: 'warn',
  unhealthy: 'fail',
  unknown: 'fail',
};

// draft-inadarei-api-health-check-06
function toHealthJson(report: HealthReport): object {
  const checks = Object.entries(report.checks).map(([name, check]) => [
    name,
    [
      {
        status: WORDS[check.status],
        ...(check.code === undefined ? {} : { output: check.code }),
        ...timeOf(check.since),
      },
    ],
  ]);
  return { status: WORDS[report.status], checks: Object.fromEntries(checks) };
}

function timeOf(since: string | undefined): object {
  return since === undefined ? {} : { time: since };
}
