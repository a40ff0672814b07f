import { NonRetryableError } from '@xiaoke/core';
import { eventually } from '@xiaoke/core/testing';
import { check, codeOf, same, type ConformanceScenario } from './scenario.ts';

/** What becomes of parents, and schedules that many processes share. */
export const flowScenarios: readonly ConformanceScenario[] = [
  {
    name: 'a parent dies with a child that fails, is cancelled or expires, up to the root; a child that may fail costs only its result',
    async run({ manager }) {
      const queue = await manager();
      queue.registerTaskHandler('ok', async (n: unknown) => n);
      queue.registerTaskHandler('bad', () => Promise.reject(new NonRetryableError('bad')));
      queue.registerTaskHandler('sum', async (_payload, context) => [
        ...(await context.childResults()).values(),
      ]);
      const over = (leaf: object, onFailure: 'fail' | 'ignore'): Parameters<typeof queue.enqueueFlow>[0] => ({
        name: 'sum',
        payload: null,
        children: [
          { name: 'sum', payload: null, onFailure, children: [{ name: 'bad', payload: 1, ...leaf }] },
          { name: 'ok', payload: 2 },
        ],
      });
      const leaves: Readonly<Record<string, object>> = {
        failed: {},
        cancelled: { name: 'ok', options: { delay: 60_000 } },
        expired: { name: 'ok', options: { ttl: 5, delay: 30 } },
      };
      for (const [how, leaf] of Object.entries(leaves)) {
        const strict = await queue.enqueueFlow(over(leaf, 'fail'));
        const lenient = await queue.enqueueFlow(over(leaf, 'ignore'));
        const pool = await queue.startWorkers(3);
        if (how === 'cancelled') {
          for (const flow of [strict, lenient]) await flow.children[0]?.children[0]?.cancel();
        }
        same(await codeOf(() => strict.result({ timeout: 8_000 })), 'TASK_FAILED', `${how}: the root`);
        const record = await queue.getTask(strict.id);
        same([record?.state, record?.reason], ['dead', 'CHILD_FAILED'], `${how}: its reason`);
        same(await lenient.result({ timeout: 8_000 }), [[2], 2].slice(1), `${how}: the rest`);
        same(await lenient.children[0]?.status(), 'dead', `${how}: the branch`);
        await pool.close();
      }
    },
  },
  {
    name: 'a child and its parent that died can both be retried, and the parent sees the result',
    async run({ manager }) {
      const queue = await manager();
      let healthy = false;
      queue.registerTaskHandler('child', async () => {
        if (!healthy) throw new NonRetryableError('sick');
        return 'well';
      });
      queue.registerTaskHandler('parent', async (_payload, context) => [
        ...(await context.childResults()).values(),
      ]);
      await queue.startWorkers(2);
      const flow = await queue.enqueueFlow({
        name: 'parent',
        payload: 1,
        children: [{ name: 'child', payload: 1, onFailure: 'fail' }],
      });
      same(await codeOf(() => flow.result({ timeout: 8_000 })), 'TASK_FAILED', 'at first');
      healthy = true;
      const [child] = flow.children;
      same(await queue.deadLetters.retry(child?.id ?? ''), 1, 'the child');
      same(await child?.result(), 'well', 'its result');
      same(await queue.deadLetters.retry(flow.id), 1, 'the parent');
      await flow.result();
    },
  },
  {
    name: 'a child that could stand for another task is refused before anything is written, since its parent would wait for ever',
    async run({ manager }) {
      const queue = await manager();
      await queue.enqueueTask('x', 1, { id: 'there already' });
      const unique = { key: 'k', mode: 'reject' } as const;
      const parent = (options: object): Parameters<typeof queue.enqueueFlow>[0] => ({
        name: 'x',
        payload: 1,
        children: [{ name: 'x', payload: 1, options }],
      });
      same(await codeOf(() => queue.enqueueFlow(parent({ unique }))), 'INVALID_OPTION', 'unique');
      same(await codeOf(() => queue.enqueueFlow(parent({ id: 'there already' }))), 'INVALID_OPTION', 'id');
      same((await queue.inspectQueues(['default']))[0]?.totals.enqueued, 1, 'nothing was written');
      const own = { ...parent({ id: 'child' }), options: { id: 'parent' } };
      await queue.enqueueFlow(own);
      const again = await queue.enqueueFlow(own);
      same([again.duplicate, again.children[0]?.duplicate], [true, true], 'the same flow once more');
    },
  },
  {
    name: 'a schedule that many make at once is one, keeps its time while its rule stays, and begins anew with another',
    async run({ manager }) {
      const first = await manager({}, 'upserts');
      const second = first.type === 'memory' ? first : await manager({}, 'upserts');
      const upsert = (rule: object, payload: unknown, queue = first): Promise<{ readonly nextAt: Date }> =>
        queue.schedules.upsert('s', rule, 'tick', payload);
      await Promise.all(
        Array.from({ length: 24 }, (_, n) => upsert({ every: '1h' }, n, n % 2 === 0 ? first : second)),
      );
      const [made, ...more] = await second.schedules.list();
      same(more, [], 'one schedule');
      const kept = await upsert({ every: '1h' }, 'changed', second);
      same(kept.nextAt, made?.nextAt, 'its time');
      same((await first.schedules.list())[0]?.payload, 'changed', 'its payload');
      await upsert({ every: '2h' }, 'other');
      const [other] = await first.schedules.list();
      check((other?.nextAt.getTime() ?? 0) > (made?.nextAt.getTime() ?? 0) + 3_000_000, 'another time');
    },
  },
  {
    name: 'while a schedule is made again and again as it fires, no fire happens twice, whatever is kept of its tasks',
    async run({ manager }) {
      const queue = await manager();
      const fired: string[] = [];
      queue.registerTaskHandler('tick', async (_payload, { id }) => void fired.push(id));
      await queue.startWorkers(2);
      const upsert = (n: number): Promise<unknown> =>
        queue.schedules.upsert('s', { every: 100 }, 'tick', n, { keepResult: 0 });
      await upsert(0);
      for (let n = 1; fired.length < 6; n += 1) {
        await Promise.all([upsert(n), upsert(n), upsert(n)]);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await queue.schedules.remove('s');
      same(new Set(fired).size, fired.length, 'every fire once');
    },
  },
  {
    name: 'with overlap "skip" a schedule does not fire while its last task lives, and after its last time it is gone',
    async run({ manager }) {
      const queue = await manager();
      await queue.schedules.upsert('s', { every: 100, overlap: 'skip' }, 't', 1);
      const next = async (): Promise<number> =>
        (await queue.schedules.list()).find(({ id }) => id === 's')?.nextAt.getTime() ?? 0;
      const first = await next();
      await eventually(async () => check((await next()) >= first + 300, 'it goes on'));
      same((await queue.inspectQueues(['default']))[0]?.totals.enqueued, 1, 'one task');
      await queue.schedules.remove('s');
      await queue.schedules.upsert('e', { every: 100, endAt: new Date(Date.now() + 250) }, 't', 1);
      await eventually(async () => same(await queue.schedules.list(), [], 'gone'));
      const enqueued = (await queue.inspectQueues(['default']))[0]?.totals.enqueued ?? 0;
      check(enqueued === 2 || enqueued === 3, `${enqueued - 1} fires in 250 ms`);
    },
  },
];
