/**
 * What the service gains from its parts: requests answered with and without the queue, database queries with and without the
 * cache, and calls that succeed while a dependency fails with and without the resilience policies. The database and the
 * dependency are stand-ins with fixed latencies, so that only the parts differ.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createCacheManager } from '@xiaoke/cache';
import { createQueueManager } from '@xiaoke/queue';
import { fallback, pipeline, retry, circuitBreaker, timeout } from '@xiaoke/resilience';
import { compare, percentile } from '../harness.ts';

const REQUESTS = 400;
const IN_FLIGHT = 20;
const WORK_MS = 20;

/** Answers requests, each of which causes 20 ms of work, and tells how many were answered a second and how fast. */
async function answered(
  accept: (n: number) => Promise<unknown>,
): Promise<{ 'answers/s': number; 'p99 ms': number }> {
  const waits: number[] = [];
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < REQUESTS) {
      next += 1;
      const start = performance.now();
      await accept(next);
      waits.push(performance.now() - start);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, client));
  return { 'answers/s': (REQUESTS / (performance.now() - start)) * 1_000, 'p99 ms': percentile(waits, 0.99) };
}

async function withQueue(): Promise<{ 'answers/s': number; 'p99 ms': number }> {
  const queue = await createQueueManager({ type: 'memory' });
  queue.registerTaskHandler('work', async () => await sleep(WORK_MS));
  await queue.startWorkers(IN_FLIGHT);
  const figures = await answered(async (n) => await queue.enqueueTask('work', { n }));
  await queue.whenIdle();
  await queue.close();
  return figures;
}

await compare({
  name: 'service/queue',
  candidates: {
    xiaoke: withQueue,
    'work in the request': async () => await answered(async () => await sleep(WORK_MS)),
  },
  lowerIsBetter: ['p99 ms'],
  bars: [{ figure: 'answers/s', versus: 'work in the request', atLeast: 1.5 }],
});

/** Reads users with a few favourites among them, and counts what reaches the database. */
async function reads(
  read: (id: string, load: () => Promise<string>) => Promise<string>,
): Promise<{ 'queries/read': number }> {
  let queries = 0;
  const total = 2_000;
  for (let n = 0; n < total; n += 1) {
    const id = `user-${Math.floor((1 - Math.sqrt(((n * 7_919) % 1_000) / 1_000)) * 300)}`;
    await read(id, async () => {
      queries += 1;
      return id;
    });
  }
  return { 'queries/read': queries / total };
}

await compare({
  name: 'service/cache',
  candidates: {
    xiaoke: async () => {
      const cache = createCacheManager<string>({ maxEntries: 10_000, ttl: '5m' });
      const figures = await reads(async (id, load) => await cache.getOrSet(id, load));
      await cache.close();
      return figures;
    },
    'no cache': async () => await reads(async (_id, load) => await load()),
  },
  lowerIsBetter: ['queries/read'],
  bars: [{ figure: 'queries/read', versus: 'no cache', atMost: 0.7 }],
});

/** Calls a dependency that fails every third call and is gone for the middle third of the run. */
async function available(
  call: (dependency: () => Promise<string>) => Promise<string>,
): Promise<{ 'served %': number; 'p99 ms': number }> {
  const calls = 600;
  let asked = 0;
  const waits: number[] = [];
  let served = 0;
  for (let n = 0; n < calls; n += 1) {
    const gone = n >= calls / 3 && n < (2 * calls) / 3;
    const start = performance.now();
    const result = await call(async () => {
      asked += 1;
      if (gone) await sleep(30);
      if (gone || asked % 3 === 0) throw new Error('the dependency failed');
      return 'fresh';
    }).catch(() => undefined);
    waits.push(performance.now() - start);
    if (result !== undefined) served += 1;
  }
  return { 'served %': (served / calls) * 100, 'p99 ms': percentile(waits, 0.99) };
}

await compare({
  name: 'service/availability',
  rounds: 3,
  candidates: {
    xiaoke: async () => {
      const policy = pipeline(
        fallback('the last known answer'),
        retry({ attempts: 3, baseDelay: 1 }),
        circuitBreaker({ failureRate: 0.6, minimumCalls: 10, openFor: 100 }),
        timeout(200),
      );
      return await available(async (dependency) => await policy.execute(dependency));
    },
    'no policy': async () => await available(async (dependency) => await dependency()),
  },
  lowerIsBetter: ['p99 ms'],
  bars: [{ figure: 'served %', atLeast: 99.9 }],
});
