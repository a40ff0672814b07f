/**
 * The queue on RabbitMQ beside two clients that recover: confirmed publishing with 100 in flight, and consuming a backlog with
 * 100 slots, on quorum queues of one private broker. The clients keep no status, no results and no retries; we do. Each
 * candidate is measured once beforehand, and that is thrown away: code that has just been compiled is not what a service runs.
 */
import { startRabbitMq, startRedis } from '@xiaoke/test-servers';
import { compare, type Figures } from '../harness.ts';
import { rabbitContenders, type MakeRabbitContender, type RabbitContender } from './rabbitmq-support.ts';

const COUNT = Number(process.argv[2] ?? 30_000);
const ROUNDS = Number(process.argv[3] ?? 3);
const IN_FLIGHT = 100;
const SLOTS = 100;

await using broker = await startRabbitMq();
await using redis = await startRedis({ appendonly: 'everysec' });
const servers = { amqp: broker.url, redis: redis.url };
let run = 0;

async function cost(tasks: number, work: () => Promise<void>): Promise<Figures> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1_000;
  const used = process.cpuUsage(cpu);
  return { 'tasks/s': tasks / seconds, 'client cpu µs/task': (used.user + used.system) / tasks };
}

async function publish(queue: RabbitContender, count: number): Promise<void> {
  let left = count;
  const producer = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await queue.add();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, producer));
}

async function consume(queue: RabbitContender, count: number): Promise<void> {
  let done = 0;
  await new Promise<void>((resolve, reject) => {
    const finish = (): void => {
      done += 1;
      if (done === count) resolve();
    };
    queue.work(SLOTS, finish).catch(reject);
  });
}

async function fresh(make: MakeRabbitContender): Promise<RabbitContender> {
  run += 1;
  const queue = await make(servers, `bench${run}`);
  return queue;
}

async function measurePublish(make: MakeRabbitContender): Promise<Figures> {
  const queue = await fresh(make);
  await publish(queue, 200);
  const figures = await cost(COUNT, () => publish(queue, COUNT));
  await queue.close();
  return figures;
}

async function measureConsume(make: MakeRabbitContender): Promise<Figures> {
  const queue = await fresh(make);
  await publish(queue, COUNT);
  const figures = await cost(COUNT, () => consume(queue, COUNT));
  await queue.close();
  return figures;
}

for (const [topic, measure, atLeast] of [
  ['rabbitmq-publish', measurePublish, 1],
  ['rabbitmq-consume', measureConsume, 1.5],
] as const) {
  for (const make of Object.values(rabbitContenders)) await measure(make);
  await compare({
    name: `queue/${topic}`,
    rounds: ROUNDS,
    candidates: Object.fromEntries(
      Object.entries(rabbitContenders).map(([name, make]) => [name, () => measure(make)]),
    ),
    lowerIsBetter: ['client cpu µs/task'],
    bars: [
      { figure: 'tasks/s', versus: 'best peer', atLeast },
      { figure: 'client cpu µs/task', versus: 'best peer', atMost: 1 },
    ],
  });
}
