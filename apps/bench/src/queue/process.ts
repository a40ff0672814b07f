/** Processing a backlog on Redis with 100, 10 and 1 slots: tasks/s, CPU of the worker and of Redis per task. */
import { startRedis } from '@xiaoke/test-servers';
import { compare, type Bar, type Figures } from '../harness.ts';
import { contenders, type MakeContender } from './support/contenders.ts';
import { costPerTask } from './support/redis-cost.ts';

const BARS: Readonly<Record<number, readonly Bar[]>> = {
  100: [
    { figure: 'tasks/s', versus: 'bullmq', atLeast: 6 },
    { figure: 'tasks/s', versus: 'bee-queue', atLeast: 3 },
    { figure: 'client cpu µs/task', versus: 'bullmq', atMost: 0.2 },
    { figure: 'redis cpu µs/task', versus: 'bullmq', atMost: 0.2 },
  ],
  10: [{ figure: 'tasks/s', versus: 'bullmq', atLeast: 3 }],
  1: [{ figure: 'tasks/s', versus: 'bullmq', atLeast: 1.5 }],
};
const TASKS: Readonly<Record<number, number>> = { 100: 50_000, 10: 20_000, 1: 8_000 };

await using redis = await startRedis({ appendonly: 'everysec' });
let run = 0;

async function measure(make: MakeContender, slots: number): Promise<Figures> {
  run += 1;
  const count = TASKS[slots] ?? 1_000;
  const queue = await make(redis, `bench${run}`);
  await queue.fill(count);
  let done = 0;
  const figures = await costPerTask(redis.url, count, async () => {
    await new Promise<void>((resolve, reject) => {
      const finish = (): void => {
        done += 1;
        if (done === count) resolve();
      };
      queue.work(slots, async () => {}, finish).catch(reject);
    });
  });
  await queue.close();
  await redis.cli('FLUSHALL');
  return figures;
}

// While developing: `pnpm bench queue/process 100 1` measures 100 slots in one round.
const [only, rounds = '5'] = process.argv.slice(2);
for (const slots of only === undefined ? [100, 10, 1] : [Number(only)]) {
  await compare({
    name: `queue/process-${slots}-slots`,
    rounds: Number(rounds),
    candidates: Object.fromEntries(
      Object.entries(contenders).map(([name, make]) => [name, () => measure(make, slots)]),
    ),
    lowerIsBetter: ['client cpu µs/task', 'redis cpu µs/task'],
    bars: BARS[slots] ?? [],
  });
}
