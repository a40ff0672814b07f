import type { FastifyInstance } from 'fastify';
import type { Platform } from '../platform.ts';

/** `GET /metrics`, `/locks`, `/cache`, `/resilience`: what an operator or a scraper reads. */
export function operationRoutes(app: FastifyInstance, platform: Platform): void {
  const { metrics, locks, cache, resilience } = platform;

  app.get('/metrics', async (request, reply) => {
    const { contentType, body } = await metrics.metrics(request.headers.accept);
    return await reply.header('content-type', contentType).send(body);
  });

  app.get('/locks', async () => {
    const held = [];
    for await (const lock of locks.inspectLocks()) held.push(lock);
    return { held, stats: locks.stats() };
  });

  app.get('/cache', async () => ({ name: 'users', stats: cache.stats() }));

  app.get('/resilience', async () => ({ stats: resilience.stats(), analysis: resilience.analyze() }));
}
