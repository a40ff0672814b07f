import { startPostgres, startRabbitMq, startRedis } from '@xiaoke/test-servers';
import type { Environment } from '../../src/configuration.ts';

/** Servers that a service runs on, and what stops them. */
export interface Ground {
  readonly env: Environment;
  readonly stop: () => Promise<void>;
}

/** What the service runs on: nothing at all, or real servers. The same tests pass on each. */
export const GROUNDS: Readonly<Record<string, () => Promise<Ground>>> = {
  'memory and PGlite': async () => ({ env: {}, stop: async () => {} }),
  'Redis and PostgreSQL': async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    return {
      env: { REDIS_URL: redis.url, DATABASE_URL: postgres.url },
      stop: async () => {
        await Promise.all([redis.stop(), postgres.stop()]);
      },
    };
  },
  'RabbitMQ and PGlite': async () => {
    const rabbitmq = await startRabbitMq();
    return { env: { QUEUE_TYPE: 'rabbitmq', RABBITMQ_URL: rabbitmq.url }, stop: () => rabbitmq.stop() };
  },
};
