/** Four processes with ten callers each want one key and hold it for a millisecond. */
import { startRedis } from '@xiaoke/test-servers';
import { compare, percentile, type Figures } from '../harness.ts';
import { contenderNames, type ContenderName } from './support/contenders.ts';
import { startWorker } from './support/worker-process.ts';

const MILLISECONDS = 3_000;
const PROCESSES = 4;

await using redis = await startRedis();

async function measure(name: ContenderName): Promise<Figures> {
  const workers = await Promise.all(Array.from({ length: PROCESSES }, () => startWorker(name, redis.url)));
  const start = performance.now();
  const answers = await Promise.all(
    workers.map((worker) =>
      worker.ask({ kind: 'contend', tasks: 10, holdMs: 1, milliseconds: MILLISECONDS }),
    ),
  );
  const elapsed = performance.now() - start;
  await Promise.all(workers.map((worker) => worker.stop()));
  const shares = answers.map(({ waits }) => (waits as number[]).length);
  const waits = answers.flatMap((answer) => answer['waits'] as number[]);
  return {
    'locks/s': (waits.length / elapsed) * 1_000,
    'p99 wait ms': percentile(waits, 0.99),
    'max wait ms': Math.max(...waits),
    'smallest share': Math.min(...shares) / (waits.length / PROCESSES),
  };
}

await compare({
  name: 'lock/four-processes',
  rounds: 3,
  candidates: Object.fromEntries(contenderNames.map((name) => [name, () => measure(name)])),
  lowerIsBetter: ['p99 wait ms', 'max wait ms'],
  bars: [
    { figure: 'locks/s', versus: 'best peer', atLeast: 1.2 },
    { figure: 'p99 wait ms', versus: 'best peer', atMost: 1 / 6 },
  ],
});
