/**
 * One candidate in a process of its own, so that no other's code, garbage or connections touch its figures: what it does first
 * warms it up, then the rest is measured. Prints the figures as JSON.
 *
 *   fill <candidate> <redis url> <queue> <count>
 *   process | enqueue | bulk <candidate> <redis url> <queue> <warm-up> <count> [<slots or in flight>]
 */
import { Redis } from 'ioredis';
import type { Figures } from '../../harness.ts';
import { contenders } from './contenders.ts';
import { inFlight } from './in-flight.ts';
import { costPerTask } from './redis-cost.ts';

const [mode = '', candidate = '', url = '', name = '', first = '0', second = '0', third = '1'] =
  process.argv.slice(2);
const make = contenders[candidate];
if (make === undefined) throw new Error(`There is no candidate ${candidate}`);
const { hostname: host, port } = new URL(url);
const queue = await make({ url, host, port: Number(port) }, name);

if (mode === 'fill') await fill(Number(first));
else console.log(JSON.stringify(await measure(Number(first), Number(second), Number(third))));
await queue.close();
process.exit(0);

async function measure(warm: number, count: number, width: number): Promise<Figures> {
  if (mode === 'process') return await processing(warm, count, width);
  const work: (tasks: number) => Promise<void> =
    mode === 'bulk' ? fill : (tasks) => inFlight(() => queue.add(), tasks, width);
  await work(warm);
  const before = await usedMemory();
  const figures = await costPerTask(url, count, () => work(count));
  return { ...figures, 'redis bytes/task': ((await usedMemory()) - before) / count };
}

/** Works `warm` tasks and then, without a stop, the `count` that are measured. */
async function processing(warm: number, count: number, slots: number): Promise<Figures> {
  let [done, warmUp, finish] = [0, (): void => {}, (): void => {}];
  const warmed = new Promise<void>((resolve) => (warmUp = resolve));
  const finished = new Promise<void>((resolve) => (finish = resolve));
  await queue.work(
    slots,
    async () => {},
    () => {
      done += 1;
      if (done === warm) warmUp();
      if (done === warm + count) finish();
    },
  );
  await warmed;
  return await costPerTask(
    url,
    () => warm + count - done,
    async () => finished,
  );
}

async function fill(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 5_000) await queue.fill(Math.min(left, 5_000));
}

async function usedMemory(): Promise<number> {
  const admin = new Redis(url);
  const info = await admin.info('memory');
  admin.disconnect();
  return Number(/used_memory:(\d+)/.exec(info)?.[1]);
}
