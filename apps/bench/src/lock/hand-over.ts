/** How long after release() in one process an acquire that waits in another one resolves. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startRedis } from '@xiaoke/test-servers';
import { compare, percentile, type Figures } from '../harness.ts';
import { contender, contenderNames, type ContenderName } from './support/contenders.ts';
import { startWorker, type Worker } from './support/worker-process.ts';

const TRIALS = 25;

await using redis = await startRedis();

async function measure(name: ContenderName, worker: Worker): Promise<Figures> {
  const holder = await contender(name, redis.url);
  const times: number[] = [];
  for (let trial = 0; trial < TRIALS; trial += 1) {
    const release = await holder.lock('bench:hand-over');
    const answer = worker.ask({ kind: 'wait once' });
    // Long enough that the other one waits; not a multiple of anybody's polling interval.
    await sleep(40 + trial * 3.7);
    const released = Number(process.hrtime.bigint() / 1_000n);
    await release();
    const { at } = await answer;
    times.push((Number(at) - released) / 1_000);
  }
  await holder.close();
  return { 'p50 ms': percentile(times, 0.5), 'max ms': Math.max(...times) };
}

const workers = new Map<ContenderName, Worker>();
for (const name of contenderNames) workers.set(name, await startWorker(name, redis.url));
await compare({
  name: 'lock/hand-over',
  rounds: 3,
  candidates: Object.fromEntries([...workers].map(([name, worker]) => [name, () => measure(name, worker)])),
  lowerIsBetter: ['p50 ms', 'max ms'],
  bars: [{ figure: 'p50 ms', atMost: 1.5 }],
});
await Promise.all([...workers.values()].map((worker) => worker.stop()));
