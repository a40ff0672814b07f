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
  if (recorder.ignore?.(pathOf(request)) === true) return;
  const running = recorder.begin(request.method);
  // 'close' comes last, after a complete response and after a broken one.
  response.once('close', () =>
    recorder.end(running, {
      route: routeOf(request),
      status: response.statusCode,
      aborted: !response.writableFinished,
      requestBytes: request.headers['content-length'],
      responseBytes: response.getHeader('content-length'),
    }),
  );
}

const UNNAMED = '__unnamed__';

/** Names the route of a request that express answered; made before the request is routed. */
export interface ExpressRoute {
  routeOf(request: HttpRequestLike): string | undefined;
}

/**
 * Watches how a request is routed. Express says which route answered, but of the routers above it only the path as it
 * was in the request, with the values of its parameters; those are seen as they are matched and put back as `:name`, so
 * that a router mounted at `/users/:id` does not make a series for every user.
 */
export function watchExpressRoute(request: HttpRequestLike): ExpressRoute {
  const names = new Map<string, string>();
  let current = (request as { params?: unknown }).params;
  Object.defineProperty(request, 'params', {
    configurable: true,
    enumerable: true,
    get: () => current,
    set: (matched: unknown) => {
      current = matched;
      if (typeof matched !== 'object' || matched === null) return;
      for (const [name, value] of Object.entries(matched))
        for (const one of Array.isArray(value) ? value : [value]) names.set(String(one), name);
    },
  });
  return { routeOf: (of) => expressRoute(of, names) };
}

/** The template of the route that answered, with the templates of the paths that its routers are mounted at. */
function expressRoute(request: HttpRequestLike, names: ReadonlyMap<string, string>): string | undefined {
  const path = request.route?.path;
  if (path === undefined) return undefined;
  const template = Array.isArray(path)
    ? path.map(String).join('|')
    : path instanceof RegExp || typeof path === 'string'
      ? String(path)
      : UNNAMED;
  const base = (request.baseUrl ?? '')
    .split('/')
    .map((segment) => {
      const name = names.get(decoded(segment));
      return segment === '' || name === undefined ? segment : `:${name}`;
    })
    .join('/');
  const route = template === '/' && base !== '' ? base : `${base}${template}`;
  return route === '' ? '/' : route;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function pathOf(request: HttpRequestLike): string {
  const url = request.originalUrl ?? request.url ?? '/';
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}
