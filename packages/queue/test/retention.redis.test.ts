import { describe, expect, it } from 'vitest';
import { NonRetryableError } from '@xiaoke/core';
import { eventually, trackLeaks } from '@xiaoke/core/testing';
import { startRedis } from '@xiaoke/test-servers';
import { openRedis } from '@xiaoke/core/redis';
import { createQueueManager, type QueueManager } from '../src/index.ts';
import { resolveQueueOptions } from '../src/options.ts';
import { RedisBackend } from '../src/redis/redis-backend.ts';

// `XIAOKE_TASKS=1000000` runs the million.
const TASKS = Number(process.env['XIAOKE_TASKS'] ?? 20_000);

async function runAll(queue: QueueManager, handlers: () => Promise<unknown>): Promise<void> {
  let done = 0;
  queue.on('completed', () => (done += 1));
  queue.registerTaskHandler('t', handlers);
  await queue.startWorkers(200);
  for (let from = 0; from < TASKS; from += 2_000) {
    const size = Math.min(2_000, TASKS - from);
    await queue.enqueueTasks(
      Array.from({ length: size }, (_, index) => ({
        name: 't',
        payload: from + index,
        options: {
          keepResult: index % 2 === 0 ? 0 : '1s',
          timeout: '1m',
          ...(index % 100 === 0 ? { unique: { key: `u${from + index}`, mode: 'reject' } } : {}),
          ...(index % 100 === 1 ? { group: { key: `g${from + index}` } } : {}),
          ...(index % 100 === 2 ? { delay: 5 } : {}),
        } as const,
      })),
    );
    // What waits in the queue is no leak, and needs no room here.
    await eventually(() => expect(done).toBeGreaterThan(from - 20_000), { timeout: 60_000 });
  }
  await eventually(() => expect(done).toBe(TASKS), { timeout: 120_000 });
}

describe(`after ${TASKS} tasks`, () => {
  it(
    'nothing is left on Redis but the queue itself, and no timer, socket or thread here',
    async () => {
      await using redis = await startRedis();
      const check = trackLeaks();
      const queue = await createQueueManager({ redis: redis.url, namespace: 'leak' });
      await runAll(queue, async () => 1);
      await queue.close();
      await check();
      // Whoever comes next sweeps what time has let go; records of a second are old by then.
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      const options = resolveQueueOptions({ redis: redis.url, namespace: 'leak' });
      const connection = await openRedis(options.redis, { load: async () => await import('ioredis') });
      const sweeper = new RedisBackend(options, connection);
      await eventually(
        async () => {
          await sweeper.maintain();
          for (const hash of ['jobs', 'res', 'att', 'uq', 'note', 'log', 'dep', 'kids', 'kid', 'ob'])
            expect([hash, await redis.cli('HLEN', `xq:{leak}:${hash}`)]).toEqual([hash, '0']);
        },
        { timeout: 60_000, interval: 50 },
      );
      await sweeper.close(500);
      const keys = (await redis.cli('--scan', '--pattern', '*')).split('\n').filter(Boolean);
      // Counters, the list of queues and settings, and a wake-up of the queue.
      expect(keys.length).toBeLessThan(10);
    },
    60_000 + TASKS / 2,
  );

  it(
    'nothing is left in memory either',
    async () => {
      const check = trackLeaks();
      const queue = await createQueueManager({ type: 'memory', retention: { finished: 1_000 } });
      await runAll(queue, async () => 1);
      const [info] = await queue.inspectQueues();
      expect(info?.states).toEqual({ waiting: 0, delayed: 0, active: 0, dead: 0 });
      expect(queue.stats()).toMatchObject({ completed: TASKS, active: 0, waitingForResults: 0 });
      await queue.close();
      await check();
    },
    60_000 + TASKS / 2,
  );
});

describe('the records of ended tasks', () => {
  it('are kept up to a count: the newest stay, however many ended together', async () => {
    await using redis = await startRedis();
    const settings = { redis: redis.url, namespace: 'count', retention: { finished: 100 } };
    const queue = await createQueueManager({ ...settings, queues: ['a', 'b'] });
    queue.registerTaskHandler('t', async (payload) => {
      if (payload === 'bad') throw new NonRetryableError('no');
    });
    // A slot each: whole turns of 50 end together, and a few alone. Dead letters do not count.
    await queue.enqueueTasks(
      Array.from({ length: 30 }, () => ({ name: 't', payload: 'bad', options: { queue: 'b' } })),
    );
    const early = await queue.enqueueTasks(
      Array.from({ length: 150 }, (_, n) => ({ name: 't', payload: n })),
    );
    await queue.startWorkers({ count: 100, queues: ['default', 'b'] });
    await queue.whenIdle();
    const late = await queue.enqueueTasks(Array.from({ length: 90 }, (_, n) => ({ name: 't', payload: n })));
    await queue.whenIdle();
    await queue.close();
    const options = resolveQueueOptions(settings);
    const connection = await openRedis(options.redis, { load: async () => await import('ioredis') });
    const backend = new RedisBackend(options, connection);
    await backend.maintain();
    const kept = async (tasks: readonly { readonly id: string }[]): Promise<number> =>
      (await backend.read(tasks.map(({ id }) => id))).filter((task) => task !== undefined).length;
    expect([await kept(early), await kept(late)]).toEqual([10, 90]);
    expect(await redis.cli('HLEN', 'xq:{count}:res')).toBe('130');
    await backend.maintain();
    expect([await kept(early), await kept(late)]).toEqual([10, 90]);
    await backend.close(500);
  });
});
