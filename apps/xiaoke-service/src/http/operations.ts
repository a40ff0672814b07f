import type { FastifyInstance } from 'fastify';
import { fastifyHealth } from '@xiaoke/health/http';
import type { Platform } from '../platform.ts';

/**
 * `GET /metrics`, `/api/v1/…`, `/instances`, `/locks`, `/cache`, `/resilience`, and the probes: what an operator, a scraper or a load balancer
 * reads.
 */
export function operationRoutes(app: FastifyInstance, platform: Platform): void {
  const { metrics, store, alerts, locks, cache, resilience, health, registry } = platform;

  // What keeps a load balancer waiting must not depend on anything: answered from memory before anything else.
  app.register(fastifyHealth(health, { paths: { page: '/health' } }));

  const prometheus = store.httpApi({ alerts });
  // The API reads the body itself, so it comes before fastify does.
  app.addHook('onRequest', async (request, reply) => {
    if (!request.url.startsWith('/api/v1/')) return;
    reply.hijack();
    const answered = await prometheus(request.raw, reply.raw);
    if (!answered) reply.raw.writeHead(404).end();
  });

  app.get('/metrics', async (request, reply) => {
    const { contentType, body } = await metrics.metrics(request.headers.accept);
    return await reply.header('content-type', contentType).send(body);
  });

  app.get('/alerts', async () => ({
    active: alerts.active(),
    silences: alerts.silences(),
    stats: alerts.stats(),
  }));

  app.get('/instances', async () => await registry.discover('xiaoke-service', { status: 'any' }));

  app.get('/locks', async () => {
    const held = [];
    for await (const lock of locks.inspectLocks()) held.push(lock);
    return { held, stats: locks.stats() };
  });

  app.get('/cache', async () => ({ name: 'users', stats: cache.stats() }));

  app.get('/resilience', async () => ({ stats: resilience.stats(), analysis: resilience.analyze() }));
}
