/**
 * One candidate on RabbitMQ in a process of its own: what it does first warms it up, then the rest is measured. Prints the figures as
 * JSON.
 *
 *   publish | consume <candidate> <amqp url> <redis url> <queue> <warm-up> <count> <in flight or slots>
 */
import type { Figures } from '../../harness.ts';
import { inFlight } from './in-flight.ts';
import { rabbitContenders } from './rabbitmq-contenders.ts';

const [mode, candidate = '', amqp = '', redis = '', name = '', ...numbers] = process.argv.slice(2);
const [warm = 0, count = 0, width = 1] = numbers.map(Number);
const make = rabbitContenders[candidate];
if (make === undefined) throw new Error(`There is no candidate ${candidate}`);
const queue = await make({ amqp, redis }, name);
console.log(JSON.stringify(mode === 'publish' ? await publishing() : await consuming()));
await queue.close();
process.exit(0);

async function publishing(): Promise<Figures> {
  await publish(warm);
  return await costOf(count, () => publish(count));
}

/** Consumes `warm` messages and then, without a stop, those that are measured. */
async function consuming(): Promise<Figures> {
  await publish(warm + count);
  let [done, warmUp, finish] = [0, (): void => {}, (): void => {}];
  const warmed = new Promise<void>((resolve) => (warmUp = resolve));
  const finished = new Promise<void>((resolve) => (finish = resolve));
  await queue.work(width, () => {
    done += 1;
    if (done === warm) warmUp();
    if (done === warm + count) finish();
  });
  await warmed;
  return await costOf(warm + count - done, () => finished);
}

async function publish(messages: number): Promise<void> {
  await inFlight(() => queue.add(), messages, width);
}

async function costOf(tasks: number, work: () => Promise<void>): Promise<Figures> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { 'tasks/s': tasks / seconds, 'client cpu µs/task': (user + system) / tasks };
}
