import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startRabbitMq, type RabbitMqServer } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager } from '../src/index.ts';

// The plugin is no part of RabbitMQ: CONTRIBUTING.md says how to give one to the tests.
const hasPlugin = process.env['XIAOKE_RABBITMQ_PLUGINS'] !== undefined;

describe.skipIf(!hasPlugin)('delays by the plugin rabbitmq_delayed_message_exchange', () => {
  let broker: RabbitMqServer;
  let manager: QueueManager;

  beforeAll(async () => {
    broker = await startRabbitMq({ plugins: ['rabbitmq_delayed_message_exchange'] });
  }, 120_000);

  afterEach(async () => {
    await manager.close({ timeout: 1_000 });
  });

  afterAll(async () => {
    await broker.stop();
  });

  async function make(): Promise<QueueManager> {
    manager = await createQueueManager({
      rabbitmq: broker.url,
      namespace: randomBytes(6).toString('hex'),
      rabbitmqOptions: { delayedExchange: true },
    });
    return manager;
  }

  it('are never early, late by less than 50 ms, and each task runs once', async () => {
    await make();
    const early: string[] = [];
    const late: number[] = [];
    let runs = 0;
    manager.registerTaskHandler('at', async ({ from, delay }: { from: number; delay: number }) => {
      runs += 1;
      const lateBy = Date.now() - from - delay;
      if (lateBy < 0) early.push(`${delay} ms by ${-lateBy}`);
      late.push(lateBy);
    });
    await manager.startWorkers(5);
    // The exchange and its bindings are there before the clock starts.
    await (
      await manager.enqueueTask('at', { from: 0, delay: 150 }, { delay: 150 })
    ).result({ timeout: 10_000 });
    late.length = 0;
    for (const delay of [100, 101, 120, 170, 230, 290, 333, 350, 410]) {
      const task = await manager.enqueueTask('at', { from: Date.now(), delay }, { delay });
      await task.result({ timeout: 10_000 });
    }
    expect(early).toEqual([]);
    expect(runs).toBe(10);
    // What is late by design is late every time, what a busy machine delays is not.
    expect(late.toSorted((a, b) => a - b)[2]).toBeLessThanOrEqual(50);
  }, 30_000);

  it('hold retries back, and a delayed task can be cancelled', async () => {
    await make();
    const attempts: number[] = [];
    manager.registerTaskHandler('sick', async () => {
      attempts.push(Date.now());
      if (attempts.length < 3) throw new Error('not yet');
      return 'well';
    });
    await manager.startWorkers(1);
    const doomed = await manager.enqueueTask('sick', 2, { delay: 400 });
    expect(await manager.cancelTask(doomed.id)).toBe(true);
    const task = await manager.enqueueTask('sick', 1, { backoff: { strategy: 'constant', delay: 200 } });
    expect(await task.result({ timeout: 10_000 })).toBe('well');
    const [first = 0, second = 0, third = 0] = attempts;
    expect(second - first).toBeGreaterThanOrEqual(200);
    expect(third - second).toBeGreaterThanOrEqual(200);
    expect(attempts.length).toBe(3);
    expect(await doomed.status()).toBe('cancelled');
  }, 30_000);

  it('carry a thousand delayed tasks, each of which runs once, without the tiers', async () => {
    await make();
    const runs = new Map<number, number>();
    manager.registerTaskHandler('one', async (n: number) => void runs.set(n, (runs.get(n) ?? 0) + 1));
    await manager.startWorkers(50);
    const tasks = await manager.enqueueTasks(
      Array.from({ length: 1_000 }, (_, n) => ({
        name: 'one',
        payload: n,
        options: { delay: 200 + (n % 500) },
      })),
    );
    for (const task of tasks) await task.result({ timeout: 20_000 });
    expect(runs.size).toBe(1_000);
    expect(Math.max(...runs.values())).toBe(1);
    expect(await broker.ctl('list_queues', 'name')).not.toContain('delay');
  }, 60_000);
});
