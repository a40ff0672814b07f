import type { HttpRecorder } from './recorder.ts';

/** The part of node's (and express's) request that is read. */
export interface HttpRequestLike {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Set by express. */
  readonly originalUrl?: string;
  readonly baseUrl?: string;
  readonly route?: { readonly path?: unknown };
}

/** The part of node's response that is read. */
export interface HttpResponseLike {
  readonly statusCode: number;
  readonly writableFinished: boolean;
  getHeader(name: string): unknown;
  once(event: string, listener: () => void): unknown;
}

/** Names the route of a request: a template, never the path itself. `undefined` means unmatched. */
export type RouteOf = (request: HttpRequestLike) => string | undefined;

/** Measures one request from now until its response is done. */
export function observeRequest(
  recorder: HttpRecorder,
  request: HttpRequestLike,
  response: HttpResponseLike,
  routeOf: RouteOf,
): void {
  if (recorder.ignore(pathOf(request))) return;
  const end = recorder.begin(request.method);
  // 'close' comes last, after a complete response and after a broken one.
  response.once('close', () =>
    end({
      route: routeOf(request),
      status: response.statusCode,
      aborted: !response.writableFinished,
      requestBytes: request.headers['content-length'],
      responseBytes: response.getHeader('content-length'),
    }),
  );
}

const UNNAMED = '__unnamed__';

/** The template of the express route that answered, with the path its routers are mounted at. */
export function expressRoute(request: HttpRequestLike): string | undefined {
  const path = request.route?.path;
  if (path === undefined) return undefined;
  // A router may be mounted at several paths, and a route may be a list or an expression; baseUrl holds real values of
  // parameters only when a router is mounted at a pattern, which is then named by the pattern's own route alone.
  const template = Array.isArray(path)
    ? path.map(String).join('|')
    : path instanceof RegExp || typeof path === 'string'
      ? String(path)
      : UNNAMED;
  const base = request.baseUrl ?? '';
  return `${base}${template}` === '' ? '/' : `${base}${template}`;
}

function pathOf(request: HttpRequestLike): string {
  const url = request.originalUrl ?? request.url ?? '/';
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}
