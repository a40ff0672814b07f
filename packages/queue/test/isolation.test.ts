import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { eventually, recordingLogger } from '@xiaoke/core/testing';
import { isRunning } from '@xiaoke/test-servers';
import { createQueueManager, type HandlerOptions, type QueueManager } from '../src/index.ts';

const CHORES = new URL('./workers/chores.mjs', import.meta.url);
const open: QueueManager[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((manager) => manager.close({ timeout: 5_000 })));
});

async function queueWith(
  isolation: 'thread' | 'process',
  options: HandlerOptions = {},
  slots = 2,
): Promise<QueueManager> {
  const manager = await createQueueManager({ grace: 200, defaults: { attempts: 1 } });
  open.push(manager);
  manager.registerTaskHandler('chore', { file: CHORES, isolation }, options);
  await manager.startWorkers(slots);
  return manager;
}

interface Where {
  readonly pid: number;
  readonly isMainThread: boolean;
  readonly threadId: number;
  readonly calls: number;
  readonly env: string | undefined;
}

async function whereabouts(queue: QueueManager): Promise<Where> {
  const task = await queue.enqueueTask('chore', { do: 'where' });
  return (await task.result()) as Where;
}

describe.each(['thread', 'process'] as const)('a handler from a file, in a %s', (isolation) => {
  it('runs outside the main thread, in one that is used again, with the environment of its parent', async () => {
    process.env['XIAOKE_TEST_MARK'] = 'seen';
    onTestFinished(() => void delete process.env['XIAOKE_TEST_MARK']);
    const queue = await queueWith(isolation, {}, 1);
    const first = await whereabouts(queue);
    const second = await whereabouts(queue);
    expect([first.calls, second.calls]).toEqual([1, 2]);
    expect(first.env).toBe('seen');
    const inThread = isolation === 'thread';
    expect([first.pid === process.pid, first.isMainThread]).toEqual([inThread, !inThread]);
  });

  it('has the context of any handler: facts, progress, lines and a logger', async () => {
    const logger = recordingLogger();
    const queue = await createQueueManager({ logger });
    open.push(queue);
    queue.registerTaskHandler('chore', { file: CHORES, isolation });
    await queue.startWorkers(1);
    const task = await queue.enqueueTask('chore', { do: 'context', date: 'x' }, { attempts: 4 });
    expect(await task.result()).toMatchObject({
      id: task.id,
      name: 'chore',
      queue: 'default',
      attempt: 1,
      maxAttempts: 4,
      enqueuedAt: expect.any(String),
      fencingToken: expect.any(Number),
      payload: { do: 'context', date: 'x' },
    });
    expect(await queue.getTask(task.id)).toMatchObject({ progress: { percent: 50 }, logs: ['a line'] });
    await eventually(() =>
      expect(logger.lines).toContainEqual({ level: 'info', fields: { n: 1 }, message: 'hello' }),
    );
  });

  it('may block its thread while the queue goes on', async () => {
    const queue = await queueWith(isolation);
    queue.registerTaskHandler('light', async () => 'light');
    const heavy = await queue.enqueueTask('chore', { do: 'block', for: 700 });
    await eventually(() => expect(queue.stats().active).toBe(1));
    let settled = false;
    const result = heavy.result().finally(() => (settled = true));
    const light = await queue.enqueueTask('light', 1);
    expect(await light.result({ timeout: '5s' })).toBe('light');
    expect(settled).toBe(false);
    expect(await result).toBe('blocked');
  });

  it('hears of its timeout and may stop in order', async () => {
    const queue = await queueWith(isolation, { timeout: 100 });
    const task = await queue.enqueueTask('chore', { do: 'listen' });
    await expect(task.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_FAILED' });
    expect(await queue.getTask(task.id)).toMatchObject({ reason: 'TIMEOUT' });
    // It stopped by itself, so its thread lives on.
    expect((await whereabouts(queue)).calls).toBe(2);
  });

  it('is killed when it spins past its timeout and grace, and the slot is used again', async () => {
    const queue = await queueWith(isolation, { timeout: 100 }, 1);
    const before = await whereabouts(queue);
    const task = await queue.enqueueTask('chore', { do: 'spin' });
    await expect(task.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_FAILED' });
    expect(await queue.getTask(task.id)).toMatchObject({ reason: 'TIMEOUT', error: { code: 'TIMEOUT' } });
    const after = await whereabouts(queue);
    expect(after.calls).toBe(1);
    await eventually(() => expect(isolation === 'process' && isRunning(before.pid)).toBe(false));
  });

  it('is killed when it is cancelled and does not listen', async () => {
    const queue = await queueWith(isolation);
    const task = await queue.enqueueTask('chore', { do: 'spin' });
    await eventually(async () => expect(await task.status()).toBe('active'));
    expect(await task.cancel('enough')).toBe(true);
    await expect(task.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_CANCELLED' });
    expect((await whereabouts(queue)).calls).toBe(1);
  });

  it('is killed when its heap needs more than it may have, and the next attempt has a fresh one', async () => {
    const queue = await queueWith(isolation, { memoryLimitMb: 48 }, 1);
    const task = await queue.enqueueTask('chore', { do: 'hoard' });
    await expect(task.result({ timeout: '25s' })).rejects.toMatchObject({ code: 'TASK_FAILED' });
    expect(await queue.getTask(task.id)).toMatchObject({
      reason: 'ATTEMPTS_EXHAUSTED',
      error: { code: 'WORKER_CRASHED' },
    });
    expect((await whereabouts(queue)).calls).toBe(1);
  });

  it('that ends its thread or process fails one attempt of one task', async () => {
    const queue = await queueWith(isolation);
    const task = await queue.enqueueTask(
      'chore',
      { do: 'exit' },
      { attempts: 2, backoff: { strategy: 'constant', delay: 1 } },
    );
    await expect(task.result({ timeout: '20s' })).rejects.toMatchObject({ code: 'TASK_FAILED' });
    expect(await queue.getTask(task.id)).toMatchObject({ attempts: 2, error: { code: 'WORKER_CRASHED' } });
    expect((await whereabouts(queue)).calls).toBe(1);
  });

  it('throws across the border: names, codes, NonRetryableError and RetryLaterError keep their meaning', async () => {
    const queue = await queueWith(isolation);
    const retried: number[] = [];
    queue.on('retrying', ({ delayMs }) => retried.push(delayMs));
    const run = async (payload: object, attempts = 3): Promise<string> =>
      (await queue.enqueueTask('chore', payload, { attempts })).id;
    const hopeless = await run({ do: 'throw', error: { code: 'NON_RETRYABLE' } });
    const plain = await run({ do: 'throw', error: { code: 'E_LUCK', name: 'LuckError' } }, 1);
    const later = await run({ do: 'throw', error: { code: 'RETRY_LATER', delayMs: 60_000 } });
    const result = await run({ do: 'unserializable' }, 1);
    await eventually(async () => {
      expect(await queue.getTask(hopeless)).toMatchObject({ state: 'dead', reason: 'NON_RETRYABLE' });
      expect((await queue.getTask(plain))?.error).toMatchObject({ name: 'LuckError', code: 'E_LUCK' });
      expect(await queue.getTask(later)).toMatchObject({ state: 'delayed', attempts: 0 });
      expect((await queue.getTask(result))?.error).toMatchObject({ code: 'RESULT_NOT_SERIALIZABLE' });
    });
    expect(retried).toEqual([60_000]);
  });

  it('sees the results of the children of its task', async () => {
    const queue = await queueWith(isolation);
    queue.registerTaskHandler('child', async (n: number) => n * 2);
    const flow = await queue.enqueueFlow({
      name: 'chore',
      payload: { do: 'children' },
      children: [
        { name: 'child', payload: 1 },
        { name: 'child', payload: 2 },
      ],
    });
    expect(new Set((await flow.result()) as number[])).toEqual(new Set([2, 4]));
  });

  it('that does not exist, or exports no function, is a dead letter with that reason', async () => {
    const queue = await queueWith(isolation);
    queue.registerTaskHandler('lost', { file: new URL('./workers/nowhere.mjs', import.meta.url), isolation });
    queue.registerTaskHandler('empty', {
      file: new URL('./workers/no-default.mjs', import.meta.url),
      isolation,
    });
    for (const name of ['lost', 'empty']) {
      const task = await queue.enqueueTask(name, 1, { attempts: 5 });
      await expect(task.result({ timeout: '10s' })).rejects.toMatchObject({ code: 'TASK_FAILED' });
      expect(await queue.getTask(task.id)).toMatchObject({ reason: 'HANDLER_NOT_FOUND' });
    }
  });

  it('a task that waits for a thread does not use up its timeout', async () => {
    const queue = await queueWith(isolation, { workers: 1, timeout: 1_500 }, 3);
    const tasks = await queue.enqueueTasks(
      Array.from({ length: 3 }, () => ({ name: 'chore', payload: { do: 'block', for: 700 } })),
    );
    expect(await Promise.all(tasks.map((task) => task.result({ timeout: '20s' })))).toEqual([
      'blocked',
      'blocked',
      'blocked',
    ]);
  });

  it('close gives back what does not stop, kills it, and leaves nothing running', async () => {
    const queue = await queueWith(isolation, {}, 1);
    const { pid } = await whereabouts(queue);
    const task = await queue.enqueueTask('chore', { do: 'spin' });
    await eventually(async () => expect(await task.status()).toBe('active'));
    const start = performance.now();
    await queue.close({ timeout: 1_000 });
    expect(performance.now() - start).toBeLessThan(3_000);
    await eventually(() => expect(isolation === 'process' && isRunning(pid)).toBe(false));
  });
});

describe('an isolated handler', () => {
  it('is refused at once when it is no file or no kind of isolation', async () => {
    const queue = await createQueueManager();
    open.push(queue);
    const bad: unknown[] = [
      { file: '/a/path.mjs', isolation: 'thread' },
      { file: new URL('https://example.org/a.mjs'), isolation: 'thread' },
      { file: CHORES, isolation: 'container' },
      undefined,
    ];
    for (const handler of bad) {
      expect(() => queue.registerTaskHandler('bad', handler as never)).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION' }),
      );
    }
    queue.registerTaskHandler('good', { file: CHORES, isolation: 'thread' });
    expect(() => queue.registerTaskHandler('good', { file: CHORES, isolation: 'thread' })).toThrow(
      expect.objectContaining({ code: 'HANDLER_EXISTS' }),
    );
  });
});
