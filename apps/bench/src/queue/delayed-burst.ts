/** 5,000 delayed tasks fall due at the same moment: how long Redis is kept from everybody else by one script. */
import { Queue, Worker } from 'bullmq';
import { startRedis, type RedisServer } from '@xiaoke/test-servers';
import { createQueueManager } from '@xiaoke/queue';
import { compare, type Figures } from '../harness.ts';
import { PAYLOAD } from './support/contenders.ts';

const COUNT = 5_000;
const DELAY = 2_500;
let run = 0;

// Only what takes a millisecond or more is of interest.
await using redis = await startRedis({
  appendonly: 'everysec',
  args: ['--slowlog-log-slower-than', '1000', '--slowlog-max-len', '100000'],
});

/** The longest script since the last reset, in milliseconds. */
async function longestScript(server: RedisServer): Promise<number> {
  const log = await server.cli('SLOWLOG', 'GET', '100000');
  // Each entry is: id, time, microseconds, then the command's words.
  const micros = [...log.matchAll(/\n(\d+)\n(?:evalsha|EVALSHA|eval|EVAL)\n/g)].map(([, value]) =>
    Number(value),
  );
  return Math.max(0, ...micros) / 1_000;
}

async function xiaoke(): Promise<Figures> {
  const manager = await createQueueManager({ redis: redis.url, namespace: `delayed${run}` });
  let [done, finish] = [0, (): void => {}];
  const finished = new Promise<void>((resolve) => (finish = resolve));
  manager.registerTaskHandler('work', async () => {});
  manager.on('completed', () => (done += 1) === COUNT && finish());
  const runAt = new Date(Date.now() + DELAY);
  await manager.enqueueTasks(
    Array.from({ length: COUNT }, () => ({ name: 'work', payload: PAYLOAD, options: { runAt } })),
  );
  await redis.cli('SLOWLOG', 'RESET');
  await manager.startWorkers(100);
  await finished;
  const late = Date.now() - runAt.getTime();
  await manager.close({ timeout: 1_000 });
  return { 'longest script ms': await longestScript(redis), 'last done after ms': late };
}

async function bullmq(): Promise<Figures> {
  const connection = { host: redis.host, port: redis.port, maxRetriesPerRequest: null };
  const name = `delayed${run}`;
  const queue = new Queue(name, { connection });
  const due = Date.now() + DELAY;
  for (let left = COUNT; left > 0; left -= 1_000)
    await queue.addBulk(
      Array.from({ length: 1_000 }, () => ({
        name: 'work',
        data: PAYLOAD,
        opts: { delay: Math.max(1, due - Date.now()) },
      })),
    );
  await redis.cli('SLOWLOG', 'RESET');
  let [done, finish] = [0, (): void => {}];
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const worker = new Worker(name, async () => {}, { connection, concurrency: 100 });
  worker.on('completed', () => (done += 1) === COUNT && finish());
  await finished;
  const late = Date.now() - due;
  await worker.close();
  await queue.close();
  return { 'longest script ms': await longestScript(redis), 'last done after ms': late };
}

const fresh =
  (measure: () => Promise<Figures>): (() => Promise<Figures>) =>
  async () => {
    run += 1;
    const figures = await measure();
    await redis.cli('FLUSHALL');
    return figures;
  };

await compare({
  name: 'queue/delayed-burst',
  rounds: Number(process.argv[2] ?? 5),
  candidates: { xiaoke: fresh(xiaoke), bullmq: fresh(bullmq) },
  lowerIsBetter: ['longest script ms', 'last done after ms'],
  bars: [{ figure: 'longest script ms', atMost: 10 }],
});
