import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openRedis } from '@xiaoke/core/redis';
import { eventually } from '@xiaoke/core/testing';
import { sharedRedis, type SharedRedis } from '@xiaoke/test-servers';
import type { Backend, NewTask } from '../src/backend.ts';
import { decodeEnvelope } from '../src/envelope.ts';
import { createQueueManager, type QueueManager } from '../src/index.ts';
import { resolveQueueOptions } from '../src/options.ts';
import { RedisBackend } from '../src/redis/redis-backend.ts';

const open: { close(timeoutMs: number): Promise<void> }[] = [];
let redis: SharedRedis;

beforeAll(async () => {
  redis = await sharedRedis();
});

afterEach(async () => {
  for (const one of open.splice(0)) await one.close(500);
});

async function manager(namespace: string): Promise<QueueManager> {
  const made = await createQueueManager({ redis: redis.url, namespace });
  open.push({ close: () => made.close({ timeout: 500 }) });
  return made;
}

/** Writes tasks as another version of this package would. */
async function otherVersion(namespace: string): Promise<Backend> {
  const options = resolveQueueOptions({ redis: redis.url, namespace });
  const connection = await openRedis(options.redis, { load: async () => await import('ioredis') });
  const backend = new RedisBackend(options, connection);
  open.push(backend);
  return backend;
}

const task = (id: string, blob: string, more: Partial<NewTask> = {}): NewTask => ({
  id,
  queue: 'default',
  priority: 1,
  delayMs: 0,
  blob,
  ...more,
});

describe('a task that a later version wrote', () => {
  it('with more options than this one knows, runs', async () => {
    const namespace = redis.prefix();
    const queue = await manager(namespace);
    const other = await otherVersion(namespace);
    await other.enqueue([task('new option', '[1,"t",1,{"a":7,"later":{"x":1}},{"n":1}]')]);
    queue.registerTaskHandler('t', async (payload: unknown, { maxAttempts }) => [payload, maxAttempts]);
    await queue.startWorkers(1);
    await eventually(async () =>
      expect(await queue.getTask('new option')).toMatchObject({ state: 'completed', result: [{ n: 1 }, 7] }),
    );
  });

  it('in another way, is a dead letter that can be listed and purged, holds up nobody, and lets its group and key go', async () => {
    const namespace = redis.prefix();
    const queue = await manager(namespace);
    const other = await otherVersion(namespace);
    const group = { key: 'g', concurrency: 1 };
    const unique = { key: 'u', mode: 'reject', forMs: 0 } as const;
    const delta = '{"u":{"key":"u","mode":"reject","forMs":0},"g":{"key":"g","concurrency":1}}';
    await other.enqueue([
      task('other', `[2,"t",1,${delta},"\\u0001 bytes of another kind"]`, { group, unique }),
    ]);
    const behind = await queue.enqueueTask('t', 1, { group: { key: 'g' } });
    expect(await queue.getTask('other')).toMatchObject({ name: 't', state: 'waiting', payload: undefined });
    queue.registerTaskHandler('t', async (n: number) => n);
    await queue.startWorkers(1);
    expect(await behind.result({ timeout: '10s' })).toBe(1);
    const { items } = await queue.deadLetters.list({ queue: 'default' });
    expect(items).toMatchObject([{ id: 'other', reason: 'PAYLOAD_INVALID', attempts: 0 }]);
    expect((await queue.enqueueTask('t', 2, { unique: { key: 'u', mode: 'reject' } })).duplicate).toBe(false);
    expect(await queue.deadLetters.purge('other')).toBe(1);
    expect(await queue.getTask('other')).toBeUndefined();
  });

  it('whose text is damaged, is a dead letter too', async () => {
    const namespace = redis.prefix();
    const queue = await manager(namespace);
    const other = await otherVersion(namespace);
    await other.enqueue([task('damaged', '[1,"t",1,0,{"n":')]);
    queue.registerTaskHandler('t', async (n: number) => n);
    await queue.startWorkers(1);
    expect(await (await queue.enqueueTask('t', 2)).result({ timeout: '10s' })).toBe(2);
    expect(await queue.deadLetters.count('default')).toBe(1);
  });

  it('whose payload was compressed by another version, or is what this one wrote, is read or refused, never guessed', () => {
    expect(decodeEnvelope('[1,"t",5,0]')).toMatchObject({
      name: 't',
      payload: undefined,
      unreadable: undefined,
    });
    expect(decodeEnvelope('[3,"t",5,{"q":"mail","p":0},"?"]')).toMatchObject({
      queue: 'mail',
      priority: 0,
      payload: undefined,
      unreadable: { code: 'PAYLOAD_INVALID' },
    });
  });
});
