import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '@xiaoke/core';
import { eventually, FakeClock, recordingMetrics } from '@xiaoke/core/testing';
import { sharedRedis, type SharedRedis } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';
import { ServerClock } from '../src/redis/server-clock.ts';

const open: QueueManager[] = [];
let redis: SharedRedis;

beforeAll(async () => {
  redis = await sharedRedis();
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 500 })));
});

/** A clock on the wall that is wrong, and may be set while it is used; time passes as it should. */
function wrongBy(milliseconds: number): Clock & { wrongBy: number } {
  const wrong = {
    wrongBy: milliseconds,
    now: () => Date.now() + wrong.wrongBy,
    monotonic: () => systemClock.monotonic(),
    setTimeout: (callback: () => void, delay: number) => systemClock.setTimeout(callback, delay),
    setInterval: (callback: () => void, period: number) => systemClock.setInterval(callback, period),
  };
  return wrong;
}

async function connect(namespace: string, options: QueueManagerOptions = {}): Promise<QueueManager> {
  const manager = await createQueueManager({ redis: redis.url, namespace, ...options });
  manager.on('error', () => {});
  open.push(manager);
  return manager;
}

const TEN_MINUTES = 600_000;

describe.each([
  ['ten minutes fast', TEN_MINUTES],
  ['ten minutes slow', -TEN_MINUTES],
])('in processes whose clock is %s', (_name, wrong) => {
  it('a delay is never early and not late by that much, whether the producer or the worker is wrong', async () => {
    const namespace = redis.prefix();
    const right = await connect(namespace);
    const skewed = await connect(namespace, { clock: wrongBy(wrong) });
    for (const [producer, worker, queue] of [
      [right, skewed, 'a'],
      [skewed, right, 'b'],
    ] as const) {
      worker.registerTaskHandler(`at ${queue}`, async () => Date.now());
      await worker.startWorkers({ count: 1, queues: [queue] });
      const before = Date.now();
      const delayed = await producer.enqueueTask(`at ${queue}`, 1, { queue, delay: 300 });
      const startedAt = Number(await delayed.result({ timeout: '10s' }));
      expect(startedAt - before).toBeGreaterThanOrEqual(300);
      expect(startedAt - before).toBeLessThan(10_000);
    }
  });

  it('a task expires by the server’s time, and its ages and durations are told by it', async () => {
    const namespace = redis.prefix();
    const metrics = recordingMetrics();
    const right = await connect(namespace, { metrics });
    const skewed = await connect(namespace, { clock: wrongBy(wrong), metrics });
    const task = await skewed.enqueueTask('t', 1, { ttl: '1m' });
    expect(await task.status()).toBe('waiting');
    expect(await right.getTask(task.id)).toMatchObject({ state: 'waiting' });
    const [info] = await right.inspectQueues(['default']);
    expect(info?.oldestWaitingAgeSeconds).toBeLessThan(30);
    skewed.registerTaskHandler('t', async () => 'in time');
    await skewed.startWorkers(1);
    expect(await task.result({ timeout: '10s' })).toBe('in time');
    const late = await skewed.enqueueTask('t', 2, { ttl: 50, delay: 200 });
    await expect(late.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_EXPIRED' });
    for (const name of ['xiaoke_queue_task_wait_seconds', 'xiaoke_queue_task_duration_seconds']) {
      for (const labels of metrics.series(name))
        for (const seconds of metrics.observations(name, labels)) expect(seconds).toBeLessThan(60);
    }
  });

  it('a schedule fires when it is time on the server', async () => {
    const namespace = redis.prefix();
    const skewed = await connect(namespace, { clock: wrongBy(wrong) });
    const before = Date.now();
    const every = await skewed.schedules.upsert('every', { every: '1h' }, 't', 1);
    expect(every.nextAt.getTime() - before).toBeGreaterThan(3_590_000);
    expect(every.nextAt.getTime() - before).toBeLessThan(3_610_000);
    const cron = await skewed.schedules.upsert('cron', { cron: '* * * * *', misfire: 'all' }, 't', 1);
    expect(cron.nextAt.getTime()).toBeGreaterThan(before);
    expect(cron.nextAt.getTime()).toBeLessThan(Date.now() + 60_001);
    await skewed.schedules.upsert('soon', { every: 200, misfire: 'all' }, 't', 1);
    await eventually(async () => {
      const [info] = await skewed.inspectQueues(['default']);
      expect(info?.totals.enqueued).toBeGreaterThanOrEqual(1);
    });
    const [info] = await skewed.inspectQueues(['default']);
    expect(info?.totals.enqueued).toBeLessThan(100);
  });
});

describe('while the clock of a process is set', () => {
  it('nothing it plans is moved', async () => {
    const clock = wrongBy(0);
    const queue = await connect(redis.prefix(), { clock });
    queue.registerTaskHandler('t', async () => 1);
    await queue.startWorkers(1);
    const task = await queue.enqueueTask('t', 1, { ttl: '10s', delay: 100 });
    clock.wrongBy = TEN_MINUTES;
    expect(await task.result({ timeout: '10s' })).toBe(1);
    const { nextAt } = await queue.schedules.upsert('s', { every: '1h' }, 't', 1);
    expect(Math.abs(nextAt.getTime() - Date.now() - 3_600_000)).toBeLessThan(10_000);
  });
});

describe('the server’s time between its answers', () => {
  it('goes on by the monotonic clock from the latest answer, and follows a clock that was set back after a minute', async () => {
    const clock = new FakeClock(5_000_000);
    const server = new ServerClock(clock);
    expect(server.now()).toBe(5_000_000);
    server.heard(1_000_000);
    await clock.advance(1_000);
    clock.jump(-3_600_000);
    expect(server.now()).toBe(1_001_000);
    // An answer that was under way for long says an earlier time than it is.
    server.heard(1_000_400);
    expect(server.now()).toBe(1_001_000);
    server.heard(1_001_200);
    expect(server.now()).toBe(1_001_200);
    await clock.advance(60_000);
    server.heard(900_000);
    expect(server.now()).toBe(900_000);
  });
});

describe('in memory', () => {
  it('a clock that jumps ahead fires each schedule as its misfire policy says, and one that jumps back fires nothing twice', async () => {
    const clock = new FakeClock();
    const queue = await createQueueManager({ clock });
    open.push(queue);
    const policies = { all: 60, latest: 1, skip: 0 } as const;
    for (const misfire of ['all', 'latest', 'skip'] as const)
      await queue.schedules.upsert(misfire, { cron: '30 * * * * *', misfire }, 't', misfire, {
        queue: misfire,
      });
    await clock.advance(10_000);
    // The hour passes at once: fires were due at its every thirtieth second, the last one forty seconds ago.
    clock.jump(3_600_000);
    await clock.advance(10_000);
    const enqueued = async (): Promise<Record<string, number>> =>
      Object.fromEntries(
        (await queue.inspectQueues(Object.keys(policies))).map((info) => [info.queue, info.totals.enqueued]),
      );
    expect(await enqueued()).toEqual(policies);
    clock.jump(-3_600_000);
    await clock.advance(60_000);
    expect(await enqueued()).toEqual(policies);
  });
});
