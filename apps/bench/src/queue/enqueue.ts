/** Enqueuing on Redis, 100 in flight and in bulk, and what a waiting task takes of its memory. */
import { startRedis } from '@xiaoke/test-servers';
import { compare } from '../harness.ts';
import { contenders } from './support/contenders.ts';
import { measureInChild } from './support/run-child.ts';

// The first are to warm up the code, the others are measured.
const WARM = 20_000;
const COUNT = 60_000;

await using redis = await startRedis({ appendonly: 'everysec' });
let run = 0;

for (const [topic, mode] of [
  ['enqueue-100-in-flight', 'enqueue'],
  ['enqueue-bulk', 'bulk'],
] as const) {
  await compare({
    name: `queue/${topic}`,
    rounds: Number(process.argv[2] ?? 5),
    candidates: Object.fromEntries(
      Object.keys(contenders).map((candidate) => [
        candidate,
        () => {
          run += 1;
          const queue = `bench${run}`;
          return measureInChild(redis, { mode, candidate, queue, warm: WARM, count: COUNT, width: 100 });
        },
      ]),
    ),
    lowerIsBetter: ['client cpu µs/task', 'redis cpu µs/task', 'redis bytes/task'],
    bars: [
      { figure: 'tasks/s', versus: 'bullmq', atLeast: 4 },
      { figure: 'redis bytes/task', versus: 'bullmq', atMost: 0.45 },
    ],
  });
}
