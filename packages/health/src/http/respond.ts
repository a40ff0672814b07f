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

interface Endpoint {
  readonly group: string | undefined;
  readonly page: boolean;
}

/** Makes the responder that every adapter uses. It never waits and never runs a check. */
export function createHealthResponder(
  manager: HealthCheckManager,
  options: HealthHandlerOptions = {},
): HealthResponder {
  const {
    live = '/livez',
    ready = '/readyz',
    start = '/startupz',
    full = '/healthz',
    page,
  } = options.paths ?? {};
  const endpoints = new Map<string, Endpoint>([
    [live, { group: 'liveness', page: false }],
    [ready, { group: 'readiness', page: false }],
    [start, { group: 'startup', page: false }],
    [full, { group: undefined, page: false }],
  ]);
  if (page !== undefined) endpoints.set(page, { group: undefined, page: true });
  const { details = false } = options;
  return (request) => {
    const [path = '', query = ''] = request.url.split('?', 2);
    const endpoint = endpoints.get(path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path);
    if (endpoint === undefined) return undefined;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return { status: 405, headers: { allow: 'GET, HEAD' }, body: Buffer.alloc(0) };
    }
    const detailed = typeof details === 'function' ? details(request) : details;
    const group = endpoint.group ?? new URLSearchParams(query).get('group') ?? undefined;
    const report = manager.report(group, { details: detailed });
    if (endpoint.page) return answer(request, 200, 'text/html; charset=utf-8', renderPage(report, manager));
    const { type, text } = render(report, request.accept ?? '');
    return answer(request, httpStatus(report.status), type, text);
  };
}

/** Healthy and degraded serve; unhealthy and unknown do not. */
function httpStatus(status: HealthStatus): 200 | 503 {
  return status === 'healthy' || status === 'degraded' ? 200 : 503;
}

function answer(request: HealthRequest, status: number, type: string, text: string): HealthResponse {
  const body = Buffer.from(text);
  const headers = {
    'content-type': type,
    'content-length': String(body.byteLength),
    'cache-control': 'no-store',
    ...(status === 503 ? { 'retry-after': '5' } : {}),
  };
  return { status, headers, body: request.method === 'HEAD' ? Buffer.alloc(0) : body };
}

function render(report: HealthReport, accept: string): { readonly type: string; readonly text: string } {
  if (accept.includes('application/health+json')) {
    return { type: 'application/health+json; charset=utf-8', text: JSON.stringify(toHealthJson(report)) };
  }
  if (accept.startsWith('text/plain'))
    return { type: 'text/plain; charset=utf-8', text: `${report.status}\n` };
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
