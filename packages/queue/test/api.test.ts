import { afterEach, describe, expect, expectTypeOf, it } from 'vitest';
import { eventually, recordingLogger, recordingMetrics, trackLeaks } from '@xiaoke/core/testing';
import {
  QueueType,
  TaskPriority,
  asyncTask,
  createQueueManager,
  getQueueManager,
  type QueueManager,
  type QueueManagerOptions,
  type Task,
} from '../src/index.ts';
import { resolveQueueOptions } from '../src/options.ts';

const open: QueueManager[] = [];

async function manager(options: QueueManagerOptions = {}): Promise<QueueManager> {
  const made = await createQueueManager(options);
  open.push(made);
  return made;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close({ timeout: 1_000 })));
});

describe('the manager of queues, from outside', () => {
  it('takes its backend from what it is given: redis, then rabbitmq, then memory; an explicit type means localhost', () => {
    expect(QueueType).toEqual({ MEMORY: 'memory', REDIS: 'redis', RABBITMQ: 'rabbitmq' });
    expect(TaskPriority).toEqual({ HIGH: 'high', NORMAL: 'normal', LOW: 'low' });
    expect(resolveQueueOptions({}).type).toBe('memory');
    expect(resolveQueueOptions({ redis: 'redis://elsewhere:1' }).type).toBe('redis');
    expect(resolveQueueOptions({ type: 'memory', redis: 'redis://elsewhere:1' }).type).toBe('memory');
    expect(resolveQueueOptions({ type: 'redis' })).toMatchObject({
      type: 'redis',
      redis: 'redis://localhost:6379',
    });
    expect(() => resolveQueueOptions({ type: 'kafka' as 'redis' })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'type' } }),
    );
  });

  it('gives the process-wide manager for the same arguments, and a new one after it was closed', async () => {
    const one = await getQueueManager('memory', { namespace: 'wide' });
    expect(await getQueueManager('memory', { namespace: 'wide' })).toBe(one);
    await one.close();
    const two = await getQueueManager('memory', { namespace: 'wide' });
    expect(two).not.toBe(one);
    await two.close();
  });

  it('tells everything that happens to a task, and completed comes after the record has the result', async () => {
    const queue = await manager();
    const seen: string[] = [];
    const stateAtCompleted: unknown[] = [];
    queue.on('enqueued', ({ name }) => seen.push(`enqueued ${name}`));
    queue.on('started', ({ name, attempt }) => seen.push(`started ${name} ${attempt}`));
    queue.on('progress', ({ progress }) => seen.push(`progress ${String(progress)}`));
    queue.on('retrying', ({ error }) => seen.push(`retrying ${error.message}`));
    queue.on('dead', ({ reason }) => seen.push(`dead ${reason}`));
    queue.on('cancelled', ({ reason }) => seen.push(`cancelled ${reason}`));
    queue.on('completed', async ({ id, result }) => {
      seen.push(`completed ${String(result)}`);
      stateAtCompleted.push((await queue.getTask(id))?.result);
    });
    queue.registerTaskHandler('good', async (n: number, context) => {
      context.progress(n);
      return n;
    });
    queue.registerTaskHandler('bad', () => Promise.reject(new Error('no')));
    await queue.startWorkers({ count: 1, queues: ['default'] });
    await (await queue.enqueueTask('good', 5)).result();
    const bad = await queue.enqueueTask('bad', 1, {
      attempts: 2,
      backoff: { strategy: 'constant', delay: 1 },
    });
    await expect(bad.result()).rejects.toMatchObject({ code: 'TASK_FAILED' });
    const delayed = await queue.enqueueTask('good', 1, { delay: '1h' });
    expect(await delayed.cancel('changed my mind')).toBe(true);
    expect(seen).toEqual([
      'enqueued good',
      'started good 1',
      'progress 5',
      'completed 5',
      'enqueued bad',
      'started bad 1',
      'retrying no',
      'started bad 2',
      'dead ATTEMPTS_EXHAUSTED',
      'enqueued good',
      'cancelled changed my mind',
    ]);
    await eventually(() => expect(stateAtCompleted).toEqual([5]));
    expect(queue.stats()).toMatchObject({ enqueued: 3, completed: 1, retried: 1, dead: 1, cancelled: 1 });
  });

  it('a listener that throws or rejects breaks nothing, and an error nobody listens to is logged', async () => {
    const logger = recordingLogger();
    const queue = await manager({ logger });
    queue.on('completed', () => {
      throw new Error('listener');
    });
    queue.on('completed', () => Promise.reject(new Error('async listener')));
    queue.registerTaskHandler('t', async () => 1);
    await queue.startWorkers(1);
    expect(await (await queue.enqueueTask('t', 1)).result()).toBe(1);
    await eventually(() => expect(queue.stats().handlerErrors).toBe(2));
  });

  it('gives a handler its context: ids, attempts, times, a growing token, a signal, a logger', async () => {
    const queue = await manager();
    const tokens: number[] = [];
    queue.registerTaskHandler('t', async (_payload, context) => {
      tokens.push(context.fencingToken);
      expect(context.signal.aborted).toBe(false);
      context.logger.info('running');
      context.log('a line');
      return [context.name, context.queue, context.attempt, context.maxAttempts, context.enqueuedAt];
    });
    await queue.startWorkers(1);
    const first = await queue.enqueueTask('t', 1, { attempts: 7 });
    expect(await first.result()).toEqual(['t', 'default', 1, 7, expect.any(String)]);
    await (await queue.enqueueTask('t', 1)).result();
    expect(tokens[1]).toBeGreaterThan(tokens[0] ?? Infinity);
    const record = await queue.getTask(first.id);
    expect(record).toMatchObject({ state: 'completed', attempts: 1, logs: ['a line'] });
    for (const time of ['enqueuedAt', 'startedAt', 'finishedAt'] as const)
      expect(record?.[time]).toBeInstanceOf(Date);
  });

  it('is typed by its task map', async () => {
    type Tasks = { greet: { payload: { name: string }; result: string }; ping: { payload: number } };
    const queue = await createQueueManager<Tasks>();
    queue.registerTaskHandler('greet', async ({ name }) => `Hello ${name}`);
    await queue.startWorkers(1);
    const task = await queue.enqueueTask('greet', { name: 'Ada' });
    expectTypeOf(task).toEqualTypeOf<Task<string>>();
    expect(await task.result()).toBe('Hello Ada');
    // @ts-expect-error -- a payload of the wrong type
    void (() => queue.enqueueTask('ping', 'text'));
    await queue.close();
  });

  it('inspectQueues tells states, priorities, age, rates, workers and how many slots would keep up', async () => {
    const metrics = recordingMetrics();
    const queue = await manager({ metrics, queues: ['mail'] });
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    queue.registerTaskHandler('t', () => gate);
    await queue.enqueueTasks(
      Array.from({ length: 5 }, () => ({
        name: 't',
        payload: 1,
        options: { queue: 'mail', priority: 'high' },
      })),
    );
    await queue.enqueueTask('t', 1, { queue: 'mail', delay: '1h' });
    await queue.startWorkers(2);
    await eventually(() => expect(queue.stats().active).toBe(2));
    const [info] = await queue.inspectQueues();
    expect(info).toMatchObject({
      queue: 'mail',
      paused: false,
      states: { waiting: 3, delayed: 1, active: 2, dead: 0 },
      priorities: { high: 3, normal: 0, low: 0 },
      workers: 1,
      slots: 2,
      totals: { enqueued: 6 },
    });
    expect(info?.desiredWorkers).toBeGreaterThanOrEqual(2);
    expect(info?.oldestWaitingAgeSeconds).toBeGreaterThanOrEqual(0);
    await metrics.collect();
    const of = (state: string, priority: string): number =>
      metrics.value('xiaoke_queue_tasks', { queue: 'mail', state, priority });
    expect([of('waiting', 'high'), of('delayed', 'all'), of('active', 'all')]).toEqual([3, 1, 2]);
    expect(metrics.value('xiaoke_queue_workers', { queue: 'mail' })).toBe(1);
    expect(metrics.value('xiaoke_queue_worker_slots', { queue: 'mail', state: 'busy' })).toBe(2);
    release();
    await queue.drain('mail', { delayed: true });
    await queue.pause('mail');
    await queue.whenIdle();
    await metrics.collect();
    expect(metrics.value('xiaoke_queue_paused', { queue: 'mail' })).toBe(1);
    expect(metrics.value('xiaoke_queue_oldest_task_age_seconds', { queue: 'mail', state: 'waiting' })).toBe(
      0,
    );
    expect((await queue.inspectQueues())[0]?.rates).toBeDefined();
    expect([...metrics.names()].sort()).toEqual([
      'xiaoke_queue_backend_errors_total',
      'xiaoke_queue_dead_letters_total',
      'xiaoke_queue_oldest_task_age_seconds',
      'xiaoke_queue_paused',
      'xiaoke_queue_schedule_lag_seconds',
      'xiaoke_queue_stalled_total',
      'xiaoke_queue_task_attempts_total',
      'xiaoke_queue_task_duration_seconds',
      'xiaoke_queue_task_retries_total',
      'xiaoke_queue_task_wait_seconds',
      'xiaoke_queue_tasks',
      'xiaoke_queue_tasks_enqueued_total',
      'xiaoke_queue_tasks_finished_total',
      'xiaoke_queue_worker_slots',
      'xiaoke_queue_workers',
    ]);
  });

  it('a schedule fires also while there are no workers, and its tasks wait', async () => {
    const queue = await manager();
    await queue.schedules.upsert('s', { every: 100 }, 't', { n: 1 }, { priority: 'low' });
    expect(await queue.schedules.list()).toMatchObject([{ id: 's', name: 't', payload: { n: 1 } }]);
    await eventually(async () =>
      expect((await queue.inspectQueues())[0]?.priorities.low).toBeGreaterThanOrEqual(1),
    );
    expect(await queue.schedules.remove('s')).toBe(true);
    expect(await queue.schedules.remove('s')).toBe(false);
  });

  it('an idle manager that is closed leaves nothing alive', async () => {
    const check = trackLeaks();
    const queue = await createQueueManager();
    queue.registerTaskHandler('t', async () => 1);
    await queue.startWorkers(2);
    const task = await queue.enqueueTask('t', 1);
    await task.result();
    const late = await queue.enqueueTask('t', 1, { delay: '1h' });
    const waiting = late.result().catch((error: unknown) => Reflect.get(Object(error), 'code'));
    await queue.close();
    expect(await waiting).toBe('QUEUE_CLOSED');
    await queue.close();
    await check();
  });
});

describe('asyncTask', () => {
  it('wraps a function: calling it runs it inline, enqueue and enqueueWith queue the call', async () => {
    const queue = await manager();
    const add = asyncTask({ manager: queue, name: 'add' })(async (a: number, b: number) => {
      return a + b;
    });
    await queue.startWorkers(2);
    expect(await add(1, 2)).toBe(3);
    const task = await add.enqueue(3, 4);
    expect(await task.result()).toBe(7);
    const later = await add.enqueueWith({ priority: 'high', id: 'sum' }, 5, 6);
    expect(await later.result()).toBe(11);
    expect(await queue.getTask('sum')).toMatchObject({ name: 'add', payload: [5, 6], priority: 'high' });
  });

  it('takes its manager late, and options of the wrapper hold for every call', async () => {
    const made = manager();
    const fn = asyncTask({ manager: () => made, name: 'late', queue: 'other', attempts: 9 })(
      async (n: number) => n,
    );
    const queue = await made;
    queue.registerTasks(fn);
    await queue.startWorkers({ queues: ['other'] });
    const task = await fn.enqueue(1);
    expect(await task.result()).toBe(1);
    expect(await queue.getTask(task.id)).toMatchObject({ queue: 'other', maxAttempts: 9 });
  });

  it('decorates methods: inline as written; manager.enqueue and registerTasks queue them with their object', async () => {
    class Mailer {
      readonly sent: string[] = [];

      @asyncTask({ name: 'mail.send', priority: 'high' })
      async send(to: string, times: number): Promise<string> {
        this.sent.push(to);
        return `${to} x ${times}`;
      }
    }
    const queue = await manager();
    const mailer = new Mailer();
    queue.registerTasks(mailer);
    await queue.startWorkers(1);
    expect(await mailer.send('inline', 1)).toBe('inline x 1');
    const task = await queue.enqueue(mailer.send, 'queued', 2);
    expect(await task.result()).toBe('queued x 2');
    expect(mailer.sent).toEqual(['inline', 'queued']);
    expect(await queue.getTask(task.id)).toMatchObject({ name: 'mail.send', priority: 'high' });
  });

  it('without a manager it belongs to the process-wide one', async () => {
    const double = asyncTask({ name: 'wide.double' })(async (n: number) => n * 2);
    const task = await double.enqueue(4);
    const queue = await getQueueManager();
    open.push(queue);
    await queue.startWorkers(1);
    expect(await task.result()).toBe(8);
  });

  it('refuses what is no task', async () => {
    const queue = await manager();
    await expect(queue.enqueue(async () => 1)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(() => queue.registerTasks({})).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
    expect(() => asyncTask({})(async () => 1)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'name' } }),
    );
  });
});
