/** What it costs to have the configuration followed while nothing happens. */
import { startRedis } from '@xiaoke/test-servers';
import { compare, type Figures } from '../harness.ts';
import { startProcess } from './support/processes.ts';

const SECONDS = Number(process.argv[2] ?? 20);

await using redis = await startRedis();

/** Beside an empty process in the same seconds: what that one takes is the machine's and Node's affair. */
async function measure(name: string): Promise<Figures> {
  const args = (candidate: string): string[] => [candidate, redis.url, String(SECONDS)];
  const children = await Promise.all(
    ['nothing', name].map((candidate) => startProcess('./idler.js', args(candidate))),
  );
  const answers = await Promise.all(children.map((child) => child.ask({ kind: 'wait' })));
  await Promise.all(children.map((child) => child.stop()));
  const [empty = 0, own = 0] = answers.map(({ cpuMs }) => (Number(cpuMs) / (SECONDS * 1_000)) * 100);
  return { 'cpu %': own, 'cpu % over an empty process': Math.max(0, own - empty) };
}

await compare({
  name: 'config/idle',
  rounds: 3,
  candidates: {
    xiaoke: () => measure('files'),
    'xiaoke with Redis': () => measure('files and redis'),
    c12: () => measure('c12'),
  },
  lowerIsBetter: ['cpu %', 'cpu % over an empty process'],
  bars: [
    { figure: 'cpu % over an empty process', atMost: 0.1 },
    { figure: 'cpu % over an empty process', of: 'xiaoke with Redis', atMost: 0.2 },
  ],
});
