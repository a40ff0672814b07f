import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Redis } from 'ioredis';
import {
  chaosProxy,
  spawnNode,
  startRedis,
  type ChaosProxy,
  type NodeProcess,
  type RedisServer,
} from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { createQueueManager, type QueueManager, type Task } from '../src/index.ts';

const NIGHTLY = process.env['XIAOKE_CHAOS'] === 'nightly';
const SLOTS = 10;
const WORKERS = 3;

const WORKER = new URL('./fixtures/worker.ts', import.meta.url);
const PRODUCER = new URL('./fixtures/producer.ts', import.meta.url);

/** A queue under fire: workers behind a proxy, a counter beside it that no fault hits. */
class Battlefield {
  readonly namespace: string;
  readonly redis: RedisServer;
  readonly proxy: ChaosProxy;
  readonly #counter: RedisServer;
  readonly counts: Redis;
  readonly workers: NodeProcess[] = [];

  constructor(namespace: string, redis: RedisServer, proxy: ChaosProxy, counter: RedisServer) {
    this.namespace = namespace;
    this.redis = redis;
    this.proxy = proxy;
    this.#counter = counter;
    this.counts = new Redis(counter.url);
  }

  async startWorker(): Promise<NodeProcess> {
    const args = [this.proxy.url('redis'), this.namespace, this.#counter.url, String(SLOTS)];
    const worker = spawnNode(WORKER, { args });
    this.workers.push(worker);
    await worker.message((message) => message['kind'] === 'ready', 30_000);
    return worker;
  }

  async killWorker(): Promise<void> {
    const [victim] = this.workers.splice(0, 1);
    await victim?.kill('SIGKILL');
    await this.startWorker();
  }

  async freezeWorker(milliseconds: number): Promise<void> {
    const victim = this.workers[0];
    if (victim === undefined) return;
    process.kill(victim.pid, 'SIGSTOP');
    await pause(milliseconds);
    process.kill(victim.pid, 'SIGCONT');
  }

  async runs(): Promise<Record<string, string>> {
    return await this.counts.hgetall(`${this.namespace}:runs`);
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.kill('SIGKILL')));
    this.counts.disconnect();
    await this.proxy.stop();
  }
}

let counter: RedisServer;

beforeAll(async () => {
  counter = await startRedis();
});

afterAll(async () => {
  await counter.stop();
});

async function battlefield(redis: RedisServer, namespace: string): Promise<Battlefield> {
  const field = new Battlefield(namespace, redis, await chaosProxy({ target: redis }), counter);
  await Promise.all(Array.from({ length: WORKERS }, () => field.startWorker()));
  return field;
}

// Faults need room between them; there is no event that says "enough has gone wrong".
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Enqueues `count` tasks spread over the faults; every one of them has to be acknowledged in the end. */
async function produce(manager: QueueManager, count: number, underFire: () => boolean): Promise<Task[]> {
  const tasks: Task[] = [];
  const waves = Math.ceil(count / 50);
  for (let wave = 0; wave < waves; wave += 1) {
    const size = Math.min(50, count - wave * 50);
    const items = Array.from({ length: size }, (_, index) => wave * 50 + index);
    const made = items.map((n) =>
      manager.enqueueTask('work', n, {
        backoff: { strategy: 'constant', delay: 5 },
        attempts: 20,
        priority: (['high', 'normal', 'low'] as const)[n % 3] ?? 'normal',
        ...(n % 10 === 0 ? { delay: 50 } : {}),
      }),
    );
    tasks.push(...(await Promise.all(made)));
    if (underFire()) await pause(40);
  }
  return tasks;
}

async function allDone(manager: QueueManager, tasks: readonly Task[], timeout: number): Promise<void> {
  await eventually(
    async () => {
      const [info] = await manager.inspectQueues(['default']);
      const { waiting, delayed, active } = info?.states ?? { waiting: 1, delayed: 1, active: 1 };
      expect(waiting + delayed + active).toBe(0);
    },
    { timeout: timeout },
  );
  const states = new Map<string, number>();
  for (let start = 0; start < tasks.length; start += 200) {
    const part = await Promise.all(tasks.slice(start, start + 200).map((task) => task.status()));
    for (const state of part) states.set(state, (states.get(state) ?? 0) + 1);
  }
  expect(Object.fromEntries(states)).toEqual({ completed: tasks.length });
}

describe('nothing acknowledged is lost', () => {
  it(
    'while workers are killed and frozen, replies are lost, connections reset, stranded and killed, scripts flushed and Redis itself is killed',
    async () => {
      const count = NIGHTLY ? 50_000 : 5_000;
      await using redis = await startRedis({ appendonly: 'always' });
      const field = await battlefield(redis, 'chaos');
      const manager = await createQueueManager({
        redis: field.proxy.url('redis'),
        namespace: 'chaos',
        enqueueTimeout: '30s',
        lease: '1s',
        retention: { finished: 1_000_000 },
      });
      manager.on('error', () => {});
      const admin = new Redis(redis.url);
      admin.on('error', () => {});
      const faults: Record<string, () => Promise<unknown>> = {
        'lost replies': async () => field.proxy.dropReplies(5),
        'worker killed': () => field.killWorker(),
        'connections reset': async () => field.proxy.resetAll(),
        'clients killed': () => admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
        'scripts flushed': () => admin.script('FLUSH'),
        'worker frozen past its lease': () => field.freezeWorker(1_600),
        'network silent': async () => {
          field.proxy.blackhole(true);
          await pause(300);
          field.proxy.blackhole(false);
        },
        'connections stranded': async () => {
          field.proxy.halfOpen(true);
          await pause(100);
          field.proxy.halfOpen(false);
        },
        'Redis killed': () => redis.restart(),
      };
      let firing = true;
      const injected: string[] = [];
      const fire = (async () => {
        const rounds = NIGHTLY ? 12 : 1;
        for (let round = 0; round < rounds; round += 1) {
          for (const [name, inject] of Object.entries(faults)) {
            await pause(150);
            await inject();
            injected.push(name);
          }
        }
        firing = false;
      })();
      const tasks = await produce(manager, count, () => firing);
      await fire;
      await allDone(manager, tasks, 60_000);
      const runs = await field.runs();
      const failures = Object.keys(await field.counts.hgetall('chaos:failed')).length;
      const total = Object.values(runs).reduce((sum, times) => sum + Number(times), 0);
      const doubled = total - count - failures;
      console.log(
        JSON.stringify({
          tasks: count,
          ranAgain: doubled,
          faults: injected.length,
          lostReplies: field.proxy.lostReplies,
        }),
      );
      expect(Object.keys(runs).length).toBe(count);
      expect(injected.length).toBeGreaterThanOrEqual(Object.keys(faults).length);
      // Every fault can make the tasks of the workers it hit run again, and no others.
      expect(doubled).toBeLessThanOrEqual(injected.length * SLOTS * WORKERS);
      admin.disconnect();
      await manager.close({ timeout: 2_000 });
      await field.stop();
    },
    NIGHTLY ? 900_000 : 120_000,
  );

  it('while a producer is killed in the middle of its work: what it heard was accepted is done', async () => {
    await using redis = await startRedis({ appendonly: 'everysec' });
    const field = await battlefield(redis, 'producers');
    const acked = new Map<number, string>();
    for (let round = 0; round < 3; round += 1) {
      await using producer = spawnNode(PRODUCER, { args: [redis.url, 'producers', String(round * 100_000)] });
      await eventually(() => expect(producer.messages.length).toBeGreaterThan(150), { timeout: 20_000 });
      await producer.kill('SIGKILL');
      if (round === 1) await redis.restart();
      for (const message of producer.messages) acked.set(Number(message['n']), String(message['id']));
    }
    const manager = await createQueueManager({ redis: redis.url, namespace: 'producers' });
    await eventually(
      async () => {
        const states = await Promise.all([...acked.values()].map((id) => manager.getTask(id)));
        expect(states.filter((record) => record?.state !== 'completed')).toEqual([]);
      },
      { timeout: 30_000 },
    );
    const runs = await field.runs();
    for (const n of acked.keys()) expect(Number(runs[n])).toBeGreaterThanOrEqual(1);
    await manager.close();
    await field.stop();
  }, 90_000);
});
