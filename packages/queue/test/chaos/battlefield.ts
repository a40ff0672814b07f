import { Redis } from 'ioredis';
import { expect } from 'vitest';
import { toMilliseconds } from '@xiaoke/core';
import {
  chaosProxy,
  spawnNode,
  startRedis,
  type ChaosProxy,
  type NodeProcess,
  type RedisServer,
} from '@xiaoke/test-servers';
import { eventually } from '@xiaoke/core/testing';
import { createQueueManager, type QueueManager, type Task } from '../../src/index.ts';

/** Tasks that one worker runs at once, and workers. */
export const SLOTS: number = 10;
export const WORKERS: number = 3;

const WORKER = new URL('../fixtures/worker.ts', import.meta.url);

/** What a worker wrote down. */
interface Entry {
  readonly kind: 'started' | 'failed';
  readonly n: number;
  readonly token: number;
  readonly worker: number;
  readonly at: number;
}

/** A fault that takes a worker away from its tasks: a process, or all of them when their lease can run out meanwhile. */
interface Hit {
  readonly fault: string;
  readonly worker: number | 'all';
  readonly from: number;
  to: number;
}

/** What came of a run. */
export interface Report {
  readonly tasks: number;
  readonly lost: number;
  /** Runs beyond the first that no failure of the handler asked for. */
  readonly ranAgain: number;
  /** Those of them whose worker was not hit while it had the task. */
  readonly unexplained: number;
  readonly byFault: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly lostReplies: number;
}

/** How the queue under fire is run. */
export interface BattlefieldOptions {
  readonly appendonly?: 'always' | 'everysec';
  /** Long enough that a loaded machine alone takes no worker its tasks. @default '3s' */
  readonly lease?: string;
}

/** A queue under fire: workers behind a proxy, a ledger of runs beside it that no fault hits. */
export class Battlefield implements AsyncDisposable {
  readonly namespace: string;
  readonly redis: RedisServer;
  readonly proxy: ChaosProxy;
  readonly manager: QueueManager;
  readonly workers: NodeProcess[] = [];
  readonly hits: Hit[] = [];
  readonly injected: Record<string, number> = {};
  readonly #ledgerServer: RedisServer;
  readonly #lease: string;
  readonly #ledger: Redis;
  readonly #admin: Redis;

  private constructor(
    namespace: string,
    redis: RedisServer,
    proxy: ChaosProxy,
    more: {
      readonly manager: QueueManager;
      readonly ledger: RedisServer;
      readonly lease: string;
    },
  ) {
    this.namespace = namespace;
    this.redis = redis;
    this.proxy = proxy;
    this.manager = more.manager;
    this.#ledgerServer = more.ledger;
    this.#lease = more.lease;
    this.#ledger = new Redis(more.ledger.url);
    this.#admin = new Redis(redis.url);
    this.#admin.on('error', () => {});
  }

  /** Starts Redis, the proxy, the workers and a producing manager that looks through the proxy too. */
  static async prepare(
    namespace: string,
    { appendonly = 'always', lease = '3s' }: BattlefieldOptions = {},
  ): Promise<Battlefield> {
    const [redis, ledger] = await Promise.all([startRedis({ appendonly }), startRedis()]);
    const proxy = await chaosProxy({ target: redis });
    const manager = await createQueueManager({
      redis: proxy.url('redis'),
      namespace,
      enqueueTimeout: '30s',
      lease,
      retention: { finished: 1_000_000 },
    });
    manager.on('error', () => {});
    const field = new Battlefield(namespace, redis, proxy, { manager, ledger, lease });
    await Promise.all(Array.from({ length: WORKERS }, () => field.startWorker()));
    return field;
  }

  async startWorker(): Promise<void> {
    const args = [
      this.proxy.url('redis'),
      this.namespace,
      this.#ledgerServer.url,
      String(SLOTS),
      this.#lease,
    ];
    const worker = spawnNode(WORKER, { args });
    this.workers.push(worker);
    await worker.message((message) => message['kind'] === 'ready', 30_000);
  }

  /** Every kind of fault. Those that cost nobody a task leave no hit: a turn that is sent again gives what it gave. */
  readonly faults: Readonly<Record<string, () => Promise<unknown>>> = {
    'replies lost': async () => this.proxy.dropReplies(5),
    'worker killed': () => this.#killWorker(),
    'connections reset': async () => this.proxy.resetAll(),
    'clients killed': () => this.#admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
    'scripts flushed': () => this.#admin.script('FLUSH'),
    'worker frozen past its lease': () => this.#freezeWorker(toMilliseconds(this.#lease, 'lease') + 600),
    'network silent': () =>
      this.#hit('network silent', 'all', async () => {
        this.proxy.blackhole(true);
        await pause(300);
        this.proxy.blackhole(false);
      }),
    'connections stranded': () =>
      this.#hit('connections stranded', 'all', async () => {
        this.proxy.halfOpen(true);
        await pause(100);
        this.proxy.halfOpen(false);
      }),
    'Redis killed': () => this.#hit('Redis killed', 'all', () => this.redis.restart()),
  };

  async inject(name: string): Promise<void> {
    this.injected[name] = (this.injected[name] ?? 0) + 1;
    await this.faults[name]?.();
  }

  /** Enqueues `count` tasks, slowly while `underFire`; every one of them has to be acknowledged in the end. */
  async produce(count: number, underFire: () => boolean): Promise<Task[]> {
    const tasks: Task[] = [];
    for (let from = 0; from < count; from += 50) {
      const items = Array.from({ length: Math.min(50, count - from) }, (_, index) => from + index);
      const made = items.map((n) =>
        this.manager.enqueueTask('work', n, {
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

  /** Waits until nothing is left to do, and tells what came of it. */
  async settle(tasks: readonly Task[], timeout: number): Promise<Report> {
    await eventually(
      async () => {
        const [info] = await this.manager.inspectQueues(['default']);
        const { waiting, delayed, active } = info?.states ?? { waiting: 1, delayed: 1, active: 1 };
        expect(waiting + delayed + active).toBe(0);
      },
      { timeout },
    );
    let lost = 0;
    for (let start = 0; start < tasks.length; start += 200) {
      const part = await Promise.all(tasks.slice(start, start + 200).map((task) => task.status()));
      lost += part.filter((state) => state !== 'completed').length;
    }
    const ledger = (await this.#ledger.lrange(`${this.namespace}:ledger`, 0, -1)).map(
      (line) => JSON.parse(line) as Entry,
    );
    const seen = new Set(ledger.map(({ n }) => n));
    lost += tasks.length - seen.size;
    const again = this.#rerunsOf(ledger);
    const byFault: Record<string, number> = {};
    for (const fault of again) byFault[fault] = (byFault[fault] ?? 0) + 1;
    return {
      tasks: tasks.length,
      lost,
      ranAgain: again.length,
      unexplained: byFault['none'] ?? 0,
      byFault,
      faults: this.injected,
      lostReplies: this.proxy.lostReplies,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.manager.close({ timeout: 1_000 });
    await Promise.all(this.workers.map((worker) => worker.kill('SIGKILL')));
    this.#admin.disconnect();
    this.#ledger.disconnect();
    await this.proxy.stop();
    await Promise.all([this.redis.stop(), this.#ledgerServer.stop()]);
  }

  /**
   * For each run that followed a run which its handler did not fail: the fault that hit the worker of the earlier run
   * between its start and the start of the later one, which is the time it had the task; 'none' if there was none.
   */
  #rerunsOf(ledger: readonly Entry[]): string[] {
    const failed = new Set(ledger.filter(({ kind }) => kind === 'failed').map(({ token }) => token));
    const runs = new Map<number, Entry[]>();
    for (const entry of ledger)
      if (entry.kind === 'started') runs.set(entry.n, [...(runs.get(entry.n) ?? []), entry]);
    return [...runs.values()].flatMap((entries) => {
      entries.sort((a, b) => a.token - b.token);
      return entries.slice(1).flatMap((later, index) => {
        const earlier = entries[index];
        if (earlier === undefined || failed.has(earlier.token)) return [];
        const hit = this.hits.find(
          ({ worker, from, to }) =>
            (worker === 'all' || worker === earlier.worker) && from <= later.at && to >= earlier.at,
        );
        return [hit?.fault ?? 'none'];
      });
    });
  }

  async #killWorker(): Promise<void> {
    const victim = this.workers.shift();
    if (victim === undefined) return;
    await this.#hit('worker killed', victim.pid, () => victim.kill('SIGKILL'));
    await this.startWorker();
  }

  async #freezeWorker(milliseconds: number): Promise<void> {
    const [victim] = this.workers;
    if (victim === undefined) return;
    await this.#hit('worker frozen past its lease', victim.pid, async () => {
      process.kill(victim.pid, 'SIGSTOP');
      await pause(milliseconds);
      process.kill(victim.pid, 'SIGCONT');
    });
  }

  async #hit(fault: string, worker: number | 'all', work: () => Promise<unknown>): Promise<void> {
    const hit: Hit = { fault, worker, from: Date.now(), to: Infinity };
    this.hits.push(hit);
    await work();
    // The system's clock is read in several processes; what arrives late was sent before.
    hit.to = Date.now() + 50;
  }
}

/** Faults need room between them; there is no event that says "enough has gone wrong". */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
