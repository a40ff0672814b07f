import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { systemClock } from '@xiaoke/core';
import { openRedis } from '@xiaoke/core/redis';
import { sharedRedis } from '@xiaoke/test-servers';
import type { Backend, Claim, PriorityIndex, Session } from '../src/backend.ts';
import { gcraAllowance, gcraTake } from '../src/gcra.ts';
import { MemoryBackend } from '../src/memory/memory-backend.ts';
import { resolveQueueOptions } from '../src/options.ts';
import { RedisBackend } from '../src/redis/redis-backend.ts';
import { Quotas } from '../src/worker/quotas.ts';
import { listener } from './silent-listener.ts';

const backends: Record<string, Backend> = {};
let round = 0;

beforeAll(async () => {
  const redis = await sharedRedis();
  const options = resolveQueueOptions({ redis: redis.url, namespace: redis.prefix() });
  const connection = await openRedis(options.redis, { load: async () => await import('ioredis') });
  backends['Redis'] = new RedisBackend(options, connection);
  backends['memory'] = new MemoryBackend({ ...options, clock: systemClock });
});

afterAll(async () => {
  for (const backend of Object.values(backends)) await backend.close(500);
});

async function put(
  backend: Backend,
  queue: string,
  priority: PriorityIndex,
  ids: readonly string[],
): Promise<void> {
  await backend.enqueue(
    ids.map((id) => ({
      id,
      queue,
      priority,
      delayMs: 0,
      blob: `[1,"t",1,{"q":"${queue}","p":${priority}}]`,
    })),
  );
}

describe.each([
  ['memory', 60],
  ['Redis', 25],
] as const)('on the %s backend', (name, numRuns) => {
  const backendOf = (): Backend => {
    const backend = backends[name];
    if (backend === undefined) throw new Error('no backend');
    return backend;
  };

  it('a low task at place k is claimed within k rounds of weights, however many urgent ones keep coming', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 20, maxLength: 30 }),
        fc.constantFrom([6, 3, 1] as const, [1, 1, 2] as const, [20, 5, 1] as const),
        async (wants, weights) => {
          const backend = backendOf();
          round += 1;
          const queue = `starve${round}`;
          const session = backend.session(0, 10, [queue], listener);
          const quotas = new Quotas(weights);
          const sum = weights[0] + weights[1] + weights[2];
          await put(
            backend,
            queue,
            2,
            Array.from({ length: 5 }, (_, n) => `${queue}low${n}`),
          );
          let claimed = 0;
          const lowAt: number[] = [];
          for (const [turn, want] of wants.entries()) {
            for (const priority of [0, 1] as const)
              await put(
                backend,
                queue,
                priority,
                Array.from({ length: 8 }, (_, n) => `${queue}${priority}/${turn}/${n}`),
              );
            const { claims } = await session.turn(queue, {
              settlements: [],
              want,
              quotas: quotas.next(want),
            });
            expect(claims).toHaveLength(want);
            claimed += want;
            for (const { id } of claims) if (id.includes('low')) lowAt.push(claimed);
          }
          // A turn claims as a whole, so a place counts up to the end of its turn.
          for (const [index, at] of lowAt.entries()) expect(at).toBeLessThanOrEqual((index + 1) * sum + 7);
          expect(lowAt.length).toBeGreaterThanOrEqual(Math.min(5, Math.floor(claimed / sum)));
          await session.close(500);
        },
      ),
      { numRuns },
    );
  }, 120_000);

  it('no two sessions together hold more than the concurrency, whatever they claim, give back, retry and finish', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(
          fc.record({
            who: fc.constantFrom(0, 1, 2),
            want: fc.integer({ min: 0, max: 5 }),
            end: fc.constantFrom('completed', 'return', 'retry', 'none'),
          }),
          { minLength: 10, maxLength: 40 },
        ),
        async (concurrency, steps) => {
          const backend = backendOf();
          round += 1;
          const queue = `limit${round}`;
          await backend.setLimits(queue, { concurrency });
          await put(
            backend,
            queue,
            1,
            Array.from({ length: 60 }, (_, n) => `${queue}/${n}`),
          );
          const sessions = [0, 1, 2].map(() => backend.session(0, 5, [queue], listener));
          const held: Claim[][] = [[], [], []];
          for (const { who, want, end } of steps) {
            const own = held[who] ?? [];
            const outcomes = {
              completed: { kind: 'completed', result: '', keepMs: 0 },
              return: { kind: 'return' },
              retry: { kind: 'retry', delayMs: 0, counted: true, error: '{}' },
            } as const;
            const first = end === 'none' ? undefined : own.shift();
            const settlements =
              first === undefined || end === 'none'
                ? []
                : [
                    {
                      id: first.id,
                      token: first.token,
                      priority: 1 as const,
                      outcome: outcomes[end],
                      repeated: true,
                    },
                  ];
            const session = sessions[who] as Session;
            const { claims, lost } = await session.turn(queue, { settlements, want, quotas: [] });
            expect(lost).toEqual([]);
            own.push(...claims);
            const all = held.flat().length;
            expect(all).toBeLessThanOrEqual(concurrency);
            // Nor less than it may, when somebody asks.
            expect(all).toBeGreaterThanOrEqual(want >= concurrency ? concurrency : 0);
          }
          for (const session of sessions) await session.close(500);
        },
      ),
      { numRuns },
    );
  }, 120_000);
});

describe('the rate of a queue', () => {
  it('lets through at most its burst and what the time allows, over every span, and all of that when asked often enough', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 5_000 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 1, max: 30 })), {
          maxLength: 200,
        }),
        (limit, per, asks) => {
          const rule = { limit, per };
          let [now, tat] = [1_700_000_000_000, 0];
          const passed: number[] = [];
          for (const [wait, want] of asks) {
            now += wait;
            const { allowed, nextMs } = gcraAllowance(rule, tat, now);
            const taken = Math.max(0, Math.min(want, allowed));
            const then = allowed > 0 ? allowed : gcraAllowance(rule, tat, now + nextMs).allowed;
            expect(then).toBeGreaterThanOrEqual(1);
            if (taken > 0) tat = gcraTake(rule, tat, now, taken);
            for (let n = 0; n < taken; n += 1) passed.push(now);
          }
          for (let from = 0; from < passed.length; from += 1) {
            for (let to = from; to < passed.length; to += 7) {
              const span = (passed[to] ?? 0) - (passed[from] ?? 0);
              expect(to - from + 1).toBeLessThanOrEqual(limit + (span * limit) / per + 1e-3);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
