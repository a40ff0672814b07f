import { processWide } from '@xiaoke/core';
import { openRedis } from '@xiaoke/core/redis';
import type { Backend } from './backend.ts';
import { Manager } from './manager.ts';
import type { AmqpConnect } from './rabbitmq/amqp.ts';
import { MemoryBackend } from './memory/memory-backend.ts';
import {
  resolveQueueOptions,
  type QueueManagerOptions,
  type QueueType,
  type ResolvedQueueOptions,
} from './options.ts';
import type { QueueManager, TaskMap } from './queue-manager.ts';

/**
 * Makes a queue manager and connects it.
 *
 * @throws InvalidOptionError; QueueError `UNSUPPORTED`, `QUEUE_UNAVAILABLE`
 *
 * @example
 * ```ts
 * import { createQueueManager } from '@xiaoke/queue';
 * const manager = await createQueueManager<{ greet: { payload: { name: string }; result: string } }>();
 * manager.registerTaskHandler('greet', async ({ name }) => `Hello ${name}`);
 * await manager.startWorkers(4);
 * const task = await manager.enqueueTask('greet', { name: 'Ada' });
 * console.log(await task.result()); // => Hello Ada
 * await manager.close();
 * ```
 */
export async function createQueueManager<Tasks extends object = TaskMap>(
  options: QueueManagerOptions = {},
): Promise<QueueManager<Tasks>> {
  return (await make(options, false)) as unknown as QueueManager<Tasks>;
}

/** The process-wide manager for these arguments, made on first use and again after it was closed. */
export const getQueueManager: (type?: QueueType, options?: QueueManagerOptions) => Promise<QueueManager> =
  processWide(
    '@xiaoke/queue',
    async (type?: QueueType, options: QueueManagerOptions = {}): Promise<QueueManager> =>
      (await make(type === undefined ? options : { ...options, type }, true)) as unknown as QueueManager,
  );

async function make(options: QueueManagerOptions, shared: boolean): Promise<Manager> {
  const resolved = resolveQueueOptions(options);
  const manager = new Manager(resolved, await backendFor(resolved), shared);
  try {
    await manager.open();
  } catch (error) {
    await manager.close({ timeout: 1_000 });
    throw error;
  }
  return manager;
}

async function backendFor(options: ResolvedQueueOptions): Promise<Backend> {
  if (options.type === 'memory') return new MemoryBackend(options);
  if (options.type === 'rabbitmq') return await rabbitMqBackend(options);
  const [{ RedisBackend }, connection] = await Promise.all([
    import('./redis/redis-backend.ts'),
    openRedis(options.redis, { load: async () => await import('ioredis'), logger: options.logger }),
  ]);
  return new RedisBackend(options, connection);
}

async function rabbitMqBackend(options: ResolvedQueueOptions): Promise<Backend> {
  const [{ RabbitMqBackend }, { default: amqplib }, { RedisLog }] = await Promise.all([
    import('./rabbitmq/rabbitmq-backend.ts'),
    import('amqplib'),
    import('./rabbitmq/redis-log.ts'),
  ]);
  const connect = amqplib.connect as unknown as AmqpConnect;
  if (options.rabbitmqOptions.statusStore !== 'redis')
    return new RabbitMqBackend(options, connect, undefined);
  const { redis, logger, namespace, clock } = options;
  const connection = await openRedis(redis, { load: async () => await import('ioredis'), logger });
  const troubled = (error: unknown): void => logger.warn({ err: error }, 'the status store was lost');
  return new RabbitMqBackend(
    options,
    connect,
    (background) => new RedisLog({ connection, namespace, clock, background, troubled }),
  );
}
