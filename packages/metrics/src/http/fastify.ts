import type { FinishedRequest, HttpRecorder, RunningRequest } from './recorder.ts';

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

const RUNNING = Symbol('xiaoke.metrics.request');

/** On the request itself, which costs less than a map of requests. */
interface Measured extends FastifyRequestLike {
  [RUNNING]?: RunningRequest;
}

/** Makes the plugin: every route of the instance it is registered on is measured, those of other plugins too. */
export function fastifyPlugin(recorder: HttpRecorder): FastifyPlugin {
  const plugin: FastifyPlugin = (instance, _options, done) => {
    const { ignore } = recorder;
    instance.addHook('onRequest', (request: Measured, _reply: unknown, next: () => void) => {
      if (ignore === undefined || !ignore(request.url.split('?', 1)[0] ?? ''))
        request[RUNNING] = recorder.begin(request.method);
      next();
    });
    instance.addHook('onResponse', (request: Measured, reply: FastifyReplyLike, next: () => void) => {
      const running = request[RUNNING];
      if (running !== undefined) recorder.end(running, finished(request, reply, false));
      next();
    });
    instance.addHook('onRequestAbort', (request: Measured, next: () => void) => {
      const running = request[RUNNING];
      if (running !== undefined) recorder.end(running, finished(request, undefined, true));
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
