import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@xiaoke/core';
import { openRedis } from '@xiaoke/core/redis';
import { eventually } from '@xiaoke/core/testing';
import { sharedRedis, type SharedRedis } from '@xiaoke/test-servers';
import type { Backend, Outcome } from '../src/backend.ts';
import { MemoryBackend } from '../src/memory/memory-backend.ts';
import { resolveQueueOptions } from '../src/options.ts';
import { RedisBackend } from '../src/redis/redis-backend.ts';
import { listener } from './silent-listener.ts';

const retention = { finished: 6, dead: 4, deadAge: 400 };
const open: Backend[] = [];
let redis: SharedRedis;

beforeAll(async () => {
  redis = await sharedRedis();
});

afterAll(async () => {
  for (const backend of open) await backend.close(500);
});

async function backendOf(type: 'memory' | 'redis'): Promise<Backend> {
  const options = resolveQueueOptions({ type, redis: redis.url, namespace: redis.prefix(), retention });
  const backend =
    type === 'memory'
      ? new MemoryBackend({ ...options, clock: systemClock })
      : new RedisBackend(
          options,
          await openRedis(options.redis, { load: async () => await import('ioredis') }),
        );
  open.push(backend);
  return backend;
}

/** Runs tasks to their end, one after the other. */
async function end(backend: Backend, ids: readonly string[], outcome: Outcome): Promise<void> {
  const session = backend.session(0, 1, ['q'], listener);
  await backend.enqueue(
    ids.map((id) => ({ id, queue: 'q', priority: 1, delayMs: 0, blob: '[1,"t",1,{"q":"q"}]' })),
  );
  for (const id of ids) {
    const { claims } = await session.turn('q', { settlements: [], want: 1, quotas: [] });
    expect(claims[0]?.id).toBe(id);
    const token = claims[0]?.token ?? 0;
    await session.turn('q', {
      settlements: [{ id, token, priority: 1, outcome, repeated: false }],
      want: 0,
      quotas: [],
    });
    // The age of records is told apart by milliseconds.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await session.close(500);
}

async function kept(backend: Backend, ids: readonly string[]): Promise<string[]> {
  await backend.maintain();
  return (await backend.read(ids)).flatMap((task) => (task === undefined ? [] : [task.id]));
}

describe.each(['memory', 'redis'] as const)('on the %s backend an ended task', (type) => {
  it('is forgotten when its time is over, and one that is kept for no time at once', async () => {
    const backend = await backendOf(type);
    await end(backend, ['none'], { kind: 'completed', result: '1', keepMs: 0 });
    await end(backend, ['short'], { kind: 'completed', result: '1', keepMs: 150 });
    await end(backend, ['long'], { kind: 'completed', result: '1', keepMs: 60_000 });
    expect((await backend.read(['none', 'long'])).map((task) => task?.result)).toEqual([undefined, '1']);
    await eventually(async () => expect(await kept(backend, ['none', 'short', 'long'])).toEqual(['long']));
    const again = { id: 'short', queue: 'q', priority: 1, delayMs: 0, blob: '[1,"t",2,{"q":"q"}]' } as const;
    expect(await backend.enqueue([again])).toEqual([{ id: 'short', duplicate: false }]);
  });

  it('is forgotten beyond the number that is kept, the oldest first', async () => {
    const backend = await backendOf(type);
    const ids = Array.from({ length: 10 }, (_, n) => `t${n}`);
    await end(backend, ids, { kind: 'completed', result: '1', keepMs: 60_000 });
    expect(await kept(backend, ids)).toEqual(ids.slice(4));
  });

  it('among the dead letters is forgotten beyond their number and past their age', async () => {
    const backend = await backendOf(type);
    const ids = Array.from({ length: 7 }, (_, n) => `d${n}`);
    await end(backend, ids, { kind: 'dead', error: '{"reason":"NON_RETRYABLE"}', keepMs: 0, counted: true });
    const some = await kept(backend, ids);
    expect(some.length).toBeLessThanOrEqual(4);
    expect(ids.slice(-some.length)).toEqual(some);
    await eventually(async () => expect(await kept(backend, ids)).toEqual([]));
    expect(await backend.deadLetters('q', 10, undefined)).toEqual({ ids: [], cursor: undefined });
  });
});
