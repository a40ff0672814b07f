import type { FinishedRequest, HttpRecorder } from './recorder.ts';

/** The part of fastify's request that is read. */
export interface FastifyRequestLike {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly is404?: boolean;
  readonly routeOptions?: { readonly url?: string | undefined };
}

/** The part of fastify's reply that is read. */
export interface FastifyReplyLike {
  readonly statusCode: number;
  getHeader(name: string): unknown;
}

/** The part of fastify that the plugin uses. */
export interface FastifyLike {
  addHook(name: string, hook: (...args: never[]) => unknown): unknown;
}

/** A fastify plugin. */
export type FastifyPlugin = (instance: FastifyLike, options: object, done: (error?: Error) => void) => void;

type End = (finished: FinishedRequest) => void;

/** Makes the plugin: every route of the instance it is registered on is measured, those of other plugins too. */
export function fastifyPlugin(recorder: HttpRecorder): FastifyPlugin {
  const running = new WeakMap<object, End>();
  const plugin: FastifyPlugin = (instance, _options, done) => {
    instance.addHook('onRequest', (request: FastifyRequestLike, _reply: unknown, next: () => void) => {
      if (!recorder.ignore(request.url.split('?', 1)[0] ?? ''))
        running.set(request, recorder.begin(request.method));
      next();
    });
    instance.addHook(
      'onResponse',
      (request: FastifyRequestLike, reply: FastifyReplyLike, next: () => void) => {
        running.get(request)?.(finished(request, reply, false));
        next();
      },
    );
    instance.addHook('onRequestAbort', (request: FastifyRequestLike, next: () => void) => {
      running.get(request)?.(finished(request, undefined, true));
      next();
    });
    done();
  };
  // Without these fastify would keep the hooks to routes inside the plugin.
  return Object.assign(plugin, {
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: '@xiaoke/metrics',
  });
}

function finished(
  request: FastifyRequestLike,
  reply: FastifyReplyLike | undefined,
  aborted: boolean,
): FinishedRequest {
  return {
    route: request.is404 === true ? undefined : request.routeOptions?.url,
    status: reply?.statusCode ?? 0,
    aborted,
    requestBytes: request.headers['content-length'],
    responseBytes: reply?.getHeader('content-length'),
  };
}
