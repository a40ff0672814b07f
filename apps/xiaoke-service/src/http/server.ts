import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import type { MetricsCollector } from '@xiaoke/metrics';
import { answerError } from './errors.ts';

// A body is a short form; nothing the service takes is larger.
const BODY_LIMIT = 64 * 1_024;

/** Makes the HTTP server: bounded bodies, strict validation, measured requests, errors without detail. */
export function createServer(logger: FastifyBaseLogger, metrics: MetricsCollector): FastifyInstance {
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    requestTimeout: 30_000,
    // Connections that idle are ended at close, those that work finish first.
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    // Query strings are text and are converted; a lone value is no list, and an unknown field is a mistake to be told of.
    ajv: { customOptions: { coerceTypes: true, removeAdditional: false } },
  });
  app.setErrorHandler(answerError);
  app.setNotFoundHandler(async (_request, reply) => {
    await reply.code(404).send({ error: { code: 'NOT_FOUND', message: 'There is no such route' } });
  });
  app.register(metrics.fastify());
  return app;
}
