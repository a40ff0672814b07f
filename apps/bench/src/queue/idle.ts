/** An idle worker: how soon it starts a task that comes, and what it asks of Redis while none comes. */
import { Redis } from 'ioredis';
import { startRedis } from '@xiaoke/test-servers';
import { compare, percentile, type Figures } from '../harness.ts';
import { contenders, type MakeContender } from './support/contenders.ts';

const SAMPLES = 150;
const IDLE_MS = 30_000;

await using redis = await startRedis({ appendonly: 'everysec' });
const admin = new Redis(redis.url);
let run = 0;

async function commands(): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await admin.info('stats'))?.[1]);
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function measure(make: MakeContender): Promise<Figures> {
  run += 1;
  const queue = await make(redis, `idle${run}`);
  let started = (): void => {};
  await queue.work(
    1,
    async () => started(),
    () => {},
  );
  await pause(300);
  const latencies: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const begun = new Promise<number>((resolve) => (started = () => resolve(performance.now())));
    const start = performance.now();
    await queue.add();
    latencies.push((await begun) - start);
    await pause(5);
  }
  const before = await commands();
  await pause(IDLE_MS);
  // One of them is the question itself.
  const idle = (await commands()) - before - 1;
  await queue.close();
  await redis.cli('FLUSHALL');
  return {
    'pick-up p50 ms': percentile(latencies, 0.5),
    'pick-up p99 ms': percentile(latencies, 0.99),
    'idle commands/s': idle / (IDLE_MS / 1_000),
  };
}

await compare({
  name: 'queue/idle',
  rounds: Number(process.argv[2] ?? 3),
  candidates: Object.fromEntries(
    Object.entries(contenders).map(([name, make]) => [name, () => measure(make)]),
  ),
  lowerIsBetter: ['pick-up p50 ms', 'pick-up p99 ms', 'idle commands/s'],
  bars: [
    { figure: 'pick-up p50 ms', atMost: 1.5 },
    { figure: 'idle commands/s', atMost: 1 },
  ],
});
admin.disconnect();
