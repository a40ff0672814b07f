import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import amqplib from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startRabbitMq, type RabbitMqServer } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager } from '../src/index.ts';

let broker: RabbitMqServer;
const closing: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  broker = await startRabbitMq();
}, 120_000);

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

afterAll(async () => {
  await broker.stop();
});

/** The broker, but for the version that it announces in its first words. */
async function announcing(version: string): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(broker.port, broker.host);
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => {}));
    client.pipe(upstream);
    upstream.once('data', (hello: Buffer) => {
      client.write(renamed(hello, version));
      upstream.pipe(client);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return `amqp://guest:guest@127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** `version` is a long string of the server's properties; filled up with spaces, it keeps its length. */
function renamed(hello: Buffer, version: string): Buffer {
  const name = Buffer.from('\x07versionS');
  const at = hello.indexOf(name) + name.length;
  const length = hello.readUInt32BE(at);
  expect(version.length).toBeLessThanOrEqual(length);
  hello.write(version.padEnd(length), at + 4);
  return hello;
}

async function make(rabbitmq: string, namespace: string): Promise<QueueManager> {
  const manager = await createQueueManager({ rabbitmq, namespace });
  closing.push(() => manager.close({ timeout: 1_000 }));
  return manager;
}

/** Asks the broker itself about the dead letters of a namespace: `undefined`, or the code of its refusal. */
async function refusal(namespace: string, more: object, passive = false): Promise<unknown> {
  const connection = await amqplib.connect(broker.url);
  try {
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    const name = `xiaoke1.${namespace}.default.dead`;
    const declared = { durable: true, arguments: { 'x-queue-type': 'quorum', ...more } };
    await (passive ? channel.checkQueue(name) : channel.assertQueue(name, declared));
    return undefined;
  } catch (error) {
    return Reflect.get(Object(error), 'code');
  } finally {
    await connection.close();
  }
}

describe('the version that a broker announces', () => {
  it.each(['3.9', '2.8', '0', 'odd'])('%s is refused with it, and nothing is declared', async (version) => {
    const namespace = randomBytes(6).toString('hex');
    const rabbitmq = await announcing(version);
    const error: unknown = await make(rabbitmq, namespace).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'UNSUPPORTED' });
    expect(String(Reflect.get(Reflect.get(Object(error), 'details') as object, 'version'))).toMatch(
      new RegExp(`^${version}\\s*$`),
    );
    expect(await refusal(namespace, {}, true)).toBe(404);
  });

  it.each(['3.10', '3.13'])('%s gets no limit of deliveries that it has no need for', async (version) => {
    const namespace = randomBytes(6).toString('hex');
    const manager = await make(await announcing(version), namespace);
    manager.registerTaskHandler('t', async (n: number) => n);
    await manager.startWorkers(1);
    expect(await (await manager.enqueueTask('t', 1)).result({ timeout: 10_000 })).toBe(1);
    expect(await refusal(namespace, {})).toBeUndefined();
  });

  it.each(['4.0', '4.3'])(
    '%s has its default limit lifted from the dead letters, which are looked at',
    async (version) => {
      const namespace = randomBytes(6).toString('hex');
      const manager = await make(await announcing(version), namespace);
      manager.registerTaskHandler('t', async (n: number) => n);
      await manager.startWorkers(1);
      expect(await (await manager.enqueueTask('t', 1)).result({ timeout: 10_000 })).toBe(1);
      expect(await refusal(namespace, { 'x-delivery-limit': -1 })).toBeUndefined();
      expect(await refusal(namespace, {})).toBe(406);
    },
  );
});

// On a broker whose default limit is 20, each look counted against it.
it('dead letters are looked at as often as one likes, and none is lost by it', async () => {
  const namespace = randomBytes(6).toString('hex');
  const first = await createQueueManager({
    rabbitmq: broker.url,
    namespace,
    rabbitmqOptions: { statusStore: 'memory' },
  });
  first.registerTaskHandler('d', async () => {
    throw new Error('sick');
  });
  await first.startWorkers(1);
  const { id } = await first.enqueueTask('d', 1, { attempts: 1 });
  await expect(first.getTask(id)).resolves.toBeDefined();
  while ((await first.deadLetters.count()) === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await first.close({ timeout: 1_000 });
  for (let look = 0; look < 25; look += 1) {
    const next = await createQueueManager({
      rabbitmq: broker.url,
      namespace,
      rabbitmqOptions: { statusStore: 'memory' },
    });
    const { items } = await next.deadLetters.list();
    expect(items.map((item) => item.id)).toEqual([id]);
    await next.close({ timeout: 1_000 });
  }
}, 120_000);
