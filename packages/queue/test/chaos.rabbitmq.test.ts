import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Redis } from 'ioredis';
import {
  chaosProxy,
  spawnNode,
  startRabbitMq,
  startRedis,
  type ChaosProxy,
  type NodeProcess,
  type RabbitMqServer,
  type RedisServer,
} from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { createQueueManager, type QueueManager, type Task } from '../src/index.ts';

const WORKER = new URL('./fixtures/rabbitmq-worker.ts', import.meta.url);
const PRODUCER = new URL('./fixtures/rabbitmq-producer.ts', import.meta.url);
const SLOTS = 20;
const WORKERS = 2;

/** A queue under fire: workers and a producer behind a proxy, a counter beside it that no fault hits. */
class Battlefield implements AsyncDisposable {
  readonly namespace: string;
  readonly broker: RabbitMqServer;
  readonly proxy: ChaosProxy;
  readonly counts: Redis;
  readonly workers: NodeProcess[] = [];
  readonly #ended = new Set<NodeProcess>();
  readonly #counter: RedisServer;
  readonly #store: string;

  constructor(
    namespace: string,
    servers: { broker: RabbitMqServer; proxy: ChaosProxy; counter: RedisServer; store: string },
  ) {
    this.namespace = namespace;
    this.broker = servers.broker;
    this.proxy = servers.proxy;
    this.#counter = servers.counter;
    this.#store = servers.store;
    this.counts = new Redis(servers.counter.url);
  }

  get url(): string {
    return this.proxy.url('amqp').replace('://', '://guest:guest@');
  }

  async startWorker(): Promise<NodeProcess> {
    const args = [this.url, this.namespace, this.#counter.url, String(SLOTS), this.#store];
    const worker = spawnNode(WORKER, { args });
    this.workers.push(worker);
    void worker.exited.then(() => this.#ended.add(worker));
    await worker.message((message) => message['kind'] === 'ready', 60_000);
    return worker;
  }

  async killWorker(): Promise<void> {
    const [victim] = this.workers.splice(0, 1);
    await victim?.kill('SIGKILL');
    await this.startWorker();
  }

  /** Starts a worker for each one that has died; one can die before it has said that it is ready. */
  async revive(): Promise<void> {
    for (const worker of this.workers.filter((one) => this.#ended.has(one))) {
      this.workers.splice(this.workers.indexOf(worker), 1);
      await this.startWorker().catch(() => {});
    }
  }

  async runs(): Promise<Record<string, string>> {
    return await this.counts.hgetall(`${this.namespace}:runs`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.kill('SIGKILL')));
    this.counts.disconnect();
    await this.proxy.stop();
  }
}

let counter: RedisServer;
let broker: RabbitMqServer;

beforeAll(async () => {
  [counter, broker] = await Promise.all([startRedis(), startRabbitMq()]);
});

afterAll(async () => {
  await Promise.all([counter.stop(), broker.stop()]);
});

async function battlefield(namespace: string, store = ''): Promise<Battlefield> {
  const field = new Battlefield(namespace, {
    broker,
    proxy: await chaosProxy({ target: broker }),
    counter,
    store,
  });
  await Promise.all(Array.from({ length: WORKERS }, () => field.startWorker()));
  return field;
}

// Faults need room between them; there is no event that says "enough has gone wrong".
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Enqueues in waves; what is refused in an outage is repeated under the same id, as its error says. */
async function produce(manager: QueueManager, count: number, underFire: () => boolean): Promise<Task[]> {
  const tasks: Task[] = [];
  const wave = 100;
  for (let start = 0; start < count; start += wave) {
    const items = Array.from({ length: Math.min(wave, count - start) }, (_, index) => {
      const n = start + index;
      return {
        name: 'work',
        payload: n,
        options: {
          id: `t${n}`,
          attempts: 20,
          backoff: { strategy: 'constant', delay: 5 },
          priority: (['high', 'normal', 'low'] as const)[n % 3] ?? 'normal',
          ...(n % 10 === 0 ? { delay: 50 } : {}),
        },
      } as const;
    });
    tasks.push(...(await acknowledged(manager, items)));
    if (underFire()) await pause(60);
  }
  return tasks;
}

async function acknowledged(
  manager: QueueManager,
  items: Parameters<QueueManager['enqueueTasks']>[0],
): Promise<Task[]> {
  for (;;) {
    try {
      return await manager.enqueueTasks(items);
    } catch (error) {
      expect(Reflect.get(Object(error), 'code')).toBe('QUEUE_UNAVAILABLE');
    }
  }
}

async function allDone(manager: QueueManager, tasks: readonly Task[], timeout: number): Promise<void> {
  await eventually(
    async () => {
      const [info] = await manager.inspectQueues(['default']);
      const { waiting, delayed, active } = info?.states ?? { waiting: 1, delayed: 1, active: 1 };
      expect({ waiting, delayed, active }).toEqual({ waiting: 0, delayed: 0, active: 0 });
    },
    { timeout, interval: 200 },
  );
  const states = new Map<string, number>();
  for (let start = 0; start < tasks.length; start += 500) {
    const part = await Promise.all(tasks.slice(start, start + 500).map((task) => task.status()));
    for (const state of part) states.set(state, (states.get(state) ?? 0) + 1);
  }
  expect(Object.fromEntries(states)).toEqual({ completed: tasks.length });
}

interface Faults {
  readonly [name: string]: () => Promise<unknown>;
}

function faultsOf(field: Battlefield): Faults {
  const { broker, proxy } = field;
  return {
    'worker killed': () => field.killWorker(),
    'connections reset': async () => proxy.resetAll(),
    'connections closed by the broker': () => broker.closeAllConnections(),
    'network silent': async () => {
      proxy.blackhole(true);
      await pause(500);
      proxy.blackhole(false);
    },
    'connections half open': async () => {
      proxy.halfOpen(true);
      await pause(200);
      proxy.halfOpen(false);
    },
    'memory alarm': async () => {
      await broker.setMemoryHighWatermark(0);
      await pause(500);
      await broker.setMemoryHighWatermark(0.6);
    },
    'broker stopped and started': async () => {
      await broker.stopApp();
      await broker.startApp();
    },
    'broker killed': async () => {
      await broker.syncDefinitions();
      await broker.restart();
    },
  };
}

async function underFire(field: Battlefield, manager: QueueManager, count: number): Promise<void> {
  const faults = faultsOf(field);
  let firing = true;
  const injected: string[] = [];
  const fire = (async () => {
    for (const [name, inject] of Object.entries(faults)) {
      await pause(300);
      await inject();
      injected.push(name);
    }
    firing = false;
  })();
  const tasks = await produce(manager, count, () => firing);
  await fire;
  await allDone(manager, tasks, 120_000);
  const runs = await field.runs();
  const failures = Object.keys(await field.counts.hgetall(`${field.namespace}:failed`)).length;
  const total = Object.values(runs).reduce((sum, times) => sum + Number(times), 0);
  const ranAgain = total - count - failures;
  console.log(
    JSON.stringify({ namespace: field.namespace, tasks: count, ranAgain, faults: injected.length }),
  );
  expect(Object.keys(runs).length).toBe(count);
  expect(injected).toEqual(Object.keys(faults));
  // Every fault can make the tasks of the workers it hit run again, and no others.
  expect(ranAgain).toBeLessThanOrEqual(injected.length * SLOTS * WORKERS);
}

describe('nothing acknowledged is lost on RabbitMQ', () => {
  it('while workers are killed, connections lost in five ways, memory runs out, and the broker stops and is killed', async () => {
    const count = 20_000;
    await using field = await battlefield('chaos');
    const manager = await createQueueManager({
      rabbitmq: field.url,
      namespace: 'chaos',
      enqueueTimeout: '10s',
      retention: { finished: 1_000_000 },
      rabbitmqOptions: { heartbeat: '1s' },
    });
    manager.on('error', () => {});
    await underFire(field, manager, count);
    await manager.close({ timeout: 2_000 });
  }, 240_000);

  it('with its status in Redis, under the same faults', async () => {
    const count = 5_000;
    await using redis = await startRedis({ appendonly: 'everysec' });
    await using field = await battlefield('chaos-redis', redis.url);
    const manager = await createQueueManager({
      type: 'rabbitmq',
      rabbitmq: field.url,
      redis: redis.url,
      namespace: 'chaos-redis',
      enqueueTimeout: '10s',
      retention: { finished: 1_000_000 },
      rabbitmqOptions: { heartbeat: '1s' },
    });
    manager.on('error', () => {});
    await underFire(field, manager, count);
    await manager.close({ timeout: 2_000 });
  }, 240_000);

  it('while a producer is killed in the middle of its work: what it heard was accepted is done', async () => {
    await using field = await battlefield('producers');
    const acked = new Map<number, string>();
    for (let round = 0; round < 3; round += 1) {
      await using producer = spawnNode(PRODUCER, { args: [field.url, 'producers', String(round * 100_000)] });
      await eventually(() => expect(producer.messages.length).toBeGreaterThan(100), { timeout: 30_000 });
      await producer.kill('SIGKILL');
      for (const message of producer.messages) acked.set(Number(message['n']), String(message['id']));
    }
    await using manager = await createQueueManager({ rabbitmq: broker.url, namespace: 'producers' });
    await eventually(
      async () => {
        const states = await Promise.all([...acked.values()].map((id) => manager.getTask(id)));
        expect(states.filter((record) => record?.state !== 'completed')).toEqual([]);
      },
      { timeout: 60_000 },
    );
    const runs = await field.runs();
    for (const n of acked.keys()) expect(Number(runs[n])).toBeGreaterThanOrEqual(1);
  }, 120_000);

  it('by a task that kills its worker every time: it ends among the dead letters, its neighbours are done', async () => {
    await using field = await battlefield('poison');
    await using manager = await createQueueManager({ rabbitmq: broker.url, namespace: 'poison' });
    const poison = await manager.enqueueTask('poison', 1);
    const tasks = await manager.enqueueTasks(
      Array.from({ length: 200 }, (_, n) => ({ name: 'work', payload: n, options: { attempts: 10 } })),
    );
    await reviving(field, async () => {
      const record = await manager.getTask(poison.id);
      expect([record?.state, record?.reason]).toEqual(['dead', 'STALLED']);
      const states = await Promise.all(tasks.map((task) => task.status()));
      expect(new Set(states)).toEqual(new Set(['completed']));
    });
    // The first run and maxStalls more.
    expect(await field.counts.hget('poison:poison', '1')).toBe('4');
  }, 120_000);

  it('by the same task when nobody is left to count: the broker’s delivery limit ends it', async () => {
    await using field = await battlefield('limit', 'memory');
    const options = {
      rabbitmq: broker.url,
      namespace: 'limit',
      rabbitmqOptions: { statusStore: 'memory', deliveryLimit: 3 },
    } as const;
    await using manager = await createQueueManager(options);
    const poison = await manager.enqueueTask('poison', 1);
    await reviving(field, async () => {
      const { items } = await manager.deadLetters.list();
      expect(items.map(({ id, reason }) => [id, reason])).toEqual([[poison.id, 'STALLED']]);
    });
    expect(Number(await field.counts.hget('limit:poison', '1'))).toBeLessThanOrEqual(4);
  }, 120_000);
});

/** Starts workers again as they die, until `check` passes. */
async function reviving(field: Battlefield, check: () => Promise<void>): Promise<void> {
  await eventually(
    async () => {
      await field.revive();
      await check();
    },
    { timeout: 90_000, interval: 100 },
  );
}
