import { connect } from 'amqp-connection-manager';
import amqplib from 'amqplib';
import { Connection } from 'rabbitmq-client';
import { createQueueManager, type QueueManagerOptions } from '@xiaoke/queue';
import { PAYLOAD } from './contenders.ts';

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

/** What xiaoke holds of one priority, and so what every candidate may hold: the slots, and 3/10 of one message for each. */
function prefetchOf(slots: number): number {
  return slots + Math.ceil((slots * 3) / 10);
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
      const qos = { prefetchCount: prefetchOf(slots) };
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
        // Its handler is over before the next message is read, so more than the slots never run.
        { prefetch: prefetchOf(slots) },
      );
    },
    close: async () => {
      await channel.close();
      await connection.close();
    },
  };
};

/** amqplib alone, which xiaoke and amqp-connection-manager stand on: what no code on top of it can go below. */
const bareAmqplib: MakeRabbitContender = async ({ amqp }, queue) => {
  const connection = await amqplib.connect(amqp);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue(queue, QUORUM);
  const publish = (content: Buffer, confirmed: (error: unknown) => void): boolean =>
    channel.sendToQueue(queue, content, { persistent: true, mandatory: true }, confirmed);
  return {
    add: () =>
      new Promise<void>((resolve, reject) => {
        publish(Buffer.from(JSON.stringify(PAYLOAD)), (error) =>
          error instanceof Error ? reject(error) : resolve(),
        );
      }),
    work: async (slots, done) => {
      await channel.prefetch(prefetchOf(slots));
      await channel.consume(queue, (message) => {
        if (message === null) return;
        JSON.parse(message.content.toString());
        channel.ack(message);
        done();
      });
    },
    close: () => connection.close(),
  };
};

/** All candidates; the bars are about the first, those named after it and the bare one stand beside it. */
export const rabbitContenders: Readonly<Record<string, MakeRabbitContender>> = {
  xiaoke: xiaoke(() => ({ rabbitmqOptions: { statusStore: 'memory' } })),
  'xiaoke-redis': xiaoke(({ redis }) => ({ redis })),
  'xiaoke-stream': xiaoke(() => ({})),
  'rabbitmq-client': rabbitmqClient,
  'amqp-connection-manager': amqpConnectionManager,
  'bare amqplib': bareAmqplib,
};
