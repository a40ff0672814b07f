import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '@xiaoke/core/testing';
import { sharedRedis, spawnNode, type NodeProcess, type SharedRedis } from '@xiaoke/test-servers';
import { createQueueManager, type QueueManager, type QueueManagerOptions } from '../src/index.ts';

const BLOCKER = new URL('./fixtures/blocker.ts', import.meta.url);
const open: QueueManager[] = [];
let redis: SharedRedis;

beforeAll(async () => {
  redis = await sharedRedis();
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 500 })));
});

async function watcher(namespace: string, options: QueueManagerOptions = {}): Promise<QueueManager> {
  const manager = await createQueueManager({ redis: redis.url, namespace, lease: '1s', ...options });
  manager.on('error', () => {});
  open.push(manager);
  return manager;
}

async function blocker(namespace: string, maxBlock = '5m'): Promise<NodeProcess> {
  const worker = spawnNode(BLOCKER, { args: [redis.url, namespace, maxBlock] });
  await worker.message(({ kind }) => kind === 'ready', 30_000);
  return worker;
}

describe('the lease of a worker', () => {
  it('is kept while a handler blocks the event loop for several times its length', async () => {
    const namespace = redis.prefix();
    await using worker = await blocker(namespace);
    // This manager looks for lost workers all the time, and would take the task over.
    const queue = await watcher(namespace);
    const stalled: string[] = [];
    queue.on('stalled', ({ id }) => stalled.push(id));
    const task = await queue.enqueueTask('block', 4_000);
    const { fencingToken } = await worker.message(({ kind }) => kind === 'started', 10_000);
    queue.registerTaskHandler('block', async () => 'taken over');
    await queue.startWorkers(1);
    const ended = await worker.message(({ kind }) => kind === 'ended', 20_000);
    expect(ended['aborted']).toBe(false);
    expect(await task.result({ timeout: '10s' })).toBe(fencingToken);
    expect(await queue.getTask(task.id)).toMatchObject({ attempts: 1, stalls: 0 });
    expect(stalled).toEqual([]);
  });

  it('is lost when the event loop is blocked longer than maxBlock, and the late worker changes nothing', async () => {
    const namespace = redis.prefix();
    await using worker = await blocker(namespace, '500ms');
    const queue = await watcher(namespace);
    const task = await queue.enqueueTask('block', 4_000);
    await worker.message(({ kind }) => kind === 'started', 10_000);
    queue.registerTaskHandler('block', async () => 'taken over');
    await queue.startWorkers(1);
    expect(await task.result({ timeout: '10s' })).toBe('taken over');
    const ended = await worker.message(({ kind }) => kind === 'ended', 20_000);
    expect(ended['aborted']).toBe(true);
    expect(await queue.getTask(task.id)).toMatchObject({ result: 'taken over', attempts: 2, stalls: 1 });
  });

  it('is lost by a worker that is killed, and its tasks come back with one attempt and one stall counted', async () => {
    const namespace = redis.prefix();
    const worker = await blocker(namespace);
    const queue = await watcher(namespace);
    const stalled: string[] = [];
    queue.on('stalled', ({ id }) => stalled.push(id));
    const task = await queue.enqueueTask('block', 60_000);
    await worker.message(({ kind }) => kind === 'started', 10_000);
    await worker.kill('SIGKILL');
    queue.registerTaskHandler('block', async (_payload, context) => context.attempt);
    await queue.startWorkers(1);
    expect(await task.result({ timeout: '10s' })).toBe(2);
    await eventually(() => expect(stalled).toEqual([task.id]));
  });

  it('a task that loses its worker too often is a dead letter', async () => {
    const namespace = redis.prefix();
    const queue = await watcher(namespace, { maxStalls: 1 });
    const task = await queue.enqueueTask('block', 60_000, { attempts: 10 });
    for (let round = 0; round < 2; round += 1) {
      const worker = await blocker(namespace);
      await worker.message(({ kind }) => kind === 'started', 10_000);
      await worker.kill('SIGKILL');
    }
    queue.registerTaskHandler('block', async () => 'should not run');
    await queue.startWorkers(1);
    await expect(task.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_FAILED' });
    expect(await queue.getTask(task.id)).toMatchObject({ state: 'dead', reason: 'STALLED', stalls: 2 });
  });
});
