/**
 * The queue on RabbitMQ beside two clients that recover: confirmed publishing with 100 in flight, and consuming a backlog with
 * 100 slots, on quorum queues of one private broker. The clients keep no status, no results and no retries; we do.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startRabbitMq, startRedis } from '@xiaoke/test-servers';
import { compare, type Figures } from '../harness.ts';
import { rabbitContenders } from './support/rabbitmq-contenders.ts';

const CHILD = fileURLToPath(new URL('support/rabbitmq-child.js', import.meta.url));
// The first are to warm up the code, the others are measured. Fewer are over before V8 has optimised the code of the longest.
const WARM = 40_000;
const COUNT = Number(process.argv[2] ?? 60_000);
const ROUNDS = Number(process.argv[3] ?? 5);
const WIDTH = 100;

const run = promisify(execFile);
await using broker = await startRabbitMq();
await using redis = await startRedis({ appendonly: 'everysec' });
let runs = 0;

async function measure(mode: 'publish' | 'consume', candidate: string): Promise<Figures> {
  runs += 1;
  const queue = `bench${runs}`;
  const numbers = [WARM, COUNT, WIDTH].map(String);
  const { stdout } = await run(
    process.execPath,
    [CHILD, mode, candidate, broker.url, redis.url, queue, ...numbers],
    { timeout: 300_000 },
  );
  await redis.cli('FLUSHALL');
  return JSON.parse(stdout) as Figures;
}

for (const [mode, atLeast] of [
  ['publish', 1],
  ['consume', 1.5],
] as const) {
  await compare({
    name: `queue/rabbitmq-${mode}`,
    rounds: ROUNDS,
    candidates: Object.fromEntries(
      Object.keys(rabbitContenders).map((candidate) => [candidate, () => measure(mode, candidate)]),
    ),
    lowerIsBetter: ['client cpu µs/task'],
    bars: [
      { figure: 'tasks/s', versus: 'best peer', atLeast },
      { figure: 'client cpu µs/task', versus: 'best peer', atMost: 1 },
    ],
  });
}
