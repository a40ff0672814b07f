import type { HealthCheckManager } from '../manager.ts';
import { createHealthResponder, type HealthHandlerOptions, type HealthResponse } from './respond.ts';

/** The part of a `node:http` request that is read. */
export interface NodeRequestLike {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** The part of a `node:http` response that is used. */
export interface NodeResponseLike {
  writeHead(status: number, headers: Readonly<Record<string, string>>): unknown;
  end(body?: Uint8Array): unknown;
}

/** A handler for `node:http`, and a middleware for express and its like. */
export type HealthHandler = (
  request: NodeRequestLike,
  response: NodeResponseLike,
  next?: (error?: unknown) => void,
) => void;

/**
 * Answers `/livez`, `/readyz`, `/startupz` and `/healthz` from memory. Any other path goes to `next`, or is a 404.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http';
 * import { createHealthCheckManager } from '@xiaoke/health';
 * import { createHealthHandler } from '@xiaoke/health/http';
 * const health = createHealthCheckManager();
 * const server = createServer(createHealthHandler(health));
 * ```
 */
export function createHealthHandler(
  manager: HealthCheckManager,
  options: HealthHandlerOptions = {},
): HealthHandler {
  const respond = createHealthResponder(manager, options);
  return (request, response, next) => {
    const { accept } = request.headers;
    const answer = respond({
      method: request.method ?? 'GET',
      url: request.url ?? '/',
      accept: typeof accept === 'string' ? accept : undefined,
    });
    if (answer !== undefined) write(response, answer);
    else if (next !== undefined) next();
    else write(response, { status: 404, headers: { 'content-length': '0' }, body: Buffer.alloc(0) });
  };
}

/** The part of fastify that is used. */
export interface FastifyLike {
  addHook(name: 'onRequest', hook: (request: never, reply: never, done: () => void) => void): unknown;
}

interface FastifyRequestLike {
  readonly raw: NodeRequestLike;
}

interface FastifyReplyLike {
  code(status: number): this;
  headers(headers: Readonly<Record<string, string>>): this;
  send(body: Uint8Array): unknown;
}

/** A fastify plugin; register it on the root instance. */
export function fastifyHealth(
  manager: HealthCheckManager,
  options: HealthHandlerOptions = {},
): (instance: FastifyLike, options: object, done: (error?: Error) => void) => void {
  const respond = createHealthResponder(manager, options);
  const plugin = (instance: FastifyLike, _options: object, done: (error?: Error) => void): void => {
    const hook = ({ raw }: FastifyRequestLike, reply: FastifyReplyLike, next: () => void): void => {
      const { accept } = raw.headers;
      const answer = respond({
        method: raw.method ?? 'GET',
        url: raw.url ?? '/',
        accept: typeof accept === 'string' ? accept : undefined,
      });
      if (answer === undefined) next();
      else reply.code(answer.status).headers(answer.headers).send(answer.body);
    };
    instance.addHook('onRequest', hook);
    done();
  };
  // Without this fastify keeps the hook inside the plugin's own scope.
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true });
}

/** A handler of the Fetch standard; gives `undefined` for a path that is none of its own. */
export function fetchHealth(
  manager: HealthCheckManager,
  options: HealthHandlerOptions = {},
): (request: Request) => Response | undefined {
  const respond = createHealthResponder(manager, options);
  return (request) => {
    const { pathname, search } = new URL(request.url);
    const accept = request.headers.get('accept') ?? undefined;
    const answer = respond({ method: request.method, url: pathname + search, accept });
    if (answer === undefined) return undefined;
    return new Response(answer.body.byteLength === 0 ? null : new Uint8Array(answer.body), answer);
  };
}

function write(response: NodeResponseLike, { status, headers, body }: HealthResponse): void {
  response.writeHead(status, headers);
  response.end(body);
}
