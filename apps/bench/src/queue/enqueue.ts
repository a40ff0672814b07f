/** Enqueuing on Redis, 100 in flight and in bulk, and what a waiting task takes of its memory. */
import { startRedis } from '@xiaoke/test-servers';
import { compare, type Figures } from '../harness.ts';
import { contenders, type Contender, type MakeContender } from './support/contenders.ts';
import { costPerTask } from './support/redis-cost.ts';

const COUNT = 40_000;
const IN_FLIGHT = 100;

await using redis = await startRedis({ appendonly: 'everysec' });
let run = 0;

async function measure(make: MakeContender, work: (queue: Contender) => Promise<void>): Promise<Figures> {
  run += 1;
  const queue = await make(redis, `bench${run}`);
  await queue.add();
  const before = await usedMemory();
  const figures = await costPerTask(redis.url, COUNT, () => work(queue));
  const bytes = ((await usedMemory()) - before) / COUNT;
  await queue.close();
  await redis.cli('FLUSHALL');
  return { ...figures, 'redis bytes/task': bytes };
}

async function usedMemory(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.cli('INFO', 'memory'))?.[1]);
}

async function inFlight(queue: Contender): Promise<void> {
  let left = COUNT;
  const producer = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await queue.add();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, producer));
}

const lowerIsBetter = ['client cpu µs/task', 'redis cpu µs/task', 'redis bytes/task'];
for (const [topic, work] of Object.entries({
  'enqueue-100-in-flight': inFlight,
  'enqueue-bulk': (queue: Contender) => queue.fill(COUNT),
})) {
  await compare({
    name: `queue/${topic}`,
    rounds: Number(process.argv[2] ?? 5),
    candidates: Object.fromEntries(
      Object.entries(contenders).map(([name, make]) => [name, () => measure(make, work)]),
    ),
    lowerIsBetter,
    bars: [
      { figure: 'tasks/s', versus: 'bullmq', atLeast: 4 },
      { figure: 'redis bytes/task', versus: 'bullmq', atMost: 0.45 },
    ],
  });
}
