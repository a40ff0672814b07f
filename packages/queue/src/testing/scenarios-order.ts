import { eventually } from '@xiaoke/core/testing';
import { check, codeOf, same, type ConformanceScenario } from './scenario.ts';

/** Groups, limits, flows, schedules, shutdown, batches, inspection. */
export const orderScenarios: readonly ConformanceScenario[] = [
  {
    name: 'a group runs in order and never more at once than its concurrency, through retries too',
    async run({ manager }) {
      const queue = await manager();
      const order: number[] = [];
      const running = { now: 0, most: 0 };
      queue.registerTaskHandler('g', async (n: number, context) => {
        running.now += 1;
        running.most = Math.max(running.most, running.now);
        await new Promise((resolve) => setTimeout(resolve, 3));
        running.now -= 1;
        if (n === 2 && context.attempt === 1) throw new Error('again');
        order.push(n);
      });
      const backoff = { strategy: 'constant', delay: 15, jitter: 'none' } as const;
      const tasks = await queue.enqueueTasks(
        [1, 2, 3, 4, 5].map((n) => ({ name: 'g', payload: n, options: { group: { key: 'one' }, backoff } })),
      );
      await queue.startWorkers(5);
      for (const task of tasks) await task.result();
      same([order, running.most], [[1, 2, 3, 4, 5], 1], 'order and concurrency');
      const wide = await queue.enqueueTasks(
        [6, 7, 8, 9, 10, 11].map((n) => ({
          name: 'g',
          payload: n,
          options: { group: { key: 'two', concurrency: 2 } },
        })),
      );
      for (const task of wide) await task.result();
      check(running.most === 2, `most at once was ${running.most}`);
    },
  },
  {
    name: 'the limits of a queue hold over all workers: concurrency at every instant, rate over every span',
    async run({ manager }) {
      const queue = await manager({
        limits: { default: { concurrency: 2 }, slow: { rate: { limit: 5, per: 200 } } },
        queues: ['default', 'slow'],
      });
      const running = { now: 0, most: 0 };
      queue.registerTaskHandler('c', async () => {
        running.now += 1;
        running.most = Math.max(running.most, running.now);
        await new Promise((resolve) => setTimeout(resolve, 5));
        running.now -= 1;
      });
      queue.registerTaskHandler('r', async () => {});
      const limited = await queue.enqueueTasks(Array.from({ length: 10 }, () => ({ name: 'c', payload: 1 })));
      const rated = await queue.enqueueTasks(
        Array.from({ length: 12 }, () => ({ name: 'r', payload: 1, options: { queue: 'slow' } })),
      );
      await Promise.all([queue.startWorkers(5), queue.startWorkers(5)]);
      for (const task of [...limited, ...rated]) await task.result();
      same(running.most, 2, 'most at once');
      // Burst 5, then one every 40 ms: the twelfth cannot start before 7 · 40 ms, by the backend's own clock.
      const records = await Promise.all(rated.map(({ id }) => queue.getTask(id)));
      const starts = records.map((record) => record?.startedAt?.getTime() ?? 0);
      const span = Math.max(...starts) - Math.min(...starts);
      check(span >= 280, `12 tasks started within ${span} ms`);
    },
  },
  {
    name: 'a parent runs after its children and sees their results; a chain passes each result on',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('leaf', async (n: number) => n * 10);
      queue.registerTaskHandler('sum', async (_payload, context) =>
        [...(await context.childResults()).values()].reduce((sum: number, value) => sum + Number(value), 0),
      );
      queue.registerTaskHandler('plus', async (n: number, context) => {
        const [before = 0] = [...(await context.childResults()).values()];
        return Number(before) + n;
      });
      const flow = await queue.enqueueFlow({
        name: 'sum',
        payload: null,
        children: [1, 2, 3].map((n) => ({ name: 'leaf', payload: n })),
      });
      same(await flow.status(), 'waiting', 'parent waits');
      await queue.startWorkers(3);
      same(await flow.result(), 60, 'sum');
      const chain = await queue.enqueueChain([1, 2, 3].map((n) => ({ name: 'plus', payload: n })));
      same(await chain.result(), 6, 'chain');
    },
  },
  {
    name: 'a child in the dead letters takes its parent along, unless it may fail',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('ok', async () => 'ok');
      queue.registerTaskHandler('bad', async () => {
        throw new Error('bad');
      });
      const options = { attempts: 1 };
      const strict = await queue.enqueueFlow({
        name: 'ok',
        payload: 1,
        children: [{ name: 'bad', payload: 1, options }],
      });
      const lenient = await queue.enqueueFlow({
        name: 'ok',
        payload: 1,
        children: [
          { name: 'bad', payload: 1, options, onFailure: 'ignore' },
          { name: 'ok', payload: 2 },
        ],
      });
      await queue.startWorkers(2);
      same(await codeOf(() => strict.result()), 'TASK_FAILED', 'strict');
      same(
        await strict.result().catch((error: { details: { reason: string } }) => error.details.reason),
        'CHILD_FAILED',
        'reason',
      );
      same(await lenient.result(), 'ok', 'lenient');
    },
  },
  {
    name: 'a schedule fires in every period once, however many managers run it, and stops when removed',
    async run({ manager }) {
      const first = await manager({}, 'schedules');
      const second = first.type === 'memory' ? first : await manager({}, 'schedules');
      const fired: string[] = [];
      for (const queue of new Set([first, second])) {
        queue.registerTaskHandler('tick', async (_payload, context) => void fired.push(context.id));
        await queue.startWorkers(1);
      }
      await first.schedules.upsert('every', { every: 100 }, 'tick', 1);
      const again = await second.schedules.upsert('every', { every: 100 }, 'tick', 1);
      same(
        (await second.schedules.list()).map(({ id, name, rule }) => [id, name, rule.every]),
        [['every', 'tick', 100]],
        'list',
      );
      check(again.nextAt.getTime() > Date.now() - 5_000, 'next time');
      await eventually(() => fired.length >= 4);
      same(await first.schedules.remove('every'), true, 'removed');
      const times = fired.map((id) => Number(id.split('@')[1]));
      same(new Set(times).size, times.length, 'every fire once');
      const steps = times.sort((a, b) => a - b).map((time, index) => time - (times[index - 1] ?? time - 100));
      check(
        steps.every((step) => step % 100 === 0),
        `steps ${steps.join()}`,
      );
    },
  },
  {
    name: 'close finishes what runs, gives the rest back without counting an attempt, and refuses new work',
    async run({ manager }) {
      const queue = await manager({}, 'close');
      const pool = await queue.startWorkers(2);
      let aborted: unknown;
      let closing = (): void => {};
      const begun = new Promise<void>((resolve) => (closing = resolve));
      queue.registerTaskHandler('quick', async () => {
        await begun;
        return await new Promise((resolve) => setTimeout(() => resolve('done'), 30));
      });
      queue.registerTaskHandler(
        'stuck',
        (_payload, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => {
              aborted = signal.reason;
              reject(signal.reason);
            });
          }),
      );
      const quick = await queue.enqueueTask('quick', 1);
      const stuck = await queue.enqueueTask('stuck', 1);
      await eventually(
        async () => (await quick.status()) === 'active' && (await stuck.status()) === 'active',
      );
      const start = performance.now();
      closing();
      await pool.close({ timeoutMs: 300 });
      check(performance.now() - start < 600, 'took too long');
      same([await quick.status(), await stuck.status()], ['completed', 'waiting'], 'states');
      same(
        [(await queue.getTask(stuck.id))?.attempts, Reflect.get(Object(aborted), 'code')],
        [0, 'WORKER_CLOSING'],
        'given back',
      );
      await queue.close({ timeout: 500 });
      same(await codeOf(() => queue.enqueueTask('quick', 1)), 'QUEUE_CLOSED', 'after close');
    },
  },
  {
    name: 'drain cancels what waits and leaves what is delayed, unless told otherwise',
    async run({ manager }) {
      const queue = await manager();
      const waiting = await queue.enqueueTask('x', 1);
      const delayed = await queue.enqueueTask('x', 1, { delay: 60_000 });
      same(await queue.drain('default'), 1, 'drained');
      same([await waiting.status(), await delayed.status()], ['cancelled', 'delayed'], 'states');
      same(await queue.drain('default', { delayed: true }), 1, 'with delayed');
      same(await codeOf(() => delayed.result()), 'TASK_CANCELLED', 'its result settles');
    },
  },
  {
    name: 'a batch handler gets several tasks at once and may fail one of them alone',
    async run({ manager }) {
      const queue = await manager();
      const sizes: number[] = [];
      queue.registerBatchHandler(
        'b',
        async (payloads: readonly number[]) => {
          sizes.push(payloads.length);
          return payloads.map((n) => (n === 3 ? new Error('three') : n * 2));
        },
        { size: 5, wait: 100 },
      );
      const tasks = await queue.enqueueTasks(
        [1, 2, 3, 4, 5].map((n) => ({ name: 'b', payload: n, options: { attempts: 1 } })),
      );
      await queue.startWorkers(5);
      same([await tasks[0]?.result(), await tasks[4]?.result()], [2, 10], 'results');
      same(await codeOf(() => tasks[2]?.result()), 'TASK_FAILED', 'the third');
      same(sizes, [5], 'sizes');
    },
  },
  {
    name: 'one manager sees what another enqueued, and inspectQueues counts by state and priority',
    async run({ manager }) {
      const queue = await manager({}, 'inspect');
      await queue.enqueueTasks([
        { name: 'x', payload: 1, options: { priority: 'high' } },
        { name: 'x', payload: 1 },
        { name: 'x', payload: 1 },
        { name: 'x', payload: 1, options: { delay: 60_000 } },
        { name: 'x', payload: 1, options: { group: { key: 'g' } } },
        { name: 'x', payload: 1, options: { group: { key: 'g' } } },
      ]);
      const other = queue.type === 'memory' ? queue : await manager({}, 'inspect');
      const [info] = await other.inspectQueues(['default']);
      same(info?.states, { waiting: 5, delayed: 1, active: 0, dead: 0 }, 'states');
      same([info?.priorities, info?.held], [{ high: 1, normal: 3, low: 0 }, 1], 'priorities');
      check(
        (info?.oldestWaitingAgeSeconds ?? -1) >= 0 && (info?.oldestWaitingAgeSeconds ?? 99) < 10,
        'oldest age',
      );
      same(info?.totals.enqueued, 6, 'enqueued');
    },
  },
];
