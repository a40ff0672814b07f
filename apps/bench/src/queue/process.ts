/** Processing a backlog on Redis with 100, 10 and 1 slots: tasks/s, CPU of the worker and of Redis per task. */
import { startRedis } from '@xiaoke/test-servers';
import { compare, type Bar } from '../harness.ts';
import { contenders } from './support/contenders.ts';
import { measureInChild } from './support/run-child.ts';

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
// The first are to warm up the code, the others are measured. Fewer are over before V8 has optimised the code of the fastest.
const TASKS: Readonly<Record<number, readonly [warm: number, count: number]>> = {
  100: [50_000, 100_000],
  10: [50_000, 100_000],
  1: [20_000, 20_000],
};

await using redis = await startRedis({ appendonly: 'everysec' });
let run = 0;

// While developing: `pnpm bench queue/process 100 1` measures 100 slots in one round.
const [only, rounds = '5'] = process.argv.slice(2);
for (const slots of only === undefined ? [100, 10, 1] : [Number(only)]) {
  const [warm, count] = TASKS[slots] ?? [20_000, 50_000];
  await compare({
    name: `queue/process-${slots}-slots`,
    rounds: Number(rounds),
    candidates: Object.fromEntries(
      Object.keys(contenders).map((candidate) => [
        candidate,
        () => {
          run += 1;
          const queue = `bench${run}`;
          return measureInChild(redis, { mode: 'process', candidate, queue, warm, count, width: slots });
        },
      ]),
    ),
    lowerIsBetter: ['client cpu µs/task', 'redis cpu µs/task'],
    bars: BARS[slots] ?? [],
  });
}
