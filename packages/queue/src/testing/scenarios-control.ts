import { eventually } from '@xiaoke/core/testing';
import { codeOf, same, type ConformanceScenario } from './scenario.ts';

/** Priorities, cancellation, pausing, dead letters, expiry, notes, unique keys. */
export const controlScenarios: readonly ConformanceScenario[] = [
  {
    name: 'while all priorities have work, any ten claims in a row hold six high, three normal and one low',
    async run({ manager }) {
      const queue = await manager();
      const order: string[] = [];
      queue.registerTaskHandler('p', async (priority: string) => void order.push(priority));
      const priorities = ['high', 'normal', 'low'] as const;
      const items = priorities.flatMap((priority) =>
        Array.from({ length: 40 }, () => ({ name: 'p', payload: priority, options: { priority } })),
      );
      await queue.enqueueTasks(items);
      await queue.startWorkers(1);
      await eventually(() => order.length === 120);
      for (let start = 0; start + 10 <= 40; start += 10) {
        const ten = order.slice(start, start + 10);
        same(
          priorities.map((p) => ten.filter((other) => other === p).length),
          [6, 3, 1],
          `claims from ${start}`,
        );
      }
    },
  },
  {
    name: 'with strict priorities nothing low runs while something high waits',
    async run({ manager }) {
      const queue = await manager({ priorities: 'strict' });
      const order: string[] = [];
      queue.registerTaskHandler('p', async (priority: string) => void order.push(priority));
      for (const priority of ['low', 'normal', 'high', 'low', 'high'] as const)
        await queue.enqueueTask('p', priority, { priority });
      await queue.startWorkers(1);
      await eventually(() => order.length === 5);
      same(order, ['high', 'high', 'normal', 'low', 'low'], 'order');
    },
  },
  {
    name: 'a waiting or delayed task can be cancelled and never runs; a finished one cannot',
    async run({ manager }) {
      const queue = await manager();
      const ran: number[] = [];
      queue.registerTaskHandler('c', async (n: number) => void ran.push(n));
      const waiting = await queue.enqueueTask('c', 1);
      const delayed = await queue.enqueueTask('c', 2, { delay: 50 });
      const kept = await queue.enqueueTask('c', 3);
      same(await waiting.cancel('not needed'), true, 'waiting');
      same(await queue.cancelTask(delayed.id), true, 'delayed');
      same(await queue.cancelTask('unknown'), false, 'unknown');
      await queue.startWorkers(1);
      await kept.result();
      same(await kept.cancel(), false, 'completed');
      same(await codeOf(() => waiting.result()), 'TASK_CANCELLED', 'result');
      same([await waiting.status(), await delayed.status()], ['cancelled', 'cancelled'], 'states');
      const marker = await queue.enqueueTask('c', 4, { delay: 80 });
      await marker.result();
      same(ran, [3, 4], 'runs');
    },
  },
  {
    name: 'cancelling a running task fires its signal with the reason, also from another manager',
    async run({ manager }) {
      const worker = await manager({}, 'cancel');
      const other = worker.type === 'memory' ? worker : await manager({}, 'cancel');
      const events: string[] = [];
      worker.on('cancelled', (event) => events.push(event.reason));
      worker.registerTaskHandler(
        'long',
        (_payload, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason));
          }),
      );
      const task = await worker.enqueueTask('long', 1);
      await worker.startWorkers(1);
      await eventually(async () => (await task.status()) === 'active');
      same(await other.cancelTask(task.id, 'changed my mind'), true, 'cancel');
      same(await codeOf(() => task.result({ timeout: 8_000 })), 'TASK_CANCELLED', 'result');
      await eventually(() => same(events, ['changed my mind'], 'event'));
      same(await task.status(), 'cancelled', 'state');
    },
  },
  {
    name: 'a paused queue hands out nothing, also what falls due, until it is resumed',
    async run({ manager }) {
      const queue = await manager({ queues: ['a', 'b'] });
      const ran: string[] = [];
      queue.registerTaskHandler('t', async (n: string) => void ran.push(n));
      await queue.pause('a');
      await queue.startWorkers(2);
      await queue.enqueueTask('t', 'a1', { queue: 'a' });
      await queue.enqueueTask('t', 'a2', { queue: 'a', delay: 10 });
      await (await queue.enqueueTask('t', 'b1', { queue: 'b', delay: 40 })).result();
      same(ran, ['b1'], 'while paused');
      same((await queue.inspectQueues(['a']))[0]?.paused, true, 'inspect');
      await queue.resume('a');
      await eventually(() => same([...ran].sort(), ['a1', 'a2', 'b1'], 'after resume'));
      await queue.pause();
      const held = await queue.enqueueTask('t', 'a3', { queue: 'a' });
      const marker = await codeOf(() => held.result({ timeout: 60 }));
      same([marker, ran.length], ['TIMEOUT', 3], 'all paused');
      await queue.resume();
      await held.result();
    },
  },
  {
    name: 'dead letters are listed in pages, counted, put back with fresh attempts, and purged',
    async run({ manager }) {
      const queue = await manager();
      let healthy = false;
      queue.registerTaskHandler('d', async (n: number) => {
        if (!healthy) throw new Error('sick');
        return n;
      });
      const tasks = await queue.enqueueTasks(
        [1, 2, 3, 4, 5].map((n) => ({ name: 'd', payload: n, options: { attempts: 1 } })),
      );
      await queue.startWorkers(2);
      await eventually(async () => (await queue.deadLetters.count()) === 5);
      const first = await queue.deadLetters.list({ queue: 'default', limit: 3 });
      const second = await queue.deadLetters.list({
        queue: 'default',
        limit: 3,
        ...(first.cursor === undefined ? {} : { cursor: first.cursor }),
      });
      const ids = [...first.items, ...second.items].map((item) => item.id).sort();
      same(ids, tasks.map((task) => task.id).sort(), 'all pages');
      same(await queue.deadLetters.purge([ids[0] ?? '']), 1, 'purged');
      same(await queue.getTask(ids[0] ?? ''), undefined, 'purged record');
      healthy = true;
      same(await queue.deadLetters.retry([ids[1] ?? '', 'unknown']), 1, 'retried by id');
      same(await queue.deadLetters.retry({ queue: 'default' }), 3, 'retried the rest');
      for (const task of tasks.filter(({ id }) => id !== ids[0])) await task.result();
      const again = await queue.getTask(ids[1] ?? '');
      same([again?.state, again?.attempts], ['completed', 1], 'fresh attempts');
      same(await queue.deadLetters.count(), 0, 'empty');
    },
  },
  {
    name: 'a task that is not started within its ttl expires and never runs',
    async run({ manager }) {
      const queue = await manager();
      let runs = 0;
      queue.registerTaskHandler('t', async () => (runs += 1));
      const task = await queue.enqueueTask('t', 1, { ttl: 20, delay: 60 });
      await queue.startWorkers(1);
      same(await codeOf(() => task.result()), 'TASK_EXPIRED', 'result');
      const marker = await queue.enqueueTask('t', 2, { delay: 80 });
      await marker.result();
      same([runs, await task.status()], [1, 'expired'], 'runs');
    },
  },
  {
    name: 'progress and log lines of a task can be read while it runs and after',
    async run({ manager }) {
      const queue = await manager({ maxLogLines: 3 });
      let release = (): void => {};
      const gate = new Promise<void>((resolve) => (release = resolve));
      queue.registerTaskHandler('n', async (_payload, context) => {
        context.progress({ percent: 50 });
        for (const line of ['one', 'two', 'three\nwith a break', 'four']) context.log(line);
        await gate;
      });
      const task = await queue.enqueueTask('n', 1);
      await queue.startWorkers(1);
      await eventually(async () => {
        const record = await queue.getTask(task.id);
        same(
          [record?.progress, record?.logs],
          [{ percent: 50 }, ['two', 'three\nwith a break', 'four']],
          'notes',
        );
      });
      release();
      await task.result();
      same((await queue.getTask(task.id))?.progress, { percent: 50 }, 'after its end');
    },
  },
  {
    name: 'what a short task said can be read as soon as its result is there',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('n', async (_payload, context) => {
        context.progress(7);
        context.log('done');
      });
      await queue.startWorkers(1);
      const task = await queue.enqueueTask('n', 1);
      await task.result();
      const record = await queue.getTask(task.id);
      same([record?.progress, record?.logs], [7, ['done']], 'notes');
    },
  },
  {
    name: 'a constant backoff is that long, without chance',
    async run({ manager }) {
      const queue = await manager();
      const delays: number[] = [];
      queue.on('retrying', ({ delayMs }) => delays.push(delayMs));
      queue.registerTaskHandler('n', () => Promise.reject(new Error('no')));
      await queue.startWorkers(1);
      const task = await queue.enqueueTask('n', 1, {
        attempts: 3,
        backoff: { strategy: 'constant', delay: 20 },
      });
      same(await codeOf(() => task.result()), 'TASK_FAILED', 'result');
      same(delays, [20, 20], 'delays');
    },
  },
  {
    name: 'a unique key: reject keeps the first, replace takes its place, throttle also holds after its end',
    async run({ manager }) {
      const queue = await manager();
      const ran: unknown[] = [];
      queue.registerTaskHandler('u', async (n: unknown) => {
        ran.push(n);
        return n;
      });
      const reject = { unique: { key: 'r', mode: 'reject' } } as const;
      const first = await queue.enqueueTask('u', 'r1', reject);
      const second = await queue.enqueueTask('u', 'r2', reject);
      same([second.duplicate, second.id === first.id], [true, true], 'reject');
      const replace = { unique: { key: 'p', mode: 'replace' }, delay: 30 } as const;
      const old = await queue.enqueueTask('u', 'p1', replace);
      const fresh = await queue.enqueueTask('u', 'p2', replace);
      same([fresh.duplicate, fresh.id === old.id], [true, true], 'replace');
      const throttle = { unique: { key: 't', mode: 'throttle', for: 1_500 } } as const;
      const throttled = await queue.enqueueTask('u', 't1', throttle);
      await queue.startWorkers(1);
      same(
        [await first.result(), await old.result(), await throttled.result()],
        ['r1', 'p2', 't1'],
        'results',
      );
      same((await queue.enqueueTask('u', 't2', throttle)).duplicate, true, 'throttled after its end');
      const next = await queue.enqueueTask('u', 'r3', reject);
      same([next.duplicate, await next.result()], [false, 'r3'], 'released by its end');
      await eventually(async () => !(await queue.enqueueTask('u', 't3', throttle)).duplicate, {
        interval: 40,
      });
    },
  },
  {
    name: 'a unique key is one in its namespace: a second queue gets the task of the first, and replaces nothing there',
    async run({ manager }) {
      const queue = await manager({ queues: ['a', 'b'] });
      queue.registerTaskHandler('u', async (n: unknown) => n);
      for (const mode of ['reject', 'replace', 'throttle'] as const) {
        const unique = { key: `key ${mode}`, mode, ...(mode === 'throttle' ? { for: 60_000 } : {}) };
        const first = await queue.enqueueTask('u', 1, { queue: 'a', unique });
        const second = await queue.enqueueTask('u', 2, { queue: 'b', unique });
        same([second.duplicate, second.id === first.id], [true, true], mode);
      }
      same(
        (await queue.inspectQueues(['a', 'b'])).map(({ states }) => states.waiting),
        [3, 0],
        'waiting per queue',
      );
      const pool = await queue.startWorkers(1);
      await queue.whenIdle();
      const unique = { key: 'key reject', mode: 'reject' } as const;
      const free = await queue.enqueueTask('u', 3, { queue: 'b', unique });
      same([free.duplicate, await free.result()], [false, 3], 'released for every queue');
      await pool.close();
    },
  },
  {
    name: 'a fire of a schedule whose unique key is taken enqueues nothing',
    async run({ manager }) {
      const queue = await manager();
      const unique = { key: 'one at a time', mode: 'reject' } as const;
      const holder = await queue.enqueueTask('held', 1, { delay: 60_000, unique });
      await queue.schedules.upsert('s', { every: 100 }, 'fired', 1, { unique });
      await queue.startWorkers(1);
      const before = await queue.schedules.list();
      await eventually(async () => {
        const [now] = await queue.schedules.list();
        return (now?.nextAt.getTime() ?? 0) >= (before[0]?.nextAt.getTime() ?? 0) + 300;
      });
      const [info] = await queue.inspectQueues(['default']);
      same([info?.totals.enqueued, await holder.status()], [1, 'delayed'], 'only the holder');
    },
  },
];
