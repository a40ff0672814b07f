import { once } from 'node:events';
import { existsSync } from 'node:fs';

import { connect } from 'amqplib';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { descendantsOf } from '../src/process-tree.ts';
import { eventually, isRunning, startRabbitMq, type RabbitMqServer } from '../src/index.ts';

let rabbit: RabbitMqServer;

beforeAll(async () => {
  rabbit = await startRabbitMq({ config: ['heartbeat = 5'] });
});

afterAll(() => rabbit.stop());

test('a broker carries a message', async () => {
  const connection = await connect(rabbit.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('mail', { durable: true });
  channel.sendToQueue('mail', Buffer.from('hello'), { persistent: true });
  await channel.waitForConfirms();

  const message = await channel.get('mail', { noAck: true });
  expect(message === false ? undefined : message.content.toString()).toBe('hello');
  await connection.close();
});

test('closing all connections forces clients out', async () => {
  const connection = await connect(rabbit.url);
  const closed = once(connection, 'close');
  await rabbit.closeAllConnections();
  expect(String(await closed)).toMatch(/CONNECTION-FORCED.*closed by a test/);
});

test('a watermark of 0 blocks publishers until it is set back', async () => {
  const connection = await connect(rabbit.url);
  const channel = await connection.createChannel();
  const blocked = once(connection, 'blocked');
  await rabbit.setMemoryHighWatermark(0);
  channel.publish('', 'nobody', Buffer.from('x'));
  await blocked;

  const unblocked = once(connection, 'unblocked');
  await rabbit.setMemoryHighWatermark(0.4);
  await unblocked;
  await connection.close();
});

test('durable messages survive a kill -9, a pause leaves clients waiting', async () => {
  const before = await connect(rabbit.url);
  before.on('error', () => undefined);
  const channel = await before.createConfirmChannel();
  await channel.assertQueue('kept', { durable: true });
  channel.sendToQueue('kept', Buffer.from('precious'), { persistent: true });
  await channel.waitForConfirms();
  await rabbit.syncDefinitions();

  await rabbit.restart();
  const after = await connect(rabbit.url);
  const again = await after.createChannel();
  expect(await again.checkQueue('kept')).toMatchObject({ messageCount: 1 });

  rabbit.pause();
  let answered = false;
  const check = again.checkQueue('kept').finally(() => (answered = true));
  await expect(eventually(() => answered, { timeoutMs: 150 })).rejects.toThrow();
  rabbit.resume();
  await check;
  await after.close();
});

test('a stopped application refuses, and serves again when it is started', async () => {
  await rabbit.stopApp();
  await expect(connect(rabbit.url)).rejects.toThrow();

  await rabbit.startApp();
  const connection = await connect(rabbit.url);
  await connection.close();
});

test('a second broker runs beside the first, and stopping it leaves nothing behind', async () => {
  const second = await startRabbitMq();
  const pids = [second.pid, ...descendantsOf(second.pid)];
  expect(second.port).not.toBe(rabbit.port);
  expect(await second.ctl('list_queues', '--no-table-headers', 'name')).not.toContain('kept');
  expect(await rabbit.ctl('list_queues', '--no-table-headers', 'name')).toContain('kept');

  await second.stop();
  await eventually(() => !pids.some(isRunning), { what: 'all processes of the broker to end' });
  expect(existsSync(second.directory)).toBe(false);
});
