import { spawnNode, type NodeProcess } from '@xiaoke/test-servers';
import type { Balancer } from '@xiaoke/health/discovery';

// Ten heartbeats fit into a lease: a machine that is busy with other tests may delay several.
export const lease = { ttl: 5_000, heartbeat: 500 } as const;

/** A service in a process of its own: it registers, serves, blocks when told to, and drains on SIGTERM. */
export async function startService(redisUrl: string, id: string): Promise<NodeProcess> {
  const child = spawnNode(
    {
      from: import.meta.url,
      code: `
        import { createServer } from 'node:http';
        import { createHealthCheckManager } from '@xiaoke/health';
        import { createServiceRegistry } from '@xiaoke/health/discovery';
        import { gracefulShutdown } from '@xiaoke/health/http';
        const [, , redis, id] = process.argv;
        const manager = createHealthCheckManager();
        const registry = createServiceRegistry({ redis, ttl: ${lease.ttl}, heartbeat: ${lease.heartbeat} });
        const server = createServer((request, response) => setTimeout(() => response.end(id), 5));
        server.listen(0, '127.0.0.1', async () => {
          const self = await registry.register({ id, service: 'svc', url: 'http://127.0.0.1:' + server.address().port });
          process.send({ kind: 'up' });
          process.on('message', ({ kind, ms }) => {
            if (kind !== 'block') return;
            const end = Date.now() + ms;
            while (Date.now() < end);
          });
          process.once('SIGTERM', async () => {
            const registrations = [self];
            await gracefulShutdown({ manager, server, registrations, drainDelay: 500, hooks: [() => registry.close()] });
            process.disconnect();
          });
        });
      `,
    },
    { args: [redisUrl, id] },
  );
  try {
    await child.message((message) => message['kind'] === 'up', 30_000);
    return child;
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
}

export async function get(url: string): Promise<string> {
  const response = await fetch(url);
  const text = await response.text();
  if (!response.ok) throw new Error(`status ${response.status}`);
  return text;
}

/** What came of calls that go on until they are stopped. */
export interface Traffic {
  /** What was answered, and how often. */
  readonly answers: ReadonlyMap<string, number>;
  readonly failures: readonly unknown[];
  stop(): Promise<void>;
}

/** Calls again and again, each call once, until it is stopped. */
export function startTraffic(balancer: Balancer, clients: number): Traffic {
  const answers = new Map<string, number>();
  const failures: unknown[] = [];
  let going = true;
  const calling = Array.from({ length: clients }, async () => {
    while (going) {
      try {
        const answer = await balancer.call(({ url }) => get(url), { retries: 0 });
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      } catch (error) {
        failures.push(error);
      }
      // Leaves the machine something for the services themselves; and a balancer that refuses at once must not take every
      // turn of the event loop.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
  const stop = async (): Promise<void> => {
    going = false;
    await Promise.all(calling);
  };
  return { answers, failures, stop };
}
