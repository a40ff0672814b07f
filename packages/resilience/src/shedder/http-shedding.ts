import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CallPriority } from '../engine/context.ts';

/** A request handler of node:http. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A middleware in the shape of Express and Connect. */
export type HttpMiddleware = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** The part of a Fastify instance that is used. */
export interface FastifyLike {
  addHook(
    name: 'onRequest',
    hook: (request: { readonly raw: IncomingMessage }, reply: FastifyReplyLike, done: () => void) => void,
  ): unknown;
}

/** The part of a Fastify reply that is used. */
export interface FastifyReplyLike {
  readonly raw: ServerResponse;
  code(status: number): FastifyReplyLike;
  header(name: string, value: string): FastifyReplyLike;
  send(body: unknown): unknown;
}

/** Finds how important a request is, from something a client cannot choose freely. By default all are `normal`. */
export type PriorityOf = (request: IncomingMessage) => CallPriority;

/** A load shedder in front of an HTTP server: what is shed is answered `503` with `Retry-After`, before any work. */
export interface HttpShedding {
  /** Wraps a handler of node:http. */
  http(handler: HttpHandler, priorityOf?: PriorityOf): HttpHandler;
  express(priorityOf?: PriorityOf): HttpMiddleware;
  /** A Fastify plugin; it sheds in the hook `onRequest`, before the body is read, for all routes. */
  fastify(priorityOf?: PriorityOf): (instance: FastifyLike, options: unknown, done: () => void) => void;
}

/** What decides. */
export interface HttpGate {
  /** Lets a request in and gives what ends it, or `undefined`. */
  readonly admit: (priority: CallPriority) => (() => void) | undefined;
  readonly retryAfterMs: number;
}

const BODY = JSON.stringify({ code: 'LOAD_SHED', message: 'Too busy, try again later' });

/** Makes the HTTP side of a shedder. */
export function createHttpShedding({ admit, retryAfterMs }: HttpGate): HttpShedding {
  const retryAfter = String(Math.ceil(retryAfterMs / 1_000));
  const enter = (request: IncomingMessage, response: ServerResponse, priorityOf: PriorityOf): boolean => {
    const leave = admit(priorityOf(request));
    if (leave === undefined) return false;
    // 'close' also comes when the client went away before the answer.
    response.once('close', leave);
    return true;
  };
  return {
    http:
      (handler, priorityOf = () => 'normal') =>
      (request, response) => {
        if (enter(request, response, priorityOf)) return handler(request, response);
        refuse(response, retryAfter);
        return undefined;
      },
    express:
      (priorityOf = () => 'normal') =>
      (request, response, next) => {
        if (enter(request, response, priorityOf)) next();
        else refuse(response, retryAfter);
      },
    fastify: (priorityOf = () => 'normal') => {
      const plugin = (instance: FastifyLike, _options: unknown, done: () => void): void => {
        instance.addHook('onRequest', (request, reply, next) => {
          if (enter(request.raw, reply.raw, priorityOf)) return next();
          reply
            .code(503)
            .header('retry-after', retryAfter)
            .header('content-type', 'application/json')
            .send(BODY);
        });
        done();
      };
      // Without this Fastify would keep the hook to the routes registered inside the plugin.
      return Object.assign(plugin, { [Symbol.for('skip-override')]: true });
    },
  };
}

function refuse(response: ServerResponse, retryAfter: string): void {
  response.writeHead(503, {
    'retry-after': retryAfter,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(BODY),
  });
  response.end(BODY);
}
