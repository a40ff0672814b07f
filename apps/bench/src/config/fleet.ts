/** One process commits; when do eight others have it, on one Redis? */
import { startRedis } from '@xiaoke/test-servers';
import { compare, percentile, type Figures } from '../harness.ts';
import { startProcess } from './support/processes.ts';

const READERS = 8;
const COMMITS = Number(process.argv[2] ?? 120);
const WARM_UP = 20;

await using redis = await startRedis();

async function measure(name: string, commits: number, gapMs: number): Promise<Figures> {
  const members = await Promise.all(
    Array.from({ length: READERS + 1 }, () => startProcess('./fleet-member.js', [name, redis.url])),
  );
  const [writer, ...readers] = members;
  const times = (await writer?.ask({ kind: 'write', commits, gapMs })) as {
    called: number[];
    done: number[];
  };
  await new Promise((resolve) => setTimeout(resolve, gapMs + 200));
  const reports = await Promise.all(readers.map((reader) => reader.ask({ kind: 'report' })));
  await Promise.all(members.map((member) => member.stop()));
  await redis.cli('FLUSHALL');
  const waits = reports.flatMap(({ seen }) =>
    (seen as [number, number][]).flatMap(([value, at]) =>
      // The first ones run code for the first time.
      value <= WARM_UP ? [] : [(at - (times.called[value - 1] ?? at)) / 1_000],
    ),
  );
  const expected = READERS * (commits - WARM_UP);
  const commitMs = times.done.map((at, index) => (at - (times.called[index] ?? at)) / 1_000);
  return {
    'p50 ms': percentile(waits, 0.5),
    'p95 ms': percentile(waits, 0.95),
    'commit p50 ms': percentile(commitMs, 0.5),
    'seen share': waits.length / expected,
  };
}

await compare({
  name: 'config/fleet',
  rounds: 3,
  candidates: {
    xiaoke: () => measure('xiaoke', COMMITS, 30),
    'bare pub/sub': () => measure('bare', COMMITS, 30),
    'polling every second': () => measure('polling', WARM_UP + 12, 1_200),
  },
  lowerIsBetter: ['p50 ms', 'p95 ms', 'commit p50 ms'],
  bars: [
    { figure: 'p50 ms', atMost: 3 },
    { figure: 'seen share', atLeast: 1 },
  ],
});
