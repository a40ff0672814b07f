import { afterEach, describe, expect, it } from 'vitest';
import { Redis } from 'ioredis';
import { eventually } from '@xiaoke/core/testing';
import { chaosProxy, spawnNode, startRedis, type NodeProcess, type RedisServer } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';

const HOLDER = new URL('./fixtures/holder.ts', import.meta.url);
const open: QueueManager[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 500 })));
});

async function connect(redis: string, options: QueueManagerOptions = {}): Promise<QueueManager> {
  const manager = await createQueueManager({ redis, namespace: 'r', lease: '900ms', ...options });
  manager.on('error', () => {});
  open.push(manager);
  return manager;
}

/** A worker process that holds its tasks for ever and says what its signal said. */
async function holder(redis: RedisServer, slots = 1): Promise<NodeProcess> {
  const worker = spawnNode(HOLDER, { args: [redis.url, 'r', String(slots)] });
  await worker.message(({ kind }) => kind === 'ready', 30_000);
  return worker;
}

/** Ends every subscription, again and again, so that no announcement arrives. */
function withoutAnnouncements(redis: RedisServer): { stop(): Promise<void> } {
  const admin = new Redis(redis.url);
  const timer = setInterval(() => void admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub').catch(() => {}), 5);
  return {
    stop: async () => {
      clearInterval(timer);
      await admin.quit();
    },
  };
}

describe('a task whose worker is lost', { timeout: 60_000 }, () => {
  it('while somebody asked to cancel it, ends as cancelled and does not run again, and its group and key go on', async () => {
    await using redis = await startRedis();
    await using worker = await holder(redis);
    const queue = await connect(redis.url);
    const unique = { key: 'k', mode: 'reject' } as const;
    const task = await queue.enqueueTask('hold', 1, { group: { key: 'g' }, unique });
    const next = await queue.enqueueTask('hold', 2, { group: { key: 'g' } });
    await worker.message(({ kind }) => kind === 'started', 10_000);
    process.kill(worker.pid, 'SIGSTOP');
    expect(await task.cancel('nobody wants it')).toBe(true);
    await worker.kill('SIGKILL');
    await expect(task.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_CANCELLED' });
    expect(await queue.getTask(task.id)).toMatchObject({
      state: 'cancelled',
      attempts: 0,
      error: { message: 'nobody wants it' },
    });
    const again = await queue.enqueueTask('hold', 3, { unique });
    expect(again.duplicate).toBe(false);
    queue.registerTaskHandler('hold', async (n: number) => n);
    await queue.startWorkers(1);
    expect(await next.result({ timeout: '10s' })).toBe(2);
    expect(await again.result({ timeout: '10s' })).toBe(3);
  });

  it('keeps its place in its group: those behind it wait until it has run', async () => {
    await using redis = await startRedis();
    await using worker = await holder(redis);
    const queue = await connect(redis.url);
    const tasks = await queue.enqueueTasks(
      [1, 2, 3, 4].map((n) => ({ name: 'hold', payload: n, options: { group: { key: 'g' } } })),
    );
    await worker.message(({ kind }) => kind === 'started', 10_000);
    await worker.kill('SIGKILL');
    const order: number[] = [];
    queue.registerTaskHandler('hold', async (n: number) => void order.push(n));
    await queue.startWorkers(4);
    for (const task of tasks) await task.result({ timeout: '10s' });
    expect(order).toEqual([1, 2, 3, 4]);
  });

  it('hears that it was lost when it comes back, and what it still says about the task changes nothing', async () => {
    await using redis = await startRedis();
    await using worker = await holder(redis);
    const queue = await connect(redis.url);
    const task = await queue.enqueueTask('hold', 1, { attempts: 3 });
    await eventually(async () =>
      expect(await queue.getTask(task.id)).toMatchObject({ progress: 'of the first', logs: ['first'] }),
    );
    process.kill(worker.pid, 'SIGSTOP');
    queue.registerTaskHandler('hold', async (_payload, context) => {
      context.progress('of the second');
      context.log('second');
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      return 'second';
    });
    await queue.startWorkers(1);
    await eventually(async () => expect((await queue.getTask(task.id))?.progress).toBe('of the second'));
    // It goes on in the middle of the second run: it says more, and is cancelled by nobody but its lost lease.
    process.kill(worker.pid, 'SIGCONT');
    const stopped = await worker.message(({ kind }) => kind === 'stopped', 10_000);
    expect(stopped['code']).toBe('LEASE_LOST');
    expect(await task.result({ timeout: '10s' })).toBe('second');
    expect(await queue.getTask(task.id)).toMatchObject({
      state: 'completed',
      progress: 'of the second',
      logs: ['first', 'second'],
      result: 'second',
    });
  });

  it('cannot be cancelled through the worker that lost it: the one that has it hears of it', async () => {
    await using redis = await startRedis();
    await using first = await holder(redis);
    const queue = await connect(redis.url);
    const task = await queue.enqueueTask('hold', 1, { attempts: 3 });
    await first.message(({ kind }) => kind === 'started', 10_000);
    process.kill(first.pid, 'SIGSTOP');
    await using second = await holder(redis);
    await second.message(({ kind }) => kind === 'started', 15_000);
    expect(await task.cancel('the second one')).toBe(true);
    const stopped = await second.message(({ kind }) => kind === 'stopped', 10_000);
    expect(stopped).toMatchObject({ code: 'TASK_CANCELLED', message: 'the second one' });
    await expect(task.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_CANCELLED' });
    process.kill(first.pid, 'SIGCONT');
    // Whichever of the two it hears of first.
    const late = await first.message(({ kind }) => kind === 'stopped', 10_000);
    expect(['LEASE_LOST', 'TASK_CANCELLED']).toContain(late['code']);
    expect(await task.status()).toBe('cancelled');
  });
});

describe('what an exchange claimed whose answer nobody heard', () => {
  it('comes back also when what is kept for a repetition is lost with it, and the worker lives on', async () => {
    await using redis = await startRedis();
    await using proxy = await chaosProxy({ target: redis });
    const producer = await connect(redis.url);
    const queue = await connect(proxy.url('redis'));
    const runs: number[] = [];
    queue.registerTaskHandler('t', async (n: number, { attempt }) => runs.push(n * 10 + attempt));
    await queue.startWorkers(1);
    const first = await producer.enqueueTask('t', 1);
    expect(await first.result({ timeout: '10s' })).toBe(1);
    const admin = new Redis(redis.url);
    const [worker = ''] = await admin.hkeys('xq:{r}:wi');
    const rows = [0, 1].map((row) => `n:default\n${worker}\n${row}`);
    // As a lease that ran out under load does: the claim is made, its answer and its row are lost, and the worker goes on.
    let lost = 0;
    proxy.dropReplies(({ reply }) => {
      if (lost > 0 || !reply.includes('"lost words"')) return false;
      lost += 1;
      void admin.hdel('xq:{r}:cfg', ...rows);
      return true;
    });
    const words = await producer.enqueueTask('t', 2, { group: { key: 'lost words' } });
    expect(await words.result({ timeout: '15s' })).toBe(2);
    expect([lost, runs]).toEqual([1, [11, 21]]);
    expect(await producer.getTask(words.id)).toMatchObject({ attempts: 1, stalls: 0 });
    admin.disconnect();
  });
});

describe('with every announcement lost', () => {
  it('a running task hears of its cancellation with the next heartbeat, and results arrive all the same', async () => {
    await using redis = await startRedis();
    const worker = await connect(redis.url);
    const other = await connect(redis.url);
    worker.registerTaskHandler(
      'long',
      (_payload, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        }),
    );
    worker.registerTaskHandler('quick', async (n: number) => n);
    await worker.startWorkers(2);
    const long = await other.enqueueTask('long', 1);
    await eventually(async () => expect(await long.status()).toBe('active'));
    const silence = withoutAnnouncements(redis);
    const quick = await other.enqueueTask('quick', 7);
    expect(await quick.result({ timeout: '10s' })).toBe(7);
    const start = performance.now();
    expect(await long.cancel('enough')).toBe(true);
    await eventually(() => expect(worker.stats().active).toBe(0), { timeout: 15_000 });
    // A heartbeat is a third of the lease; the rest is a busy machine's.
    expect(performance.now() - start).toBeLessThan(300 + 3_000);
    await expect(long.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_CANCELLED' });
    await silence.stop();
  });

  it('a schedule that another process made fires in time, since everybody looks now and then', async () => {
    await using redis = await startRedis();
    const worker = await connect(redis.url);
    const other = await connect(redis.url);
    const silence = withoutAnnouncements(redis);
    worker.registerTaskHandler('tick', async () => 'fired');
    await worker.startWorkers(1);
    await other.schedules.upsert('s', { every: '200ms' }, 'tick', 1);
    await other.close({ timeout: 500 });
    // It is looked for every 15 s.
    await eventually(() => expect(worker.stats().completed).toBeGreaterThan(1), { timeout: 20_000 });
    await silence.stop();
  });
});

describe('a worker goes on', () => {
  it('after exchanges that the server refused, for as long as it did', async () => {
    await using redis = await startRedis();
    const queue = await connect(redis.url);
    const errors: unknown[] = [];
    queue.on('error', (error) => errors.push(error));
    queue.registerTaskHandler('t', async (n: number) => n);
    await queue.startWorkers(2);
    const before = await queue.enqueueTask('t', 1);
    expect(await before.result()).toBe(1);
    // A text where the settings were: every exchange is an error of the script, which is no outage.
    const settings = 'xq:{r}:cfg';
    await redis.cli('RENAME', settings, `${settings}:aside`);
    await redis.cli('SET', settings, 'in the way');
    const waiting = await queue.enqueueTask('t', 2);
    await eventually(() => expect(errors.length).toBeGreaterThan(1));
    await redis.cli('RENAME', `${settings}:aside`, settings);
    expect(await waiting.result({ timeout: '15s' })).toBe(2);
    expect(await (await queue.enqueueTask('t', 3)).result({ timeout: '10s' })).toBe(3);
  });

  it('after a blocking wait that never came back', async () => {
    await using redis = await startRedis();
    await using proxy = await chaosProxy({ target: redis });
    const queue = await connect(proxy.url('redis'));
    queue.registerTaskHandler('t', async (n: number) => n);
    await queue.startWorkers(1);
    const direct = await connect(redis.url);
    await eventually(async () => expect(await redis.cli('CLIENT', 'LIST')).toContain('cmd=bzpopmin'));
    // The waiting connection is stranded: no reset, no answer, and the commands of new connections work.
    proxy.halfOpen(true);
    proxy.halfOpen(false);
    const task = await direct.enqueueTask('t', 5);
    expect(await task.result({ timeout: '25s' })).toBe(5);
  }, 40_000);

  it('and what it was given by a client of its own stays open when it closes', async () => {
    await using redis = await startRedis();
    const client = new Redis(redis.url);
    const queue = await createQueueManager({ redis: client, namespace: 'r' });
    queue.registerTaskHandler('t', async () => 1);
    await queue.startWorkers(1);
    await (await queue.enqueueTask('t', 1)).result();
    await queue.close();
    expect(await client.ping()).toBe('PONG');
    client.disconnect();
  });
});

describe('schedules that were missed because nobody was there', () => {
  it.each([
    { misfire: 'all', enqueued: 5 },
    { misfire: 'latest', enqueued: 1 },
    { misfire: 'skip', enqueued: 0 },
  ] as const)('with misfire $misfire are made up as it says', async ({ misfire, enqueued }) => {
    await using redis = await startRedis();
    const maker = await connect(redis.url);
    const cron = `${(new Date().getUTCMinutes() + 30) % 60} * * * *`;
    const { nextAt } = await maker.schedules.upsert('s', { cron, misfire }, 'tick', 1);
    await maker.close({ timeout: 500 });
    // Nobody was there for five hours; the last fire was half an hour ago.
    await redis.cli('ZADD', 'xq:{r}:schn', String(nextAt.getTime() - 5 * 3_600_000), 's');
    const queue = await connect(redis.url);
    await queue.startWorkers({ count: 1, queues: ['elsewhere'] });
    await eventually(async () =>
      expect((await queue.schedules.list())[0]?.nextAt.getTime()).toBeGreaterThan(Date.now()),
    );
    const [info] = await queue.inspectQueues(['default']);
    expect(info?.totals.enqueued).toBe(enqueued);
  });
});
