import { connect } from 'amqp-connection-manager';
import { Connection } from 'rabbitmq-client';
import { createQueueManager, type QueueManagerOptions } from '@xiaoke/queue';
import { PAYLOAD } from './support/contenders.ts';

/** Where the servers of a run are. */
export interface Servers {
  readonly amqp: string;
  readonly redis: string;
}

/** A candidate on a fresh quorum queue: confirmed, persistent publishing, and consuming that acknowledges after the handler. */
export interface RabbitContender {
  /** Publishes one; resolves when the broker has confirmed it. */
  add(): Promise<unknown>;
  /** Starts to consume; `done` is called as the message is acknowledged. */
  work(slots: number, done: () => void): Promise<void>;
  close(): Promise<void>;
}

/** Makes a candidate. */
export type MakeRabbitContender = (servers: Servers, name: string) => Promise<RabbitContender>;

function xiaoke(options: (servers: Servers) => QueueManagerOptions): MakeRabbitContender {
  return async (servers, name) => {
    const manager = await createQueueManager({
      type: 'rabbitmq',
      rabbitmq: servers.amqp,
      namespace: name,
      retention: { finished: 1_000_000 },
      ...options(servers),
    });
    manager.registerTaskHandler('work', async () => {});
    return {
      add: () => manager.enqueueTask('work', PAYLOAD),
      work: async (slots, done) => {
        manager.on('completed', done);
        await manager.startWorkers(slots);
      },
      close: () => manager.close({ timeout: 2_000 }),
    };
  };
}

const QUORUM = { durable: true, arguments: { 'x-queue-type': 'quorum' } } as const;

const rabbitmqClient: MakeRabbitContender = async ({ amqp }, queue) => {
  const connection = new Connection(amqp);
  await connection.queueDeclare({ queue, ...QUORUM });
  const publisher = connection.createPublisher({ confirm: true });
  let consumer: { close(): Promise<void> } | undefined;
  return {
    add: () => publisher.send({ routingKey: queue, durable: true, mandatory: true }, PAYLOAD),
    work: (slots, done) => {
      // Its documentation advises twice the concurrency.
      const qos = { prefetchCount: 2 * slots };
      consumer = connection.createConsumer(
        { queue, queueOptions: { passive: true }, concurrency: slots, qos },
        async () => done(),
      );
      return Promise.resolve();
    },
    close: async () => {
      await consumer?.close();
      await publisher.close();
      await connection.close();
    },
  };
};

const amqpConnectionManager: MakeRabbitContender = async ({ amqp }, queue) => {
  const connection = connect([amqp]);
  const channel = connection.createChannel({
    json: true,
    setup: (made: { assertQueue(name: string, options: object): Promise<unknown> }) =>
      made.assertQueue(queue, QUORUM) as Promise<void>,
  });
  await channel.waitForConnect();
  return {
    add: () => channel.sendToQueue(queue, PAYLOAD, { persistent: true, mandatory: true }),
    work: async (slots, done) => {
      await channel.consume(
        queue,
        (message) => {
          JSON.parse(message.content.toString());
          channel.ack(message);
          done();
        },
        { prefetch: slots },
      );
    },
    close: async () => {
      await channel.close();
      await connection.close();
    },
  };
};

/** All candidates; the bars are about the first, those named after it stand beside it. */
export const rabbitContenders: Readonly<Record<string, MakeRabbitContender>> = {
  xiaoke: xiaoke(() => ({ rabbitmqOptions: { statusStore: 'memory' } })),
  'xiaoke-redis': xiaoke(({ redis }) => ({ redis })),
  'xiaoke-stream': xiaoke(() => ({})),
  'rabbitmq-client': rabbitmqClient,
  'amqp-connection-manager': amqpConnectionManager,
};
