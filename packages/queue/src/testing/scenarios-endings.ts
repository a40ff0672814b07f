import { NonRetryableError } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import type { TaskContext } from '../worker/handlers.ts';
import { check, codeOf, same, type ConformanceScenario } from './scenario.ts';

/** Runs until its signal fires, and ends with the signal's reason. */
function untilAborted(_payload: unknown, { signal }: TaskContext): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });
}

/** How tasks end: cancelled at every moment, drained, and what their end lets go. */
export const endingScenarios: readonly ConformanceScenario[] = [
  {
    name: 'a task that is cancelled on its last attempt is cancelled, and no dead letter',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('long', untilAborted);
      await queue.startWorkers(1);
      const task = await queue.enqueueTask('long', 1, { attempts: 1 });
      await eventually(async () => (await task.status()) === 'active');
      same(await task.cancel('enough'), true, 'cancel');
      same(await codeOf(() => task.result()), 'TASK_CANCELLED', 'result');
      const record = await queue.getTask(task.id);
      same([record?.state, record?.error?.message], ['cancelled', 'enough'], 'record');
      same(await queue.deadLetters.count(), 0, 'dead letters');
    },
  },
  {
    name: 'a task that is cancelled while it waits for its next attempt never runs again',
    async run({ manager }) {
      const queue = await manager();
      let runs = 0;
      queue.registerTaskHandler('fail', async () => {
        runs += 1;
        throw new Error('again');
      });
      await queue.startWorkers(1);
      const backoff = { strategy: 'constant', delay: 150 } as const;
      const task = await queue.enqueueTask('fail', 1, { attempts: 5, backoff });
      await eventually(async () => (await task.status()) === 'delayed');
      same(await task.cancel(), true, 'cancel');
      const before = runs;
      const marker = await queue.enqueueTask('fail', 2, { attempts: 1, delay: 200 });
      await codeOf(() => marker.result());
      same([runs, await task.status()], [before + 1, 'cancelled'], 'runs');
    },
  },
  {
    name: 'a cancellation that meets the end of its task gives one end: it is completed or cancelled, and told once',
    async run({ manager }) {
      const queue = await manager();
      const told = new Map<string, string[]>();
      const tell = (id: string, what: string): void => void told.set(id, [...(told.get(id) ?? []), what]);
      queue.on('completed', ({ id }) => tell(id, 'completed'));
      queue.on('cancelled', ({ id }) => tell(id, 'cancelled'));
      queue.registerTaskHandler('short', (n: number) => new Promise((done) => setTimeout(done, n % 6)));
      await queue.startWorkers(10);
      const tasks = await queue.enqueueTasks(
        Array.from({ length: 40 }, (_, n) => ({ name: 'short', payload: n })),
      );
      await Promise.all(
        tasks.map(async (task, n) => {
          await new Promise((done) => setTimeout(done, n % 7));
          await task.cancel();
        }),
      );
      await queue.whenIdle();
      for (const task of tasks) {
        const state = await task.status();
        check(state === 'completed' || state === 'cancelled', `a task is ${state}`);
        const code = await codeOf(() => task.result());
        same(code, state === 'completed' ? 'no error' : 'TASK_CANCELLED', 'its result');
        await eventually(() => same(told.get(task.id), [state], 'what was told'));
      }
    },
  },
  {
    name: 'a cancellation while the workers close ends the task: it is not given back to run again',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('deaf', () => new Promise(() => {}));
      const pool = await queue.startWorkers(1);
      const task = await queue.enqueueTask('deaf', 1);
      await eventually(async () => (await task.status()) === 'active');
      const closing = pool.close({ timeoutMs: 400 });
      same(await task.cancel('not any more'), true, 'cancel');
      await closing;
      await eventually(async () => same(await task.status(), 'cancelled', 'state'));
      const [info] = await queue.inspectQueues(['default']);
      same(info?.states, { waiting: 0, delayed: 0, active: 0, dead: 0 }, 'nothing is left');
    },
  },
  {
    name: 'a unique key is free again however its task ended: completed, dead, cancelled, expired, drained',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('good', async () => 'good');
      queue.registerTaskHandler('bad', () => Promise.reject(new NonRetryableError('no')));
      const unique = (key: string): { unique: { key: string; mode: 'reject' } } => ({
        unique: { key, mode: 'reject' },
      });
      const ends: Readonly<Record<string, () => Promise<unknown>>> = {
        cancelled: async () => (await queue.enqueueTask('good', 1, unique('cancelled'))).cancel(),
        drained: async () => {
          await queue.enqueueTask('good', 1, unique('drained'));
          await queue.drain('default');
        },
        completed: async () => (await queue.enqueueTask('good', 1, unique('completed'))).result(),
        dead: async () => (await queue.enqueueTask('bad', 1, unique('dead'))).result(),
        expired: async () => {
          await queue.enqueueTask('good', 1, { ...unique('expired'), ttl: 5, delay: 30 });
          await queue.whenIdle();
        },
      };
      let started = false;
      for (const [key, end] of Object.entries(ends)) {
        if (key === 'completed') await queue.startWorkers(1);
        started ||= key === 'completed';
        await codeOf(end);
        const next = await queue.enqueueTask('good', 2, unique(key));
        same(next.duplicate, false, `the key of a task that was ${key}`);
        if (started) same(await next.result(), 'good', key);
      }
    },
  },
  {
    name: 'a dead letter does not come back while another live task has its unique key, and has it again when it does',
    async run({ manager }) {
      const queue = await manager();
      let healthy = false;
      queue.registerTaskHandler('u', async (n: number) => {
        if (!healthy && n === 1) throw new NonRetryableError('no');
        return n;
      });
      await queue.startWorkers(2);
      const unique = { key: 'one at a time', mode: 'reject' } as const;
      const first = await queue.enqueueTask('u', 1, { unique });
      await codeOf(() => first.result());
      const second = await queue.enqueueTask('u', 2, { unique, delay: 60_000 });
      same(second.duplicate, false, 'the key was free');
      healthy = true;
      same(await queue.deadLetters.retry(first.id), 0, 'while the second waits');
      same(await queue.deadLetters.retry({ queue: 'default' }), 0, 'nor with all of its queue');
      same(await first.status(), 'dead', 'it stays where it was');
      await second.cancel();
      await queue.pause();
      same(await queue.deadLetters.retry(first.id), 1, 'after its end');
      const third = await queue.enqueueTask('u', 3, { unique });
      same([third.duplicate, third.id === first.id], [true, true], 'the key is taken again');
      await queue.resume();
      same(await first.result(), 1, 'it runs');
    },
  },
  {
    name: 'drain cancels a flow whole, the parents too, and what its group or its unique key holds back',
    async run({ manager }) {
      const queue = await manager();
      const leaf = { name: 'leaf', payload: 1 };
      const flow = await queue.enqueueFlow({
        name: 'root',
        payload: 1,
        children: [{ name: 'branch', payload: 1, children: [leaf, leaf] }, leaf],
      });
      const group = { key: 'g' };
      const grouped = await queue.enqueueTasks(
        [1, 2, 3].map((n) => ({ name: 'leaf', payload: n, options: { group } })),
      );
      same(await queue.drain('default'), 8, 'drained');
      const [branch] = flow.children;
      const all = [flow, ...flow.children, ...(branch?.children ?? []), ...grouped];
      for (const task of all) same(await task.status(), 'cancelled', 'state');
      same(await queue.deadLetters.count(), 0, 'dead letters');
      const [info] = await queue.inspectQueues(['default']);
      same(info?.states, { waiting: 0, delayed: 0, active: 0, dead: 0 }, 'nothing is left');
    },
  },
  {
    name: 'a payload may be nested as deep as JSON goes: it can be replaced, cancelled while it runs, and run',
    async run({ manager }) {
      const queue = await manager();
      let deep: unknown = '"[{\\ not the end';
      for (let n = 0; n < 1_500; n += 1) deep = n % 2 === 0 ? [deep] : { 'a,"]': deep };
      const unique = { key: 'deep, "and" {odd', mode: 'replace' } as const;
      queue.registerTaskHandler('echo', async (payload: unknown) => payload);
      queue.registerTaskHandler('deaf', () => new Promise(() => {}));
      const old = await queue.enqueueTask('echo', deep, { unique, group: { key: 'g' } });
      const fresh = await queue.enqueueTask('echo', deep, { unique, group: { key: 'g' } });
      same([fresh.duplicate, fresh.id === old.id], [true, true], 'replaced');
      const pool = await queue.startWorkers(1);
      same(await fresh.result(), deep, 'its result');
      const deaf = await queue.enqueueTask('deaf', deep, { group: { key: 'g' } });
      await eventually(async () => (await deaf.status()) === 'active');
      const closing = pool.close({ timeoutMs: 300 });
      same(await deaf.cancel(), true, 'cancel');
      await closing;
      await eventually(async () => same(await deaf.status(), 'cancelled', 'state'));
    },
  },
  {
    name: 'a result that is no JSON fails the attempt with a code, and what is thrown need not be an Error',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('cyclic', async () => {
        const result: Record<string, unknown> = {};
        result['self'] = result;
        return result;
      });
      queue.registerTaskHandler('text', () => {
        // Handlers throw all sorts of things; this one does not even return a promise first.
        // oxlint-disable-next-line typescript/only-throw-error
        throw 'just a text';
      });
      await queue.startWorkers(2);
      for (const [name, code, message] of [
        ['cyclic', 'RESULT_NOT_SERIALIZABLE', 'The result cannot be written as JSON'],
        ['text', undefined, 'just a text'],
      ] as const) {
        const task = await queue.enqueueTask(name, 1, { attempts: 1 });
        same(await codeOf(() => task.result()), 'TASK_FAILED', name);
        const record = await queue.getTask(task.id);
        same([record?.error?.code, record?.error?.message], [code, message], name);
      }
    },
  },
  {
    name: 'an attempt that timed out is tried again, with a fresh signal and a fresh time, until attempts are used up',
    async run({ manager }) {
      const queue = await manager({ grace: 10 });
      const fresh: boolean[] = [];
      queue.registerTaskHandler('slow', async (until: number, context) => {
        fresh.push(!context.signal.aborted);
        if (context.attempt < until) await untilAborted(0, context);
        return context.attempt;
      });
      await queue.startWorkers(1);
      const options = { timeout: 40, attempts: 3, backoff: { strategy: 'constant', delay: 1 } } as const;
      const third = await queue.enqueueTask('slow', 3, options);
      same(await third.result(), 3, 'the third attempt is in time');
      const never = await queue.enqueueTask('slow', 9, options);
      same(await codeOf(() => never.result()), 'TASK_FAILED', 'never in time');
      const record = await queue.getTask(never.id);
      same([record?.reason, record?.attempts, fresh.length], ['TIMEOUT', 3, 6], 'record');
      check(fresh.every(Boolean), 'an attempt began with an aborted signal');
    },
  },
];
