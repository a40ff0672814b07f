import { NonRetryableError, RetryLaterError } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { check, codeOf, same, type ConformanceScenario } from './scenario.ts';

/** Running, retrying, timing out, delaying, refusing. */
export const basicScenarios: readonly ConformanceScenario[] = [
  {
    name: 'a task runs once, and its result, attempts and timestamps are in its record',
    async run({ manager }) {
      const queue = await manager();
      let runs = 0;
      queue.registerTaskHandler('double', async (payload: { n: number }) => {
        runs += 1;
        return payload.n * 2;
      });
      const task = await queue.enqueueTask('double', { n: 21 });
      same(await task.status(), 'waiting', 'state before workers');
      await queue.startWorkers(2);
      same(await task.result({ timeout: 5_000 }), 42, 'result');
      const record = await queue.getTask(task.id);
      same(
        [record?.state, record?.result, record?.attempts, record?.payload],
        ['completed', 42, 1, { n: 21 }],
        'record',
      );
      check((record?.finishedAt ?? 0) >= (record?.startedAt ?? 1), 'finished before it started');
      same(runs, 1, 'runs');
    },
  },
  {
    name: 'a payload is what it was when it was enqueued, and undefined stays undefined',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('echo', async (payload: unknown) => ({
        seen: payload,
        defined: payload !== undefined,
      }));
      const numbers = [Number.MAX_SAFE_INTEGER, -1, 1e-7, 1.5e300];
      const payload = { list: [1], text: 'ünï "quoted" \u2028 \\ ', numbers };
      const first = await queue.enqueueTask('echo', payload);
      payload.list.push(2);
      const second = await queue.enqueueTask('echo', undefined);
      await queue.startWorkers(1);
      same(
        await first.result(),
        { seen: { list: [1], text: payload.text, numbers }, defined: true },
        'payload',
      );
      same(await second.result(), { defined: false }, 'undefined payload');
    },
  },
  {
    name: 'a failing task is tried again with backoff and then lies in the dead letters with its error',
    async run({ manager }) {
      const queue = await manager();
      const attempts: number[] = [];
      const delays: number[] = [];
      queue.on('retrying', (event) => delays.push(event.delayMs));
      queue.registerTaskHandler('fail', async (_payload, context) => {
        attempts.push(context.attempt);
        throw Object.assign(new Error('no luck'), { code: 'E_LUCK' });
      });
      const task = await queue.enqueueTask('fail', 1, {
        attempts: 3,
        backoff: { strategy: 'exponential', delay: 10, jitter: 'none' },
      });
      await queue.startWorkers(1);
      same(await codeOf(() => task.result()), 'TASK_FAILED', 'result');
      same(attempts, [1, 2, 3], 'attempts');
      same(delays, [10, 20], 'delays');
      const { items } = await queue.deadLetters.list();
      same(
        items.map(({ id, reason, error, attempts: made }) => [id, reason, error?.message, error?.code, made]),
        [[task.id, 'ATTEMPTS_EXHAUSTED', 'no luck', 'E_LUCK', 3]],
        'dead letters',
      );
    },
  },
  {
    name: 'NonRetryableError ends a task at once, RetryLaterError repeats it without using an attempt',
    async run({ manager }) {
      const queue = await manager();
      let asked = 0;
      queue.registerTaskHandler('never', async () => {
        throw new NonRetryableError('hopeless');
      });
      queue.registerTaskHandler('later', async (_payload, context) => {
        asked += 1;
        if (asked < 4) throw new RetryLaterError(5);
        return context.attempt;
      });
      const never = await queue.enqueueTask('never', 1, { attempts: 5 });
      const later = await queue.enqueueTask('later', 1, { attempts: 1 });
      await queue.startWorkers(1);
      same(await later.result(), 1, 'attempt after three times later');
      await codeOf(() => never.result());
      const record = await queue.getTask(never.id);
      same([record?.state, record?.reason, record?.attempts], ['dead', 'NON_RETRYABLE', 1], 'non retryable');
    },
  },
  {
    name: 'an attempt that exceeds its timeout is aborted and its slot is freed though the handler does not listen',
    async run({ manager }) {
      const queue = await manager({ grace: 20 });
      let reason: unknown;
      queue.registerTaskHandler('hang', (_payload, context) => {
        context.signal.addEventListener('abort', () => (reason = context.signal.reason));
        return new Promise(() => {});
      });
      queue.registerTaskHandler('quick', async () => 'done');
      const hanging = await queue.enqueueTask('hang', 1, { timeout: 30, attempts: 1 });
      const quick = await queue.enqueueTask('quick', 1);
      await queue.startWorkers(1);
      same(await quick.result({ timeout: 5_000 }), 'done', 'the only slot is free again');
      same(await codeOf(() => hanging.result()), 'TASK_FAILED', 'result');
      const record = await queue.getTask(hanging.id);
      same([record?.reason, record?.error?.code], ['TIMEOUT', 'TIMEOUT'], 'reason');
      same(Reflect.get(reason as object, 'code'), 'TIMEOUT', 'signal reason');
    },
  },
  {
    name: 'a task with no handler, or with a payload its schema refuses, is a dead letter with that reason',
    async run({ manager }) {
      const schema = {
        '~standard': {
          version: 1,
          vendor: 'test',
          validate: (value: unknown) =>
            typeof value === 'number'
              ? { value: value + 1 }
              : { issues: [{ message: 'not a number', path: ['x'] }] },
        },
      } as const;
      const producer = await manager({}, 'schemas');
      const checked = await manager({ schemas: { typed: schema } }, 'schemas');
      same(await codeOf(() => checked.enqueueTask('typed', 'text')), 'PAYLOAD_INVALID', 'refused at enqueue');
      const lonely = await (producer.type === 'memory' ? checked : producer).enqueueTask('lonely', 1);
      checked.registerTaskHandler('typed', async (value: number) => value);
      const good = await checked.enqueueTask('typed', 1);
      await checked.startWorkers(1);
      same(await good.result(), 2, 'the handler sees what the schema made of it');
      await eventually(async () => {
        const record = await checked.getTask(lonely.id);
        same([record?.state, record?.reason], ['dead', 'HANDLER_NOT_FOUND'], 'no handler');
      });
    },
  },
  {
    name: 'a delayed task is never early, and keeps its order with others of the same time',
    async run({ manager }) {
      const queue = await manager();
      const started: [number, number][] = [];
      queue.registerTaskHandler('at', async (n: number) => void started.push([n, Date.now()]));
      await queue.startWorkers(1);
      const runAt = new Date(Date.now() + 400);
      const tasks = await queue.enqueueTasks([
        { name: 'at', payload: 1, options: { runAt } },
        { name: 'at', payload: 2, options: { runAt } },
        { name: 'at', payload: 3, options: { delay: 200 } },
        { name: 'at', payload: 4 },
      ]);
      same(await tasks[0]?.status(), 'delayed', 'state');
      for (const task of tasks) await task.result({ timeout: 5_000 });
      same(
        started.map(([n]) => n),
        [4, 3, 1, 2],
        'order',
      );
      check((started[2]?.[1] ?? 0) >= runAt.getTime(), 'started early');
    },
  },
  {
    name: 'an id is enqueued once, however often it is asked for, while its record is kept',
    async run({ manager }) {
      const queue = await manager();
      let runs = 0;
      queue.registerTaskHandler('once', async () => (runs += 1));
      const first = await queue.enqueueTask('once', 1, { id: 'the-one' });
      const second = await queue.enqueueTask('once', 2, { id: 'the-one' });
      same([first.duplicate, second.duplicate, second.id], [false, true, 'the-one'], 'duplicates');
      await queue.startWorkers(1);
      same(await second.result(), 1, 'result through the second handle');
      const third = await queue.enqueueTask('once', 3, { id: 'the-one' });
      same([third.duplicate, await third.result(), runs], [true, 1, 1], 'after its end');
      // The same call at the same time, in one batch, in two, and one after the other within a millisecond.
      const news: boolean[] = [];
      for (let round = 0; round < 50; round += 1) {
        const ask = (): Promise<{ readonly duplicate: boolean }> =>
          queue.enqueueTask('waits', 1, { id: `same-${round}` });
        const asked = [...(await Promise.all([ask(), ask()])), await ask()];
        news.push(...asked.map(({ duplicate }) => !duplicate));
      }
      same(news.filter(Boolean).length, 50, 'each new once');
    },
  },
  {
    name: 'a handler registered twice, and every bad option, is refused with a code before anything is written',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('x', async () => 1);
      const cyclic: Record<string, unknown> = {};
      cyclic['self'] = cyclic;
      const attempts: readonly [string, () => unknown][] = [
        ['HANDLER_EXISTS', () => queue.registerTaskHandler('x', async () => 1)],
        ['PAYLOAD_NOT_SERIALIZABLE', () => queue.enqueueTask('x', cyclic)],
        ['PAYLOAD_NOT_SERIALIZABLE', () => queue.enqueueTask('x', { big: 1n })],
        ['PAYLOAD_TOO_LARGE', () => queue.enqueueTask('x', 'x'.repeat(1_048_577))],
        ['INVALID_OPTION', () => queue.enqueueTask('x', 1, { priority: 'urgent' as 'high' })],
        ['INVALID_OPTION', () => queue.enqueueTask('x', 1, { delay: -1 })],
        ['INVALID_OPTION', () => queue.enqueueTask('x', 1, { attempts: 0 })],
        ['INVALID_OPTION', () => queue.enqueueTask('x', 1, { runAt: new Date(Number.NaN) })],
        ['INVALID_OPTION', () => queue.enqueueTask('', 1)],
        ['INVALID_OPTION', () => queue.enqueueTask('x', 1, { timeout: 0 })],
        ['INVALID_OPTION', () => queue.schedules.upsert('s', { cron: 'not cron' }, 'x', 1)],
        [
          'INVALID_OPTION',
          () => queue.schedules.upsert('s', { cron: '* * * * *', timezone: 'Mars/Base' }, 'x', 1),
        ],
        ['INVALID_OPTION', () => queue.startWorkers(0)],
        ['INVALID_OPTION', () => queue.startWorkers({ queues: 'x' as never })],
        ['INVALID_OPTION', () => queue.deadLetters.list({ cursor: 'not one of ours' })],
        ['INVALID_OPTION', () => queue.deadLetters.list({ queue: 'default', cursor: 'x' })],
        ['INVALID_OPTION', () => queue.cancelTask('x', 1 as never)],
        ['INVALID_OPTION', () => queue.schedules.remove('')],
      ];
      for (const [code, attempt] of attempts) same(await codeOf(attempt), code, String(attempt));
      same(
        await codeOf(() =>
          queue.enqueueTasks([
            { name: 'x', payload: 1 },
            { name: 'x', payload: cyclic },
          ]),
        ),
        'PAYLOAD_NOT_SERIALIZABLE',
        'all or nothing',
      );
      const [info] = await queue.inspectQueues(['default']);
      same(info?.states, { waiting: 0, delayed: 0, active: 0, dead: 0 }, 'nothing was written');
    },
  },
];
