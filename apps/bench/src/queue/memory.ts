/** Enqueuing and processing in memory, in one process: 100 in flight, 100 slots. There is no peer with a backend in memory. */
import { createQueueManager } from '@xiaoke/queue';
import { compare, type Figures } from '../harness.ts';
import { PAYLOAD } from './support/contenders.ts';

const COUNT = 200_000;

async function measure(): Promise<Figures> {
  const manager = await createQueueManager({ type: 'memory' });
  let done = 0;
  let finish = (): void => {};
  const finished = new Promise<void>((resolve) => (finish = resolve));
  manager.registerTaskHandler('work', async () => {});
  manager.on('completed', () => {
    done += 1;
    if (done === COUNT) finish();
  });
  const start = performance.now();
  for (let left = COUNT; left > 0; left -= 1_000)
    await manager.enqueueTasks(Array.from({ length: 1_000 }, () => ({ name: 'work', payload: PAYLOAD })));
  const enqueued = performance.now();
  const cpu = process.cpuUsage();
  await manager.startWorkers(100);
  await finished;
  const end = performance.now();
  const used = process.cpuUsage(cpu);
  await manager.close();
  return {
    'tasks/s': COUNT / ((end - enqueued) / 1_000),
    'enqueued/s': COUNT / ((enqueued - start) / 1_000),
    'client cpu µs/task': (used.user + used.system) / COUNT,
  };
}

await compare({
  name: 'queue/memory',
  rounds: Number(process.argv[2] ?? 5),
  candidates: { xiaoke: measure },
  lowerIsBetter: ['client cpu µs/task'],
  bars: [{ figure: 'tasks/s', atLeast: 150_000 }],
});
