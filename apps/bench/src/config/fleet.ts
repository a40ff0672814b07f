/** One process commits; when do eight others have it, on one Redis? */
import { startRedis } from '@xiaoke/test-servers';
import { compare, percentile, type Figures } from '../harness.ts';
import { startProcess } from './support/processes.ts';

const READERS = 8;
const COMMITS = Number(process.argv[2] ?? 400);
// Until every process runs compiled code.
const WARM_UP = COMMITS / 2;

await using redis = await startRedis();

async function measure(name: string, commits: number, warmUp: number, gapMs: number): Promise<Figures> {
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
  const since = (moments: readonly number[]): number[] =>
    reports.flatMap(({ seen }) =>
      (seen as [number, number][]).flatMap(([value, at]) =>
        value <= warmUp ? [] : [(at - (moments[value - 1] ?? at)) / 1_000],
      ),
    );
  const commitMs = times.done.map((at, index) => (at - (times.called[index] ?? at)) / 1_000);
  // A reader that is late is told the newest, so what counts is that everybody comes to the last.
  const arrived = reports.filter(({ seen }) => (seen as [number, number][]).at(-1)?.[0] === commits);
  return {
    'p50 ms': percentile(since(times.called), 0.5),
    'p95 ms': percentile(since(times.called), 0.95),
    'p50 ms after the acknowledgement': percentile(since(times.done), 0.5),
    'commit p50 ms': percentile(commitMs, 0.5),
    'share of readers at the last': arrived.length / READERS,
  };
}

await compare({
  name: 'config/fleet',
  rounds: 3,
  candidates: {
    xiaoke: () => measure('xiaoke', COMMITS, WARM_UP, 20),
    'bare pub/sub': () => measure('bare', COMMITS, WARM_UP, 20),
    'polling every second': () => measure('polling', 12, 2, 1_200),
  },
  lowerIsBetter: ['p50 ms', 'p95 ms', 'commit p50 ms'],
  bars: [
    { figure: 'p50 ms', atMost: 3 },
    { figure: 'share of readers at the last', atLeast: 1 },
  ],
});
