/**
 * Health over HTTP: `/livez`, `/readyz`, `/startupz` and `/healthz` for node:http, express, fastify and fetch, answered from
 * memory; and the order in which a service goes down.
 *
 * @module
 */
export {
  createHealthHandler,
  fastifyHealth,
  fetchHealth,
  type FastifyLike,
  type HealthHandler,
  type NodeRequestLike,
  type NodeResponseLike,
} from './handler.ts';
export {
  createHealthResponder,
  type HealthHandlerOptions,
  type HealthRequest,
  type HealthResponder,
  type HealthResponse,
} from './respond.ts';
export {
  gracefulShutdown,
  type RegistrationLike,
  type ServerLike,
  type ShutdownOptions,
} from './graceful-shutdown.ts';
