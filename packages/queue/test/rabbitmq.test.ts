import { randomBytes } from 'node:crypto';
import amqplib from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { chaosProxy, freePort, startRabbitMq, type RabbitMqServer } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';
import { FrameWriter } from '../src/rabbitmq/frame-writer.ts';

let broker: RabbitMqServer;
const open: QueueManager[] = [];

beforeAll(async () => {
  broker = await startRabbitMq({ config: ['consumer_timeout = 2000'] });
  // How often channels look for it is not in the schema of rabbitmq.conf.
  await broker.ctl('eval', 'application:set_env(rabbit, channel_tick_interval, 500).');
}, 120_000);

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 1_000 })));
});

afterAll(async () => {
  await broker.stop();
});

function unique(): string {
  return randomBytes(6).toString('hex');
}

async function make(options: QueueManagerOptions = {}): Promise<QueueManager> {
  const manager = await createQueueManager({ rabbitmq: broker.url, namespace: unique(), ...options });
  manager.on('error', () => {});
  open.push(manager);
  return manager;
}

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => 'no error',
    (error: unknown) => Reflect.get(Object(error), 'code'),
  );
}

async function withChannel<T>(work: (channel: amqplib.Channel) => Promise<T>): Promise<T> {
  const connection = await amqplib.connect(broker.url);
  try {
    return await work(await connection.createChannel());
  } finally {
    await connection.close();
  }
}

/** The first message of a stream, whose count lags too far behind to be asked. */
async function firstOf(stream: string): Promise<string> {
  return await withChannel(async (channel) => {
    await channel.prefetch(10);
    return await new Promise((resolve, reject) => {
      channel
        .consume(stream, (message) => resolve(String(message?.content)), {
          arguments: { 'x-stream-offset': 'first' },
        })
        .catch(reject);
    });
  });
}

describe('starting', () => {
  it('with no broker there is refused in time, with a code', async () => {
    const rabbitmq = `amqp://127.0.0.1:${await freePort()}`;
    const attempt = (): Promise<unknown> =>
      createQueueManager({ rabbitmq, rabbitmqOptions: { connectTimeout: 400 } });
    // The first one in a process also loads the driver.
    await codeOf(attempt());
    const start = performance.now();
    expect(await codeOf(attempt())).toBe('QUEUE_UNAVAILABLE');
    expect(performance.now() - start).toBeLessThan(3_000);
  });

  it('against a broker that accepts and never answers is refused in time too', async () => {
    await using proxy = await chaosProxy({ target: broker });
    proxy.halfOpen(true);
    const made = createQueueManager({
      rabbitmq: proxy.url('amqp'),
      rabbitmqOptions: { connectTimeout: 400 },
    });
    expect(await codeOf(made)).toBe('QUEUE_UNAVAILABLE');
  });

  it('waits for a broker that is down when it is asked to', async () => {
    await using proxy = await chaosProxy({ target: broker });
    proxy.cut();
    const made = make({
      rabbitmq: proxy.url('amqp'),
      rabbitmqOptions: { connectTimeout: 300, waitForBroker: true },
    });
    let ready = false;
    void made.then(() => (ready = true));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(ready).toBe(false);
    await proxy.heal();
    const manager = await made;
    expect((await manager.enqueueTask('x', 1)).duplicate).toBe(false);
  });

  it('tries its brokers in turn', async () => {
    const manager = await make({ rabbitmq: [`amqp://127.0.0.1:${await freePort()}`, broker.url] });
    expect((await manager.enqueueTask('x', 1)).duplicate).toBe(false);
    expect(await manager.healthIndicator().check({ signal: AbortSignal.timeout(5_000) })).toEqual({
      status: 'healthy',
    });
  });

  it.each([
    [{ rabbitmq: 'http://user:secret@host' }, 'rabbitmq'],
    [{ rabbitmq: [] }, 'rabbitmq'],
    [{ rabbitmq: ['amqp://a', 'nonsense'] }, 'rabbitmq[1]'],
    [{ rabbitmq: 'amqp://a', rabbitmqOptions: { statusStore: 'redis' } }, 'rabbitmqOptions.statusStore'],
    [{ rabbitmq: 'amqp://a', rabbitmqOptions: { heartbeat: 1 } }, 'rabbitmqOptions.heartbeat'],
    [{ rabbitmq: 'amqp://a', rabbitmqOptions: { confirmWindow: 0 } }, 'rabbitmqOptions.confirmWindow'],
  ] as const)('refuses %j', async (options, option) => {
    const error: unknown = await createQueueManager(options as QueueManagerOptions).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'INVALID_OPTION', details: { option } });
    expect(String(error)).not.toContain('secret');
  });

  it('refuses the delayed-message plugin where the broker lacks it, and harms nothing', async () => {
    const made = createQueueManager({ rabbitmq: broker.url, rabbitmqOptions: { delayedExchange: true } });
    expect(await codeOf(made)).toBe('UNSUPPORTED');
  });

  it('refuses what would be lost with the process when the status store is in its memory', async () => {
    const manager = await make({ rabbitmqOptions: { statusStore: 'memory' } });
    expect(await codeOf(manager.enqueueTask('x', 1, { group: { key: 'g' } }))).toBe('UNSUPPORTED');
    expect(
      await codeOf(manager.enqueueFlow({ name: 'x', payload: 1, children: [{ name: 'y', payload: 1 }] })),
    ).toBe('UNSUPPORTED');
  });
});

describe('messages', () => {
  it.each([
    ['written by us', FrameWriter.of],
    // As with a version of amqplib whose channels look different.
    ['written by amqplib', () => undefined],
  ])(
    '%s carry every id and text as they are, in the order of their calls, however large',
    async (_name, of) => {
      vi.spyOn(FrameWriter, 'of').mockImplementation(of);
      const namespace = unique();
      const manager = await make({ namespace, rabbitmqOptions: { statusStore: 'memory' } });
      const ids = ['plain', '病人-😀', 'a'.repeat(85), 'b'.repeat(86), '病'.repeat(84), 'c'.repeat(200)];
      const payloads = ['', 'ü😀\ud800', 'x'.repeat(16_000), 'y'.repeat(20_000), '病'.repeat(90_000)];
      const sent = ids.flatMap((id) =>
        payloads.map((payload, n) => ({ id: n === 0 ? id : `${n}${id}`.slice(0, 200), payload })),
      );
      const options = sent.map(({ id, payload }) => ({ name: 't', payload, options: { id } }));
      const tasks = await manager.enqueueTasks(options);
      expect(tasks.filter(({ duplicate }) => duplicate)).toEqual([]);
      const read = await withChannel(async (channel) => {
        const messages: amqplib.GetMessage[] = [];
        for (;;) {
          const message = await channel.get(`xiaoke1.${namespace}.default.normal`);
          if (message === false) return messages;
          messages.push(message);
        }
      });
      expect(read.map(({ properties }) => properties.messageId)).toEqual(sent.map(({ id }) => id));
      expect(read.map(({ content }) => JSON.parse(content.toString())[4])).toEqual(
        sent.map(({ payload }) => payload),
      );
      for (const { properties } of read)
        expect(properties).toMatchObject({ correlationId: '1', deliveryMode: 2 });
    },
  );

  it('an id that does not fit into one is refused before anything is written', async () => {
    const manager = await make({ rabbitmqOptions: { statusStore: 'memory' } });
    const tasks = [
      { name: 't', payload: 1 },
      { name: 't', payload: 2, options: { id: '病'.repeat(86) } },
    ];
    await expect(manager.enqueueTasks(tasks)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      details: { option: 'id' },
    });
    expect((await manager.inspectQueues(['default']))[0]?.totals.enqueued).toBe(0);
  });
});

describe('delays', () => {
  it('are never early, and late by less than 50 ms a hop', async () => {
    const manager = await make();
    const due = new Map<number, number>();
    /** Of several tries: what is late by design is late every time, what a busy machine delays is not. */
    const least = new Map<number, number>();
    const early: number[] = [];
    manager.registerTaskHandler('at', async (delay: number) => {
      const late = Date.now() - (due.get(delay) ?? 0);
      if (late < 0) early.push(delay);
      least.set(delay, Math.min(late, least.get(delay) ?? Infinity));
    });
    await manager.startWorkers(5);
    // The tiers are there before the clock starts.
    await (await manager.enqueueTask('at', -1, { delay: 3_200 })).result({ timeout: 10_000 });
    const delays = [1, 40, 99, 100, 101, 250, 700, 1_500, 3_100];
    for (let round = 0; round < 4; round += 1) {
      for (const delay of delays) due.set(delay, Date.now() + delay);
      const tasks = await manager.enqueueTasks(
        delays.map((delay) => ({ name: 'at', payload: delay, options: { delay } })),
      );
      for (const task of tasks) await task.result({ timeout: 10_000 });
    }
    expect(early).toEqual([]);
    for (const delay of delays) {
      const hops = Math.floor(delay / 100)
        .toString(2)
        .replaceAll('0', '').length;
      // One more for the enqueue and the way to the worker.
      expect(least.get(delay), `${delay} ms`).toBeLessThanOrEqual(50 * (hops + 1));
    }
  }, 60_000);
});

describe('faults that close no connection', () => {
  it('a channel that the broker closes over a slow handler is opened again, and the task is run to its end', async () => {
    const manager = await make({ grace: 10 });
    let runs = 0;
    manager.registerTaskHandler('slow', async () => {
      runs += 1;
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      return 'done';
    });
    manager.registerTaskHandler('quick', async () => 'quick');
    await manager.startWorkers(2);
    const slow = await manager.enqueueTask('slow', 1);
    expect(await slow.result({ timeout: 20_000 })).toBe('done');
    const quick = await manager.enqueueTask('quick', 1);
    expect(await quick.result({ timeout: 5_000 })).toBe('quick');
    // The broker sent it again to the only worker, which still ran it.
    expect(runs).toBe(1);
  }, 30_000);

  it('a paused queue holds no message, so that none runs into the broker’s limits', async () => {
    const namespace = unique();
    const manager = await make({ namespace });
    const ran: number[] = [];
    manager.registerTaskHandler('t', async (n: number) => void ran.push(n));
    await manager.startWorkers(5);
    await manager.pause('default');
    const tasks = await manager.enqueueTasks(
      Array.from({ length: 8 }, (_, n) => ({ name: 't', payload: n })),
    );
    const list = `xiaoke1.${namespace}.default.normal`;
    // Longer than the broker lets a consumer keep a message.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const { messageCount, consumerCount } = await withChannel((channel) => channel.checkQueue(list));
    expect([messageCount, consumerCount, ran]).toEqual([8, 0, []]);
    await manager.resume('default');
    for (const task of tasks) await task.result({ timeout: 10_000 });
    expect(ran.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  }, 30_000);

  it('lists that are deleted under their consumer are made again, and what lay in them is run', async () => {
    const namespace = unique();
    const manager = await make({ namespace });
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    const ran = new Set<number>();
    manager.registerTaskHandler('t', async (n: number) => {
      await gate;
      ran.add(n);
    });
    await manager.startWorkers(2);
    const tasks = await manager.enqueueTasks(
      Array.from({ length: 100 }, (_, n) => ({
        name: 't',
        payload: n,
        options: { priority: (['high', 'normal', 'low'] as const)[n % 3] ?? 'normal' },
      })),
    );
    await eventually(async () => (await manager.inspectQueues(['default']))[0]?.states.active === 2);
    await withChannel(async (channel) => {
      for (const list of ['high', 'normal', 'low'])
        await channel.deleteQueue(`xiaoke1.${namespace}.default.${list}`);
    });
    release();
    for (const task of tasks) await task.result({ timeout: 20_000 });
    expect(ran.size).toBe(100);
  }, 60_000);

  it('a list that is deleted while nobody consumes it is made again by the next message, with all that it held', async () => {
    const namespace = unique();
    const manager = await make({ namespace });
    manager.registerTaskHandler('t', async (n: number) => n);
    const before = await manager.enqueueTask('t', 1);
    await withChannel((channel) => channel.deleteQueue(`xiaoke1.${namespace}.default.normal`));
    const after = await manager.enqueueTask('t', 2);
    await manager.startWorkers(1);
    expect(await after.result({ timeout: 10_000 })).toBe(2);
    expect(await before.result({ timeout: 10_000 })).toBe(1);
  }, 30_000);

  it('short of memory, enqueuing is refused in time with a code; running tasks end, and all goes on afterwards', async () => {
    const manager = await make({ enqueueTimeout: 500, rabbitmqOptions: { statusStore: 'memory' } });
    manager.registerTaskHandler('t', async (n: number) => n);
    const before = await manager.enqueueTask('t', 1);
    await broker.setMemoryHighWatermark(0);
    try {
      await eventually(async () => {
        const start = performance.now();
        expect(await codeOf(manager.enqueueTask('t', 2))).toBe('QUEUE_UNAVAILABLE');
        expect(performance.now() - start).toBeLessThan(3_000);
      });
      const health = await manager.healthIndicator().check({ signal: AbortSignal.timeout(5_000) });
      expect(health).toEqual({ status: 'degraded', code: 'BROKER_BLOCKED' });
      await manager.startWorkers(1);
      expect(await before.result({ timeout: 5_000 })).toBe(1);
    } finally {
      await broker.setMemoryHighWatermark(0.6);
    }
    await eventually(async () => expect(await codeOf(manager.enqueueTask('t', 3))).toBe('no error'));
  }, 30_000);
});

describe('dead letters', () => {
  it('survive a status store that is gone, and are retried from the broker’s copy', async () => {
    const namespace = unique();
    const options = { namespace, rabbitmqOptions: { statusStore: 'memory' } } as const;
    const first = await make(options);
    first.registerTaskHandler('d', async () => {
      throw new Error('sick');
    });
    await first.startWorkers(2);
    const ids = (
      await first.enqueueTasks([1, 2, 3].map((n) => ({ name: 'd', payload: n, options: { attempts: 1 } })))
    ).map(({ id }) => id);
    await eventually(async () => expect(await first.deadLetters.count()).toBe(3));
    await first.close({ timeout: 1_000 });
    const second = await make(options);
    const { items } = await second.deadLetters.list();
    expect(items.map(({ id }) => id).sort()).toEqual([...ids].sort());
    expect(await second.deadLetters.purge([ids[0] ?? ''])).toBe(1);
    second.registerTaskHandler('d', async (n: number) => n);
    await second.startWorkers(1);
    expect(await second.deadLetters.retry({ queue: 'default' })).toBe(2);
    await eventually(async () => expect((await second.getTask(ids[2] ?? ''))?.state).toBe('completed'));
    await second.close({ timeout: 1_000 });
    const third = await make(options);
    expect(await third.deadLetters.count()).toBe(0);
  }, 30_000);
});

describe('the status store in a stream', () => {
  it('is read by a new process from its last snapshot, with schedules, unique keys and results', async () => {
    const namespace = unique();
    const options = { namespace, rabbitmqOptions: { snapshotEvery: 20 } } as const;
    const first = await make(options);
    first.registerTaskHandler('t', async (n: number) => n * 2);
    await first.startWorkers(1);
    const done = await first.enqueueTask('t', 21);
    await done.result();
    await first.schedules.upsert('yearly', { cron: '0 0 1 1 *' }, 't', 1);
    const held = await first.enqueueTask('later', 1, {
      delay: '1h',
      unique: { key: 'k', mode: 'reject' },
    });
    for (let n = 0; n < 60; n += 1) await first.cancelTask(`nobody-${n}`);
    expect(await firstOf(`xiaoke1.${namespace}.snapshots`)).toContain('"version":1');
    const second = await make(options);
    const record = await second.getTask(done.id);
    expect([record?.state, record?.result]).toEqual(['completed', 42]);
    expect((await second.schedules.list()).map(({ id }) => id)).toEqual(['yearly']);
    const again = await second.enqueueTask('later', 2, { unique: { key: 'k', mode: 'reject' } });
    expect([again.duplicate, again.id]).toEqual([true, held.id]);
  }, 60_000);

  it('is made again from what a process still knows when it is deleted', async () => {
    const namespace = unique();
    const first = await make({ namespace });
    const task = await first.enqueueTask('t', 1, { delay: '1h' });
    await withChannel((channel) => channel.deleteQueue(`xiaoke1.${namespace}.ledger`));
    await eventually(async () => expect((await first.getTask(task.id))?.state).toBe('delayed'), {
      timeout: 10_000,
    });
    await eventually(
      async () => {
        const second = await make({ namespace });
        expect((await second.getTask(task.id))?.state).toBe('delayed');
      },
      { timeout: 15_000 },
    );
  }, 40_000);
});

describe('closing', () => {
  it('ends in time with the broker frozen, and leaves nothing behind', async () => {
    await using frozen = await startRabbitMq();
    const manager = await make({ rabbitmq: frozen.url });
    manager.registerTaskHandler('hang', () => new Promise(() => {}));
    await manager.startWorkers(2);
    await manager.enqueueTask('hang', 1);
    await eventually(async () => (await manager.inspectQueues(['default']))[0]?.states.active === 1);
    frozen.pause();
    try {
      const start = performance.now();
      await manager.close({ timeout: 1_500 });
      expect(performance.now() - start).toBeLessThan(3_000);
    } finally {
      frozen.resume();
    }
  }, 60_000);
});
