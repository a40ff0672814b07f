/** Fifty callers of one process want one key, each for a turn of the event loop. */
import { startRedis } from '@xiaoke/test-servers';
import { compare, percentile, type Figures } from '../harness.ts';
import { contender, contenderNames, type Contender } from './support/contenders.ts';

const MILLISECONDS = 1_500;
const CALLERS = 50;

await using redis = await startRedis();

async function measure({ lock }: Contender): Promise<Figures> {
  const waits: number[] = [];
  const start = performance.now();
  const end = start + MILLISECONDS;
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (performance.now() < end) {
        const asked = performance.now();
        const release = await lock('bench:hot');
        waits.push(performance.now() - asked);
        await new Promise((resolve) => setImmediate(resolve));
        await release();
      }
    }),
  );
  const elapsed = performance.now() - start;
  return {
    'locks/s': (waits.length / elapsed) * 1_000,
    'p99 wait ms': percentile(waits, 0.99),
    'max wait ms': waits.reduce((most, wait) => Math.max(most, wait), 0),
  };
}

const contenders = new Map<string, Contender>();
for (const name of contenderNames) contenders.set(name, await contender(name, redis.url));
await compare({
  name: 'lock/hot-key',
  rounds: 5,
  candidates: Object.fromEntries([...contenders].map(([name, each]) => [name, () => measure(each)])),
  lowerIsBetter: ['p99 wait ms', 'max wait ms'],
  bars: [{ figure: 'locks/s', versus: 'best peer', atLeast: 15 }],
});
for (const each of contenders.values()) await each.close();
