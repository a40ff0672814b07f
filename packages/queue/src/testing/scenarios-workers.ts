import { RetryLaterError } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { check, codeOf, same, type ConformanceScenario } from './scenario.ts';

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });

/** Workers that come, go, grow and shrink; delays, limits and batches as they see them. */
export const workerScenarios: readonly ConformanceScenario[] = [
  {
    name: 'the number of slots can be changed while they work: more run at once, fewer as tasks end, and inspection shows it',
    async run({ manager }) {
      const queue = await manager();
      const gates: (() => void)[] = [];
      queue.registerTaskHandler('gated', () => new Promise<void>((resolve) => void gates.push(resolve)));
      const pool = await queue.startWorkers(1);
      await queue.enqueueTasks(Array.from({ length: 8 }, (_, n) => ({ name: 'gated', payload: n })));
      await eventually(() => same(pool.active, 1, 'at first'));
      pool.resize(4);
      await eventually(() => same([pool.count, pool.active], [4, 4], 'up'));
      await eventually(async () =>
        same((await queue.inspectQueues(['default']))[0]?.slots, 4, 'slots as others see them'),
      );
      pool.resize(2);
      for (const open of gates.splice(0)) open();
      await eventually(() => same(gates.length, 2, 'down'));
      await pause(50);
      same(gates.length, 2, 'still only two');
      same(await codeOf(() => pool.resize(0)), 'INVALID_OPTION', 'none at all');
      same(await codeOf(() => pool.resize(1.5)), 'INVALID_OPTION', 'half a slot');
      await eventually(async () => {
        for (const open of gates.splice(0)) open();
        same((await queue.inspectQueues(['default']))[0]?.totals.completed, 8, 'all done');
      });
    },
  },
  {
    name: 'a pool that is closed before its tasks have ended gives back its own, and leaves those of another pool alone',
    async run({ manager }) {
      const queue = await manager();
      let finish = (): void => {};
      const gate = new Promise<void>((resolve) => (finish = resolve));
      const runs: number[] = [];
      queue.registerTaskHandler('stays', async (n: number) => {
        runs.push(n);
        await gate;
        return n;
      });
      const first = await queue.startWorkers({ count: 1, queues: ['default'] });
      await queue.startWorkers({ count: 1, queues: ['other'] });
      const given = await queue.enqueueTask('stays', 1);
      const kept = await queue.enqueueTask('stays', 2, { queue: 'other' });
      await eventually(async () =>
        same([await given.status(), await kept.status()], ['active', 'active'], 'both run'),
      );
      await first.close({ timeoutMs: 200 });
      same([await given.status(), await kept.status()], ['waiting', 'active'], 'after the close');
      finish();
      same(await kept.result({ timeout: 5_000 }), 2, 'the other');
      same(
        runs.toSorted((a, b) => a - b),
        [1, 2],
        'runs',
      );
    },
  },
  {
    name: 'workers that are started and closed again and again, while tasks come without a pause, leave none undone and none running',
    async run({ manager }) {
      const queue = await manager();
      const runs = new Map<number, number>();
      queue.registerTaskHandler('t', async (n: number) => {
        await pause(n % 3);
        runs.set(n, (runs.get(n) ?? 0) + 1);
      });
      let producing = true;
      let made = 0;
      const production = (async () => {
        while (producing) {
          await queue.enqueueTask('t', made);
          made += 1;
          await pause(1);
        }
      })();
      for (let round = 0; round < 6; round += 1) {
        const pool = await queue.startWorkers(1 + round);
        await pause(25);
        await pool.close({ timeoutMs: 2_000 });
        same(pool.active, 0, 'a closed pool runs nothing');
      }
      producing = false;
      await production;
      await queue.startWorkers(4);
      await queue.whenIdle();
      same(runs.size, made, 'all done');
      check(
        [...runs.values()].every((times) => times === 1),
        'a task ran twice',
      );
    },
  },
  {
    name: 'a short delay is not held up by a longer one before it, and equal ones keep their order',
    async run({ manager }) {
      const queue = await manager();
      const order: string[] = [];
      queue.registerTaskHandler('d', async (name: string) => void order.push(name));
      await queue.startWorkers(1);
      await queue.enqueueTask('d', 'much later', { delay: 60_000 });
      // The worker waits for that one by now.
      await pause(60);
      const runAt = new Date(Date.now() + 900);
      const equal = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
      const tasks = await queue.enqueueTasks(
        equal.map((payload) => ({ name: 'd', payload, options: { runAt } })),
      );
      const soon = await queue.enqueueTask('d', 'soon', { delay: 20 });
      await soon.result({ timeout: 5_000 });
      for (const task of tasks) await task.result({ timeout: 5_000 });
      same(order, ['soon', ...equal], 'order');
    },
  },
  {
    name: 'a task that never ends keeps its own place in a limited queue, and holds up nobody else',
    async run({ manager }) {
      const queue = await manager({
        queues: ['few', 'rated'],
        limits: { few: { concurrency: 2 }, rated: { rate: { limit: 2, per: 40 } } },
      });
      const running = { now: 0, most: 0 };
      queue.registerTaskHandler('never', () => new Promise(() => {}));
      queue.registerTaskHandler('quick', async () => {
        running.now += 1;
        running.most = Math.max(running.most, running.now);
        await pause(2);
        running.now -= 1;
      });
      await queue.startWorkers(6);
      for (const name of ['few', 'rated']) {
        const stuck = await queue.enqueueTask('never', 1, { queue: name });
        await eventually(async () => same(await stuck.status(), 'active', name));
        running.most = 0;
        const tasks = await queue.enqueueTasks(
          Array.from({ length: 6 }, (_, n) => ({ name: 'quick', payload: n, options: { queue: name } })),
        );
        for (const task of tasks) await task.result({ timeout: 5_000 });
        if (name === 'few') same(running.most, 1, 'beside the one that never ends');
      }
    },
  },
  {
    name: 'a hundred calls at once, one of them for a task that is there already, are done in the order they were made',
    async run({ manager }) {
      const queue = await manager();
      const order: number[] = [];
      queue.registerTaskHandler('n', async (n: number) => void order.push(n));
      const there = await queue.enqueueTask('n', -1, { id: 'there' });
      const numbers = Array.from({ length: 100 }, (_, n) => n);
      const again = queue.enqueueTask('n', -2, { id: 'there' });
      const tasks = await Promise.all(numbers.map((n) => queue.enqueueTask('n', n)));
      same([there.duplicate, (await again).duplicate], [false, true], 'duplicates');
      await queue.startWorkers(1);
      for (const task of tasks) await task.result({ timeout: 10_000 });
      same(order, [-1, ...numbers], 'order');
    },
  },
  {
    name: 'under a rate limit the urgent goes first',
    async run({ manager }) {
      const queue = await manager({
        priorities: 'strict',
        limits: { default: { rate: { limit: 1, per: 30 } } },
      });
      const order: string[] = [];
      queue.registerTaskHandler('p', async (priority: string) => void order.push(priority));
      const priorities = ['low', 'normal', 'high', 'low', 'high', 'normal'] as const;
      const tasks = await queue.enqueueTasks(
        priorities.map((priority) => ({ name: 'p', payload: priority, options: { priority } })),
      );
      await queue.startWorkers(3);
      for (const task of tasks) await task.result({ timeout: 5_000 });
      same(order, ['high', 'high', 'normal', 'normal', 'low', 'low'], 'order');
    },
  },
  {
    name: 'a task that asks for later, at once or with its progress kept, goes on where it was',
    async run({ manager }) {
      const queue = await manager();
      const steps: unknown[] = [];
      queue.registerTaskHandler('steps', async (_payload, context) => {
        const { progress } = (await queue.getTask(context.id)) ?? {};
        const step = Number(progress ?? 0) + 1;
        steps.push([step, context.attempt]);
        if (step < 4) {
          context.progress(step);
          throw new RetryLaterError(step === 1 ? 0 : 10);
        }
        return 'done';
      });
      await queue.startWorkers(1);
      const task = await queue.enqueueTask('steps', 1, { attempts: 1 });
      same(await task.result({ timeout: 5_000 }), 'done', 'result');
      same(
        steps,
        [1, 2, 3, 4].map((step) => [step, 1]),
        'steps',
      );
    },
  },
  {
    name: 'a batch goes when its time is over though it is not full, and each task of a batch that throws is tried again',
    async run({ manager }) {
      const queue = await manager();
      const batches: number[][] = [];
      queue.registerBatchHandler(
        'b',
        async (payloads: readonly number[], contexts) => {
          batches.push([...payloads]);
          if (contexts.some(({ attempt }) => attempt === 1) && payloads.includes(13))
            throw new Error('unlucky');
          return payloads.map((n) => n + 1);
        },
        { size: 50, wait: 60, backoff: { strategy: 'constant', delay: 1 } },
      );
      await queue.startWorkers(5);
      const few = await queue.enqueueTasks([1, 2, 3].map((n) => ({ name: 'b', payload: n })));
      same(await Promise.all(few.map((task) => task.result())), [2, 3, 4], 'not full');
      same(batches, [[1, 2, 3]], 'one batch');
      const unlucky = await queue.enqueueTasks([12, 13].map((n) => ({ name: 'b', payload: n })));
      same(await Promise.all(unlucky.map((task) => task.result())), [13, 14], 'tried again');
      same((await queue.getTask(unlucky[0]?.id ?? ''))?.attempts, 2, 'attempts');
    },
  },
  {
    name: 'a batch handler that gives too few results fails its tasks, and a cancelled task leaves its batch alone',
    async run({ manager }) {
      const queue = await manager({ grace: 10 });
      queue.registerBatchHandler('few', async () => [1], { size: 2, wait: 20 });
      const seen: number[] = [];
      queue.registerBatchHandler(
        'b',
        async (payloads: readonly number[]) => {
          seen.push(...payloads);
          return payloads;
        },
        { size: 10, wait: 250 },
      );
      await queue.startWorkers(4);
      const few = await queue.enqueueTasks(
        [1, 2].map((n) => ({ name: 'few', payload: n, options: { attempts: 1 } })),
      );
      for (const task of few) same(await codeOf(() => task.result()), 'TASK_FAILED', 'too few results');
      const [first, second] = await queue.enqueueTasks([1, 2].map((n) => ({ name: 'b', payload: n })));
      await eventually(async () => same(await first?.status(), 'active', 'gathered'));
      await first?.cancel();
      same(await codeOf(() => first?.result()), 'TASK_CANCELLED', 'the first');
      same([await second?.result(), seen], [2, [2]], 'the second');
    },
  },
];
