import { sharedRedis } from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLockManager, type LockManagerOptions } from '../src/index.ts';
import { commands, type Model, type Real } from './model/lock-model.ts';
import { freshNamespace } from './run-conformance.ts';

const MANAGERS = 3;

interface Stage {
  readonly redis: LockManagerOptions['redis'];
  readonly disturb: (namespace: string) => Promise<unknown>;
}

async function tryAll(kind: Real['kind'], { redis, disturb }: Stage, numRuns: number): Promise<number> {
  const namespace = freshNamespace();
  const managers = await Promise.all(
    Array.from({ length: MANAGERS }, () => createLockManager({ redis, namespace })),
  );
  let runs = 0;
  const property = fc.asyncProperty(commands(kind), async (sequence) => {
    const real: Real = {
      managers,
      kind,
      key: `k${(runs += 1)}`,
      requests: new Map(),
      lastExclusiveToken: 0,
      disturb: async () => void (await disturb(namespace)),
    };
    const model: Model = { holders: new Map(), queue: [], next: 0 };
    try {
      await fc.asyncModelRun(() => ({ model, real }), sequence);
    } finally {
      for (const { controller, lock } of real.requests.values()) {
        controller.abort();
        await lock?.release();
      }
    }
  });
  await fc.assert(property, { numRuns, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: false });
  await Promise.all(managers.map((manager) => manager.close()));
  return runs;
}

const memory: Stage = { redis: undefined, disturb: async () => {} };

async function onRedis(): Promise<Stage> {
  const server = await sharedRedis();
  // Whoever cannot be told is passed over and keeps its place, so the order is certain only with everybody there.
  const everybodyListens = (namespace: string): Promise<unknown> =>
    eventually(async () => {
      const channels = await server.cli('PUBSUB', 'CHANNELS', `${namespace}:lock-process:*`);
      return channels.split('\n').length === MANAGERS;
    });
  let next = 0;
  return {
    redis: server.url,
    disturb: async (namespace) => {
      if ((next += 1) % 2 === 0) await server.cli('SCRIPT', 'FLUSH');
      else await server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await everybodyListens(namespace);
    },
  };
}

test('whatever is done to a lock in memory, the model says who has it and who waits', async () => {
  expect(await tryAll('lock', memory, 500)).toBeGreaterThan(100);
});

test('whatever is done to a semaphore in memory, the model says who has permits', async () => {
  expect(await tryAll('semaphore', memory, 500)).toBeGreaterThan(100);
});

test('the same model holds for a lock on Redis, with subscriptions cut and scripts flushed', async () => {
  expect(await tryAll('lock', await onRedis(), 60)).toBeGreaterThan(5);
});

test('the same model holds for a semaphore on Redis, with subscriptions cut and scripts flushed', async () => {
  expect(await tryAll('semaphore', await onRedis(), 60)).toBeGreaterThan(5);
});
