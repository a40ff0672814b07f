import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import type { Registration } from '@xiaoke/health/discovery';
import { gracefulShutdown } from '@xiaoke/health/http';
import pino, { type Logger } from 'pino';
import { businessMetrics } from './business-metrics.ts';
import type { Environment } from './configuration.ts';
import { DegradedMode } from './degraded-mode.ts';
import { adminOnly } from './http/admin.ts';
import { configRoutes } from './http/config.ts';
import { medicalRequestRoutes } from './http/medical-requests.ts';
import { operationRoutes } from './http/operations.ts';
import { operatorPage } from './http/operator-page.ts';
import { queueRoutes } from './http/queues.ts';
import { resourceRoutes } from './http/resources.ts';
import { createServer } from './http/server.ts';
import { createPlatform, type Platform } from './platform.ts';
import { Intake } from './requests/intake.ts';
import { Processing } from './requests/processing.ts';
import { putBack } from './requests/put-back.ts';
import { RequestStore } from './requests/request-store.ts';
import { Schedule } from './resources/schedule.ts';
import { Users } from './users.ts';

/** How the service is started. */
export interface ServiceOptions {
  /** The environment. @default process.env */
  readonly env?: Environment;
  /** Wins over the configuration; 0 is any free port. */
  readonly port?: number;
  /** @default the file shipped with the service */
  readonly configFile?: string;
  /** @default pino on standard error, at LOG_LEVEL or `warn` */
  readonly logger?: Logger;
}

/** The running service. */
export interface Service {
  readonly url: string;
  readonly platform: Platform;
  /** Medical requests by state. */
  requestStates(): Promise<Readonly<Record<string, number>>>;
  /** Waits until every accepted request has ended, at most `timeout` milliseconds, and tells how they ended. */
  drain(timeout?: number): Promise<Readonly<Record<string, number>>>;
  /** Takes readiness away, stops taking requests, lets what runs finish, and closes everything. Idempotent. */
  close(): Promise<void>;
}

/** Starts the service; resolves once it answers. Whatever was opened is closed again when something fails. */
export async function startService(options: ServiceOptions = {}): Promise<Service> {
  const env = options.env ?? process.env;
  const logger = options.logger ?? pino({ level: env['LOG_LEVEL'] ?? 'warn' }, pino.destination(2));
  const platform = await createPlatform({ env, configFile: options.configFile, logger });
  try {
    return await run(platform, logger, env, options.port);
  } catch (error) {
    await platform.close();
    throw error;
  }
}

async function run(
  platform: Platform,
  logger: Logger,
  env: Environment,
  port: number | undefined,
): Promise<Service> {
  const { config, database, queue, locks, cache, metrics, health } = platform;
  const settings = config.snapshot();
  const users = new Users(database);
  const store = new RequestStore(database);
  const schedule = new Schedule(database);
  const degraded = new DegradedMode(config, logger);
  const business = businessMetrics(metrics, users, database);
  const processing = new Processing({
    database,
    users,
    store,
    schedule,
    locks,
    business,
    policy: platform.databasePolicy,
    degraded: () => degraded.active,
    deferFor: () => config.get('service.defer_for'),
  });
  const intake = new Intake({
    users,
    store,
    locks,
    cache,
    queue,
    queues: queuesOf(settings.messaging.workers.queues),
  });

  queue.registerTaskHandler('process_medical_request', (payload, context) =>
    processing.process(payload, context),
  );
  queue.on('dead', ({ id, reason }) => processing.giveUp(id, reason));
  await queue.startWorkers({
    count: settings.messaging.workers.count,
    queues: settings.messaging.workers.queues,
  });
  await putBack({ store, intake, queue, processing });
  const stopFollowing = health.addStatusChangeCallback((_before, now) => degraded.follow(now), {
    group: 'readiness',
  });
  await health.start();

  const app = createServer(logger, metrics);
  const admin = adminOnly(env['ADMIN_TOKEN']);
  medicalRequestRoutes(app, { intake, store, queue });
  resourceRoutes(app, { schedule, users, locks });
  configRoutes(app, { config, admin });
  queueRoutes(app, { queue, admin });
  operationRoutes(app, platform);
  await operatorPage(app);
  const url = await app.listen({ host: settings.service.host, port: port ?? settings.service.port });
  const registration = await announce(platform, url);

  let closing: Promise<void> | undefined;
  return {
    url,
    platform,
    requestStates: async () => await store.countByState(),
    drain: async (timeout = 30_000) => await drain(store, timeout),
    close: async () => {
      // Going down is no reason for others to degrade.
      stopFollowing();
      await (closing ??= closeAll(app, platform, registration));
    },
  };
}

/** Registers this instance; from then on its status there is that of its readiness. */
async function announce({ registry, health, config }: Platform, url: string): Promise<Registration> {
  const registration = await registry.register({
    id: `${hostname()}:${new URL(url).port}`,
    service: 'xiaoke-service',
    url: config.get('service.advertised_url') ?? url,
    status: health.status('readiness'),
    ttl: config.get('discovery.ttl'),
  });
  registration.bindHealth(health, 'readiness');
  return registration;
}

async function closeAll(app: FastifyInstance, platform: Platform, registration: Registration): Promise<void> {
  const { config, health, queue, logger } = platform;
  await registration
    .setStatus('draining')
    .catch((error: unknown) => logger.warn({ err: error }, 'others could not be told of the drain'));
  const timeout = config.get('service.shutdown_timeout');
  await gracefulShutdown({
    manager: health,
    server: app.server,
    drainDelay: config.get('service.drain_delay'),
    closeTimeout: timeout,
    // The workers finish what they have and give the rest back, before anything they need is closed.
    hooks: [() => app.close(), () => queue.close({ timeout }), () => platform.close()],
    logger,
  });
}

async function drain(store: RequestStore, timeout: number): Promise<Readonly<Record<string, number>>> {
  const deadline = performance.now() + timeout;
  for (;;) {
    const states = await store.countByState();
    const open = (states['accepted'] ?? 0) + (states['deferred'] ?? 0);
    if (open === 0 || performance.now() > deadline) return states;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The queue of each urgency: the seed's three where they are configured, else the first for all. */
function queuesOf(queues: readonly string[]): Readonly<Record<'urgent' | 'normal' | 'routine', string>> {
  const usual = queues.includes('default') ? 'default' : (queues[0] ?? 'default');
  const pick = (name: string): string => (queues.includes(name) ? name : usual);
  return { urgent: pick('high_priority'), normal: usual, routine: pick('low_priority') };
}
