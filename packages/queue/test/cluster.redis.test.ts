import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from 'ioredis';
import { eventually } from '@xiaoke/core/testing';
import { startRedisCluster, type RedisCluster } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';
import { conformanceScenarios } from '../src/testing/index.ts';

const open: QueueManager[] = [];
let servers: RedisCluster;
let client: Cluster;
let names = 0;

beforeAll(async () => {
  servers = await startRedisCluster({ appendonly: 'always' });
  client = new Cluster(servers.nodes.map(({ host, port }) => ({ host, port })));
  client.on('error', () => {});
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 1_000 })));
});

afterAll(async () => {
  client.disconnect();
  await servers.stop();
});

async function connect(namespace: string, options: QueueManagerOptions = {}): Promise<QueueManager> {
  const manager = await createQueueManager({
    redis: client,
    namespace,
    partitions: 6,
    lease: '2s',
    ...options,
  });
  manager.on('error', () => {});
  open.push(manager);
  return manager;
}

function fresh(): string {
  names += 1;
  return `n${names}-${process.pid}`;
}

/** How many fields each node has in the hashes of the namespace's tasks. */
async function tasksPerNode(namespace: string): Promise<number[]> {
  return await Promise.all(
    servers.nodes.map(async (node) => {
      const keys = (await node.cli('--scan', '--pattern', `xq:{${namespace}:*}:jobs`))
        .split('\n')
        .filter(Boolean);
      const counts = await Promise.all(keys.map((key) => node.cli('HLEN', key)));
      return counts.reduce((sum, count) => sum + Number(count), 0);
    }),
  );
}

describe('in one partition on a Cluster, every promise of the queue holds', () => {
  for (const { name, run } of conformanceScenarios) {
    it(name, async () => {
      const prefix = fresh();
      await run({
        manager: async (options, share) =>
          await connect(share === undefined ? fresh() : `${prefix}${share}`, { ...options, partitions: 1 }),
      });
    });
  }
});

describe('a queue in several partitions of a three-node Cluster', () => {
  it('spreads over all nodes, and every task is done once', async () => {
    const namespace = fresh();
    const queue = await connect(namespace);
    const runs = new Map<number, number>();
    queue.registerTaskHandler('t', async (n: number) => {
      runs.set(n, (runs.get(n) ?? 0) + 1);
      return n;
    });
    const tasks = await queue.enqueueTasks(
      Array.from({ length: 600 }, (_, n) => ({
        name: 't',
        payload: n,
        options: { delay: n % 3 === 0 ? 50 : 0 },
      })),
    );
    for (const count of await tasksPerNode(namespace)) expect(count).toBeGreaterThan(0);
    await queue.startWorkers(20);
    const results = await Promise.all(tasks.map((task) => task.result({ timeout: '20s' })));
    expect(results).toEqual(Array.from({ length: 600 }, (_, n) => n));
    expect([...runs.values()].every((times) => times === 1)).toBe(true);
    const [info] = await queue.inspectQueues(['default']);
    expect(info).toMatchObject({
      states: { waiting: 0, delayed: 0, active: 0 },
      totals: { enqueued: 600, completed: 600 },
      workers: 1,
      slots: 20,
    });
  });

  it('finds every task by its id, cancels, and keeps dead letters over all partitions', async () => {
    const queue = await connect(fresh());
    queue.registerTaskHandler('bad', () => Promise.reject(new Error('no')));
    const waiting = await queue.enqueueTasks(
      Array.from({ length: 20 }, (_, n) => ({ name: 'bad', payload: n, options: { delay: '1h' } })),
    );
    for (const task of waiting) expect(await task.cancel()).toBe(true);
    const bad = await queue.enqueueTasks(
      Array.from({ length: 30 }, (_, n) => ({
        name: 'bad',
        payload: n,
        options: { attempts: 1, id: `own ${n}` },
      })),
    );
    await queue.startWorkers(10);
    await eventually(async () => expect(await queue.deadLetters.count('default')).toBe(30));
    const found = new Set<string>();
    let cursor: string | undefined;
    do {
      const page = await queue.deadLetters.list({
        queue: 'default',
        limit: 7,
        ...(cursor === undefined ? {} : { cursor }),
      });
      for (const { id } of page.items) found.add(id);
      cursor = page.cursor;
    } while (cursor !== undefined);
    expect(found).toEqual(new Set(bad.map(({ id }) => id)));
    expect(await queue.deadLetters.purge({ queue: 'default' })).toBe(30);
  });

  it('an id is one over all partitions, and so are unique keys and groups, which decide the partition', async () => {
    const queue = await connect(fresh());
    const first = await queue.enqueueTask('t', 1, { id: 'one' });
    const second = await queue.enqueueTask('t', 2, { id: 'one', queue: 'other' });
    expect([first.duplicate, second.duplicate]).toEqual([false, true]);
    for (let n = 0; n < 20; n += 1) {
      const unique = { key: `k${n}`, mode: 'reject' } as const;
      const one = await queue.enqueueTask('t', 1, { unique });
      const two = await queue.enqueueTask('t', 2, { unique });
      expect([two.duplicate, two.id]).toEqual([true, one.id]);
    }
    const order: number[] = [];
    queue.registerTaskHandler('ordered', async (n: number) => void order.push(n));
    const grouped = await queue.enqueueTasks(
      Array.from({ length: 20 }, (_, n) => ({
        name: 'ordered',
        payload: n,
        options: { group: { key: 'g' } },
      })),
    );
    queue.registerTaskHandler('t', async () => 1);
    await queue.startWorkers(10);
    for (const task of grouped) await task.result({ timeout: '10s' });
    expect(order).toEqual(Array.from({ length: 20 }, (_, n) => n));
  });

  it('a flow spans slots: parents hear of children elsewhere, deep and wide, and of their failures', async () => {
    const queue = await connect(fresh());
    queue.registerTaskHandler('leaf', async (n: number) => n);
    queue.registerTaskHandler('sum', async (_payload, context) =>
      [...(await context.childResults()).values()].reduce<number>((sum, value) => sum + Number(value), 0),
    );
    queue.registerTaskHandler('bad', () => Promise.reject(new Error('no')));
    await queue.startWorkers(10);
    const branch = (from: number): object => ({
      name: 'sum',
      payload: null,
      children: Array.from({ length: 10 }, (_, n) => ({ name: 'leaf', payload: from + n })),
    });
    const flow = await queue.enqueueFlow({
      name: 'sum',
      payload: null,
      children: [branch(0), branch(10), branch(20)] as never,
    });
    const partitions = new Set(
      flow.children.flatMap(({ children }) => children.map(({ id }) => id.split('~')[0])),
    );
    expect(partitions.size).toBeGreaterThan(2);
    expect(await flow.result({ timeout: '20s' })).toBe((29 * 30) / 2);
    const doomed = await queue.enqueueFlow({
      name: 'sum',
      payload: null,
      children: [
        { name: 'leaf', payload: 1 },
        { name: 'bad', payload: 1, options: { attempts: 1 } },
      ],
    });
    await expect(doomed.result({ timeout: '20s' })).rejects.toMatchObject({ code: 'TASK_FAILED' });
    expect(await queue.getTask(doomed.id)).toMatchObject({ state: 'dead', reason: 'CHILD_FAILED' });
  });

  it('a schedule fires once for all processes', async () => {
    const namespace = fresh();
    const managers = await Promise.all([connect(namespace), connect(namespace), connect(namespace)]);
    const fired: unknown[] = [];
    for (const manager of managers) {
      manager.registerTaskHandler('tick', async (_payload, { id }) => void fired.push(id));
      await manager.startWorkers(1);
    }
    await managers[0]?.schedules.upsert('s', { every: 150 }, 'tick', 1);
    await eventually(() => expect(fired.length).toBeGreaterThan(4));
    await managers[0]?.schedules.remove('s');
    expect(new Set(fired).size).toBe(fired.length);
  });

  it('a schedule whose tasks have a group or a unique key lies where these have to be, and moves when they change', async () => {
    const namespace = fresh();
    const queue = await connect(namespace);
    const running = { now: 0, most: 0 };
    const done: unknown[] = [];
    queue.registerTaskHandler('tick', async (n: number, { id }) => {
      running.now += 1;
      running.most = Math.max(running.most, running.now);
      await new Promise((resolve) => setTimeout(resolve, 20));
      running.now -= 1;
      done.push([n, id.split('~')[0]]);
    });
    const [by] = await queue.enqueueTasks([
      { name: 'tick', payload: -1, options: { group: { key: 'g' }, delay: '1h' } },
    ]);
    const home = by?.id.split('~')[0];
    await queue.startWorkers(10);
    // Several schedules and plain tasks share one group: over all partitions one of them runs at a time.
    const upserts = Array.from({ length: 6 }, (_, n) =>
      queue.schedules.upsert(`s${n}`, { every: 100 }, 'tick', n, { group: { key: 'g' } }),
    );
    await Promise.all(upserts);
    expect(await queue.schedules.list()).toHaveLength(6);
    await eventually(() => expect(new Set(done.map((entry) => (entry as number[])[0])).size).toBe(6));
    expect(running.most).toBe(1);
    expect(new Set(done.map((entry) => (entry as string[])[1]))).toEqual(new Set([home]));
    // With another key it lies elsewhere, and nowhere twice.
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const unique = { key, mode: 'reject' } as const;
      await queue.schedules.upsert('s0', { every: '1h' }, 'tick', 0, { unique });
      expect((await queue.schedules.list()).filter(({ id }) => id === 's0')).toMatchObject([
        { options: { unique } },
      ]);
    }
    for (let n = 0; n < 6; n += 1) expect(await queue.schedules.remove(`s${n}`)).toBe(true);
    expect(await queue.schedules.list()).toEqual([]);
    expect(await queue.schedules.remove('s0')).toBe(false);
  });

  it('a unique key is one for what a schedule and what anybody else enqueues', async () => {
    const queue = await connect(fresh());
    for (const key of ['k1', 'k2', 'k3', 'k4']) {
      const unique = { key, mode: 'reject' } as const;
      const holder = await queue.enqueueTask('t', 1, { unique, delay: '1h' });
      const id = `of ${key}`;
      const { nextAt } = await queue.schedules.upsert(id, { every: 100 }, 't', 2, { unique });
      await eventually(async () => {
        const found = (await queue.schedules.list()).find((schedule) => schedule.id === id);
        expect(found?.nextAt.getTime()).toBeGreaterThan(nextAt.getTime() + 200);
      });
      await queue.schedules.remove(id);
      expect(await holder.status()).toBe('delayed');
    }
    const [info] = await queue.inspectQueues(['default']);
    expect(info?.totals.enqueued).toBe(4);
  });

  it('drain cancels a flow whole, though its tasks lie in many partitions', async () => {
    const queue = await connect(fresh());
    const leaves = Array.from({ length: 12 }, (_, n) => ({ name: 'leaf', payload: n }));
    const flow = await queue.enqueueFlow({
      name: 'root',
      payload: 1,
      children: [
        { name: 'branch', payload: 1, children: leaves },
        { name: 'branch', payload: 2, children: leaves },
      ],
    });
    expect(await queue.drain('default')).toBe(27);
    for (const task of [flow, ...flow.children, ...flow.children.flatMap(({ children }) => children)])
      expect(await task.status()).toBe('cancelled');
    expect(await queue.deadLetters.count()).toBe(0);
  });

  it('limits of a queue are refused, since no script can hold them over several slots', async () => {
    const queue = await connect(fresh());
    await expect(queue.setLimits('default', { concurrency: 1 })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
  });

  it('loses nothing while a node is killed and comes back, and the other nodes go on', async () => {
    const namespace = fresh();
    const queue = await connect(namespace, { enqueueTimeout: '20s' });
    const done = new Set<number>();
    queue.registerTaskHandler('t', async (n: number) => void done.add(n));
    await queue.startWorkers(10);
    const tasks = await queue.enqueueTasks(
      Array.from({ length: 200 }, (_, n) => ({ name: 't', payload: n })),
    );
    const [victim] = servers.nodes;
    await victim?.kill();
    const during = Array.from({ length: 60 }, (_, n) => queue.enqueueTask('t', 200 + n));
    await victim?.restart();
    await servers.healthy();
    tasks.push(...(await Promise.all(during)));
    await eventually(() => expect(done.size).toBe(260), { timeout: 25_000 });
    for (const task of tasks) expect((await queue.getTask(task.id))?.state).toBe('completed');
  }, 60_000);

  it('goes on at the other nodes while one is dead, and with its tasks when it is back', async () => {
    await using own = await startRedisCluster({ appendonly: 'always' });
    // By default a Redis Cluster that lacks a node refuses everything.
    await Promise.all(
      own.nodes.map((node) => node.cli('CONFIG', 'SET', 'cluster-require-full-coverage', 'no')),
    );
    const other = new Cluster(own.nodes.map(({ host, port }) => ({ host, port })));
    other.on('error', () => {});
    const queue = await connect(fresh(), { redis: other, enqueueTimeout: '3s' });
    const done = new Set<number>();
    const running = { now: 0, most: 0 };
    queue.registerTaskHandler('t', async (n: number) => {
      running.now += 1;
      running.most = Math.max(running.most, running.now);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running.now -= 1;
      done.add(n);
    });
    const before = await queue.enqueueTasks(
      Array.from({ length: 300 }, (_, n) => ({ name: 't', payload: n })),
    );
    await queue.startWorkers(4);
    await eventually(() => expect(done.size).toBeGreaterThan(20));
    const [victim] = own.nodes;
    await victim?.kill();
    const during = await Promise.allSettled(
      Array.from({ length: 60 }, (_, n) => queue.enqueueTask('t', 300 + n)),
    );
    const accepted = during.flatMap(({ status }, n) => (status === 'fulfilled' ? [300 + n] : []));
    expect(accepted.length).toBeGreaterThan(10);
    await eventually(() => expect(accepted.filter((n) => !done.has(n))).toEqual([]), { timeout: 15_000 });
    expect(victim?.running).toBe(false);
    await victim?.restart();
    for (const task of before) await task.result({ timeout: '20s' });
    expect(running.most).toBeLessThanOrEqual(4);
    await queue.close({ timeout: 1_000 });
    other.disconnect();
  }, 90_000);
});
