import { randomBytes } from 'node:crypto';
import amqplib from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { chaosProxy, startRabbitMq, type RabbitMqServer } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';

let broker: RabbitMqServer;
const open: QueueManager[] = [];

beforeAll(async () => {
  broker = await startRabbitMq();
}, 120_000);

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 1_000 })));
});

afterAll(async () => {
  await broker.stop();
});

async function make(options: QueueManagerOptions = {}): Promise<QueueManager> {
  const namespace = randomBytes(6).toString('hex');
  const manager = await createQueueManager({ rabbitmq: broker.url, namespace, ...options });
  manager.on('error', () => {});
  open.push(manager);
  return manager;
}

function withPassword(url: string): string {
  return url.replace('://', '://guest:guest@');
}

async function withChannel<T>(work: (channel: amqplib.Channel) => Promise<T>): Promise<T> {
  const connection = await amqplib.connect(broker.url);
  try {
    return await work(await connection.createChannel());
  } finally {
    await connection.close();
  }
}

describe('a broker short of memory', () => {
  it('keeps an enqueue waiting that has the time, and takes it when the alarm is over', async () => {
    const manager = await make({ enqueueTimeout: '30s', rabbitmqOptions: { statusStore: 'memory' } });
    const runs: number[] = [];
    manager.registerTaskHandler('t', async (n: number) => void runs.push(n));
    await manager.startWorkers(2);
    await (await manager.enqueueTask('t', 0)).result();
    await broker.setMemoryHighWatermark(0);
    let taken = 0;
    try {
      // The broker says that it takes no more when somebody publishes; one message may still pass.
      await eventually(async () => {
        void manager.enqueueTask('t', 1).then(() => (taken += 1));
        const { code } = await manager.healthIndicator().check({ signal: AbortSignal.timeout(5_000) });
        expect(code).toBe('BROKER_BLOCKED');
      });
      const before = taken;
      const waiting = manager.enqueueTask('t', 2);
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(taken).toBe(before);
      expect(runs).not.toContain(2);
      await broker.setMemoryHighWatermark(0.6);
      await (await waiting).result({ timeout: 10_000 });
    } finally {
      await broker.setMemoryHighWatermark(0.6);
    }
    expect(runs.filter((n) => n === 2)).toEqual([2]);
  }, 60_000);
});

describe('a connection that is dead without a word', () => {
  it('is found by its heartbeat and replaced; what was enqueued in it is taken, what ran in it ends once', async () => {
    await using proxy = await chaosProxy({ target: broker });
    const manager = await make({
      rabbitmq: withPassword(proxy.url('amqp')),
      enqueueTimeout: '20s',
      rabbitmqOptions: { heartbeat: '1s', statusStore: 'memory' },
    });
    const ended: number[] = [];
    let began = false;
    manager.registerTaskHandler('t', async (n: number) => {
      began = true;
      await new Promise((resolve) => setTimeout(resolve, n));
      ended.push(n);
    });
    await manager.startWorkers(2);
    const running = await manager.enqueueTask('t', 1_500);
    await eventually(() => began);
    proxy.halfOpen(true);
    const start = performance.now();
    const during = manager.enqueueTask('t', 1);
    proxy.halfOpen(false);
    await (await during).result({ timeout: 15_000 });
    // Two heartbeats without a word, a third for the look, and the way back.
    expect(performance.now() - start).toBeLessThan(8_000);
    await running.result({ timeout: 15_000 });
    expect(ended.toSorted((a, b) => a - b)).toEqual([1, 1_500]);
  }, 60_000);
});

describe('a start', () => {
  it('during which connections are lost takes longer, and meets no error of the driver', async () => {
    await using proxy = await chaosProxy({ target: broker });
    for (let at = 0; at < 120; at += 8) {
      const made = make({
        rabbitmq: withPassword(proxy.url('amqp')),
        rabbitmqOptions: { waitForBroker: '30s', statusStore: 'memory' },
      });
      const fault = setTimeout(() => proxy.resetAll(), at);
      await expect(made).resolves.toBeDefined();
      clearTimeout(fault);
      await open.pop()?.close({ timeout: 500 });
    }
  }, 60_000);
});

describe('several brokers', () => {
  it('take over for each other while the queue runs', async () => {
    await using one = await chaosProxy({ target: broker });
    await using two = await chaosProxy({ target: broker });
    const manager = await make({
      rabbitmq: [one, two].map((proxy) => withPassword(proxy.url('amqp'))),
      enqueueTimeout: '15s',
    });
    manager.registerTaskHandler('t', async (n: number) => n);
    await manager.startWorkers(2);
    expect(one.connections).toBeGreaterThan(0);
    expect(two.connections).toBe(0);
    one.cut();
    one.resetAll();
    expect(await (await manager.enqueueTask('t', 1)).result({ timeout: 15_000 })).toBe(1);
    expect(two.connections).toBeGreaterThan(0);
    await one.heal();
    two.cut();
    two.resetAll();
    expect(await (await manager.enqueueTask('t', 2)).result({ timeout: 15_000 })).toBe(2);
    expect(one.connections).toBeGreaterThan(0);
  }, 60_000);
});

describe('connections that the broker closes', () => {
  it('under load lose nothing: every task that was accepted runs', async () => {
    const manager = await make({ enqueueTimeout: '20s' });
    const ran = new Set<number>();
    manager.registerTaskHandler('t', async (n: number) => void ran.add(n));
    await manager.startWorkers(10);
    let closing = true;
    const faults = (async () => {
      for (let round = 0; round < 3; round += 1) await broker.closeAllConnections();
      closing = false;
    })();
    const accepted: number[] = [];
    for (let n = 0; closing; n += 20) {
      const batch = Array.from({ length: 20 }, (_, index) => n + index);
      await Promise.all(
        batch.map((value) => manager.enqueueTask('t', value).then(() => accepted.push(value))),
      );
    }
    await faults;
    await manager.whenIdle('default', { timeout: '30s' });
    expect(accepted.length).toBeGreaterThan(100);
    expect(accepted.filter((n) => !ran.has(n))).toEqual([]);
  }, 90_000);
});

describe('what the broker has lost of its topology', () => {
  it('a list that is deleted while a task is delayed on its way there gets it all the same', async () => {
    const namespace = randomBytes(6).toString('hex');
    const manager = await make({ namespace });
    manager.registerTaskHandler('t', async (n: number) => n);
    await manager.startWorkers(2);
    const task = await manager.enqueueTask('t', 1, { delay: '2s' });
    await withChannel((channel) => channel.deleteQueue(`xiaoke1.${namespace}.default.normal`));
    expect(await task.result({ timeout: 10_000 })).toBe(1);
  }, 60_000);

  it('a delay exchange that is deleted closes the channel of the publisher; it is made again, and no neighbour is lost', async () => {
    const manager = await make({ enqueueTimeout: '10s' });
    manager.registerTaskHandler('t', async (n: number) => n);
    await manager.startWorkers(2);
    await (await manager.enqueueTask('t', 1, { delay: 150 })).result({ timeout: 10_000 });
    await withChannel((channel) => channel.deleteExchange('xiaoke1.delay.0'));
    const tasks = await Promise.all([
      manager.enqueueTask('t', 2),
      manager.enqueueTask('t', 3, { delay: 150 }),
      manager.enqueueTask('t', 4),
    ]);
    for (const task of tasks) await task.result({ timeout: 10_000 });
  }, 60_000);
});
