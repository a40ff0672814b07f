import { afterEach, describe, expect, it } from 'vitest';
import { eventually, trackLeaks } from '@xiaoke/core/testing';
import { chaosProxy, freePort, startRedis, type ChaosProxy, type RedisServer } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';

const LIMIT = 600;
// A loaded machine may be late by this much; a promise that does not hold is late for ever.
const SLACK = 1_500;
const open: QueueManager[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 300 })));
});

async function connect(url: string, options: QueueManagerOptions = {}): Promise<QueueManager> {
  const manager = await createQueueManager({ redis: url, enqueueTimeout: LIMIT, namespace: 'q', ...options });
  manager.on('error', () => {});
  open.push(manager);
  return manager;
}

async function failure(work: Promise<unknown>): Promise<{ code: unknown; ms: number }> {
  const start = performance.now();
  try {
    await work;
    return { code: 'no error', ms: performance.now() - start };
  } catch (error) {
    return { code: Reflect.get(Object(error), 'code'), ms: performance.now() - start };
  }
}

/** The ways in which Redis can be gone, and how it comes back. */
const outages: Readonly<
  Record<string, (redis: RedisServer, proxy: ChaosProxy) => Promise<() => Promise<unknown>>>
> = {
  'is killed': async (redis) => {
    await redis.kill();
    return () => redis.restart();
  },
  'hangs, with its connections open': async (redis) => {
    redis.pause();
    return async () => redis.resume();
  },
  'is behind a network that swallows everything': async (_redis, proxy) => {
    proxy.blackhole(true);
    return async () => proxy.blackhole(false);
  },
  'is behind connections that are dead without a word': async (_redis, proxy) => {
    proxy.halfOpen(true);
    return async () => proxy.halfOpen(false);
  },
};

describe.each(Object.entries(outages))('while Redis %s', (_name, begin) => {
  it('every call rejects with a typed error within its limit, and all goes on when it is back', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const proxy = await chaosProxy({ target: redis });
    const queue = await connect(proxy.url('redis'));
    queue.registerTaskHandler('t', async (n: number) => n);
    const before = await queue.enqueueTask('t', 0);
    const end = await begin(redis, proxy);
    const calls = {
      enqueueTask: failure(queue.enqueueTask('t', 1)),
      enqueueTasks: failure(queue.enqueueTasks([{ name: 't', payload: 1 }])),
      getTask: failure(queue.getTask(before.id)),
      cancelTask: failure(queue.cancelTask(before.id)),
      status: failure(before.status()),
      inspectQueues: failure(queue.inspectQueues(['default'])),
      pause: failure(queue.pause('default')),
      deadLetters: failure(queue.deadLetters.list({ queue: 'default' })),
      schedules: failure(queue.schedules.upsert('s', { every: '1h' }, 't', 1)),
    };
    for (const [call, outcome] of Object.entries(calls)) {
      const { code, ms } = await outcome;
      expect([call, code]).toEqual([call, 'QUEUE_UNAVAILABLE']);
      expect(ms).toBeLessThan(LIMIT + SLACK);
    }
    const health = await queue.healthIndicator().check({ signal: AbortSignal.timeout(LIMIT) });
    expect(health).toEqual({ status: 'unhealthy', code: 'QUEUE_UNAVAILABLE' });
    await end();
    await queue.startWorkers(1);
    await eventually(() => queue.resume(), { timeout: 15_000 });
    expect(await before.result({ timeout: '15s' })).toBe(0);
    await eventually(
      async () => {
        const task = await queue.enqueueTask('t', 2);
        expect(await task.result({ timeout: '5s' })).toBe(2);
      },
      { timeout: 15_000 },
    );
    await proxy.stop();
  });

  it('close returns within its timeout, also with a handler that never ends, and leaves nothing alive', async () => {
    await using redis = await startRedis();
    const proxy = await chaosProxy({ target: redis });
    const check = trackLeaks();
    const queue = await createQueueManager({ redis: proxy.url('redis'), enqueueTimeout: LIMIT });
    queue.on('error', () => {});
    queue.registerTaskHandler('hang', () => new Promise(() => {}));
    await queue.startWorkers(2);
    const task = await queue.enqueueTask('hang', 1);
    await eventually(() => expect(queue.stats().active).toBe(1));
    const waiting = failure(task.result({ timeout: '1m' }));
    const end = await begin(redis, proxy);
    const start = performance.now();
    await queue.close({ timeout: 800 });
    expect(performance.now() - start).toBeLessThan(800 + SLACK);
    expect((await waiting).code).toBe('QUEUE_CLOSED');
    await check();
    await end();
    await proxy.stop();
  });
});

describe('tasks around an outage', () => {
  it('what was enqueued before and during a short outage is done after it, each once', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const queue = await connect(redis.url, { enqueueTimeout: '20s' });
    const runs = new Map<number, number>();
    queue.registerTaskHandler('t', async (n: number) => void runs.set(n, (runs.get(n) ?? 0) + 1));
    const before = await queue.enqueueTasks(
      Array.from({ length: 20 }, (_, n) => ({
        name: 't',
        payload: n,
        options: { delay: n % 2 === 0 ? 0 : 300 },
      })),
    );
    await redis.kill();
    const during = Array.from({ length: 20 }, (_, n) => queue.enqueueTask('t', 20 + n));
    await queue.startWorkers(5);
    await redis.restart();
    const tasks = [...before, ...(await Promise.all(during))];
    for (const task of tasks) await task.result({ timeout: '20s' });
    expect([...runs.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n));
    expect([...runs.values()].every((times) => times === 1)).toBe(true);
  }, 60_000);
});

describe('close', () => {
  it('returns within its timeout while Redis comes and goes', async () => {
    await using redis = await startRedis();
    const proxy = await chaosProxy({ target: redis });
    const queue = await connect(proxy.url('redis'));
    queue.registerTaskHandler('slow', () => new Promise((resolve) => setTimeout(resolve, 30)));
    await queue.startWorkers(4);
    let [flapping, up] = [true, true];
    const flaps = (async () => {
      while (flapping) {
        up = !up;
        proxy.blackhole(!up);
        proxy.resetAll();
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      proxy.blackhole(false);
    })();
    void Promise.allSettled(Array.from({ length: 50 }, (_, n) => queue.enqueueTask('slow', n)));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const start = performance.now();
    await queue.close({ timeout: 1_000 });
    expect(performance.now() - start).toBeLessThan(1_000 + SLACK);
    flapping = false;
    await flaps;
    await proxy.stop();
  });

  it('with Redis there, gives unfinished work back without counting an attempt, and another process goes on', async () => {
    await using redis = await startRedis();
    const one = await connect(redis.url);
    const two = await connect(redis.url);
    one.registerTaskHandler('t', () => new Promise(() => {}));
    two.registerTaskHandler('t', async (_payload, context) => context.attempt);
    const tasks = await one.enqueueTasks(Array.from({ length: 5 }, (_, n) => ({ name: 't', payload: n })));
    await one.startWorkers(3);
    await eventually(() => expect(one.stats().active).toBe(3));
    await one.close({ timeout: 300 });
    await two.startWorkers(5);
    expect(await Promise.all(tasks.map((task) => two.getTask(task.id).then(() => 1)))).toHaveLength(5);
    await two.whenIdle();
    for (const task of tasks)
      expect(await two.getTask(task.id)).toMatchObject({
        state: 'completed',
        attempts: 1,
        stalls: 0,
        result: 1,
      });
  });
});

describe('a manager for a Redis that is not there', () => {
  it('is refused with a typed error in time, and leaves nothing alive', async () => {
    const check = trackLeaks();
    const { code, ms } = await failure(
      createQueueManager({ redis: `redis://127.0.0.1:${await freePort()}`, enqueueTimeout: LIMIT }),
    );
    expect(code).toBe('QUEUE_UNAVAILABLE');
    expect(ms).toBeLessThan(LIMIT + SLACK);
    await check();
  });

  it('tells no secret of its address in the error', async () => {
    const address = `redis://user:s3cret@127.0.0.1:${await freePort()}`;
    const error: unknown = await createQueueManager({ redis: address, enqueueTimeout: 200 }).catch(
      (caught: unknown) => caught,
    );
    expect(
      JSON.stringify([
        String(error),
        Reflect.get(Object(error), 'details'),
        String(Reflect.get(Object(error), 'cause')),
      ]),
    ).not.toContain('s3cret');
  });
});

describe('the buffer of tasks on their way', () => {
  it('is bounded: what does not fit is refused at once, and the bound is free again after the outage', async () => {
    await using redis = await startRedis();
    const queue = await connect(redis.url, { maxBuffered: 100 });
    redis.pause();
    const waiting = Array.from({ length: 100 }, (_, n) => failure(queue.enqueueTask('t', n)));
    const refused = await failure(queue.enqueueTask('t', 100));
    expect(refused.code).toBe('QUEUE_UNAVAILABLE');
    expect(refused.ms).toBeLessThan(LIMIT / 2);
    for (const { code } of await Promise.all(waiting)) expect(code).toBe('QUEUE_UNAVAILABLE');
    redis.resume();
    await eventually(async () => expect((await queue.enqueueTask('t', 1)).duplicate).toBe(false));
  });
});
