/** One cold key, 10,000 callers in four processes at once, a loader that takes 50 ms: how many loads, and how long the last waits. */
import { createCacheManager } from '@xiaoke/cache';
import { spawnNode, startRedis, type NodeProcess } from '@xiaoke/test-servers';
import { fileURLToPath } from 'node:url';
import { compare, type Figures } from '../harness.ts';

const PROCESSES = 4;
const CALLERS = 10_000;
const LOADER = 50;
const child = process.argv.includes('--child');

interface Answer {
  readonly loads: number;
  readonly took: number;
}

if (child) await serve(process.argv.at(-1) ?? '');
else await lead();

async function serve(url: string): Promise<void> {
  const cache = createCacheManager<string>({ redis: url, namespace: 'stampede' });
  await cache.ready();
  process.on('message', (message: { key: string; at: number }) => void answer(message));
  process.send?.({ ready: true });

  async function answer({ key, at }: { key: string; at: number }): Promise<void> {
    let loads = 0;
    const loader = async (): Promise<string> => {
      loads += 1;
      await new Promise((resolve) => setTimeout(resolve, LOADER));
      return 'value';
    };
    await new Promise((resolve) => setTimeout(resolve, at - Date.now()));
    const start = performance.now();
    const calls = Array.from({ length: CALLERS / PROCESSES }, () => cache.getOrSet(key, loader));
    await Promise.all(calls);
    process.send?.({ key, loads, took: performance.now() - start });
  }
}

async function lead(): Promise<void> {
  await using redis = await startRedis();
  const file = fileURLToPath(import.meta.url);
  const processes = Array.from({ length: PROCESSES }, () =>
    spawnNode(file, { args: ['--child', redis.url] }),
  );
  await Promise.all(processes.map((one) => one.message(({ ready }) => ready === true)));
  let round = 0;
  const measure = async (): Promise<Figures> => {
    round += 1;
    const answers = await ask(processes, `k${round}`);
    const took = Math.max(...answers.map((answer) => answer.took));
    return { loads: answers.reduce((sum, { loads }) => sum + loads, 0), 'x loader time': took / LOADER };
  };
  await measure();
  await compare({
    name: 'cache/stampede',
    candidates: { xiaoke: measure },
    rounds: 9,
    lowerIsBetter: ['loads', 'x loader time'],
    bars: [
      { figure: 'loads', atMost: 1 },
      { figure: 'x loader time', atMost: 2.4 },
    ],
  });
  await Promise.all(processes.map((one) => one.kill()));
}

async function ask(processes: readonly NodeProcess[], key: string): Promise<Answer[]> {
  const at = Date.now() + 100;
  for (const one of processes) one.send({ key, at });
  const answers = await Promise.all(processes.map((one) => one.message((message) => message['key'] === key)));
  return answers as unknown as Answer[];
}
