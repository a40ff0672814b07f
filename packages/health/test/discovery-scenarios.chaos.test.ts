import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually, spawnNode, startRedis, type NodeProcess, type RedisServer } from '@xiaoke/test-servers';
import { afterEach, expect, test } from 'vitest';
import {
  createBalancer,
  createServiceRegistry,
  type Balancer,
  type ServiceRegistry,
  type ServiceSnapshot,
} from '@xiaoke/health/discovery';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

// Ten heartbeats fit into a lease: a machine that is busy with other tests may delay several.
const lease = { ttl: 5_000, heartbeat: 500 } as const;
const ids = ({ instances }: ServiceSnapshot): string[] => instances.map(({ id }) => id).toSorted();

async function redisServer(): Promise<RedisServer> {
  const redis = await startRedis();
  closers.push(() => redis.stop());
  return redis;
}

function registryOn(redis: RedisServer): ServiceRegistry {
  const registry = createServiceRegistry({ redis: redis.url, ...lease });
  closers.push(() => registry.close());
  return registry;
}

/** A service in a process of its own: it registers, serves, blocks when told to, and drains on SIGTERM. */
async function service(redis: RedisServer, id: string): Promise<NodeProcess> {
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
    { args: [redis.url, id] },
  );
  closers.push(() => child[Symbol.asyncDispose]());
  await child.message((message) => message['kind'] === 'up');
  return child;
}

async function http(handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function balance(...args: Parameters<typeof createBalancer>): Balancer {
  const balancer = createBalancer(...args);
  closers.push(() => balancer.close());
  return balancer;
}

async function get(url: string): Promise<string> {
  const response = await fetch(url);
  const text = await response.text();
  if (!response.ok) throw new Error(`status ${response.status}`);
  return text;
}

test('scenario 12: an instance that is killed is gone within its lease and a second; one that leaves, at once', async () => {
  const redis = await redisServer();
  const watch = registryOn(redis).watch('svc');
  const [killed, leaving] = [await service(redis, 'killed'), await service(redis, 'leaving')];
  await eventually(() => ids(watch.current).length === 2);
  const at = performance.now();
  await killed.kill('SIGKILL');
  await eventually(() => ids(watch.current).join() === 'leaving', { timeoutMs: 20_000 });
  // The second is the promise; what is beyond it is for a loaded machine.
  expect(performance.now() - at).toBeLessThan(lease.ttl + 1_000 + 500);

  const registry = registryOn(redis);
  const own = await registry.register({ id: 'own', service: 'svc', url: 'http://own.test' });
  await eventually(() => ids(watch.current).includes('own'));
  const left = performance.now();
  const gone = new Promise<number>((resolve) => {
    watch.onChange((snapshot) => {
      if (!ids(snapshot).includes('own')) resolve(performance.now() - left);
    });
  });
  await own.deregister();
  expect(await gone).toBeLessThan(500);
  process.kill(leaving.pid, 'SIGTERM');
  await eventually(() => ids(watch.current).length === 0);
  expect((await leaving.exited).code).toBe(0);
}, 60_000);

test('scenarios 13 and 14: FLUSHALL and a registry that is down: traffic goes on, no list is ever empty', async () => {
  const redis = await redisServer();
  await service(redis, 'a');
  await service(redis, 'b');
  const consumer = registryOn(redis);
  const watch = consumer.watch('svc');
  const balancer = balance(consumer.watch('svc'));
  await eventually(() => ids(watch.current).length === 2);
  let least = 2;
  watch.onChange(({ instances }) => (least = Math.min(least, instances.length)));
  let going = true;
  let answers = 0;
  const failures: unknown[] = [];
  const traffic = (async () => {
    while (going) {
      try {
        await balancer.call(({ url }) => get(url), { retries: 0 });
        answers += 1;
      } catch (error) {
        failures.push(error);
      }
    }
  })();
  await redis.cli('FLUSHALL');
  const flushed = performance.now();
  await eventually(async () => {
    const { suspects, instances } = await consumer.discover('svc');
    return suspects.length === 0 && instances.length === 2;
  });
  expect(performance.now() - flushed).toBeLessThan(lease.heartbeat + 3_000);
  // Down for three leases.
  await redis.kill();
  await new Promise((resolve) => setTimeout(resolve, 3 * lease.ttl));
  expect(watch.current).toMatchObject({ stale: true });
  expect(ids(watch.current)).toEqual(['a', 'b']);
  await redis.restart();
  await eventually(
    async () => {
      const { stale, suspects, instances } = await consumer.discover('svc');
      return !stale && suspects.length === 0 && instances.length === 2;
    },
    { timeoutMs: 20_000 },
  );
  going = false;
  await traffic;
  expect(least).toBe(2);
  expect(failures).toEqual([]);
  expect(answers).toBeGreaterThan(100);
}, 90_000);

test('scenario 15: an instance whose event loop is blocked for longer than its lease comes back by itself', async () => {
  const redis = await redisServer();
  const watch = registryOn(redis).watch('svc');
  const child = await service(redis, 'blocked');
  await service(redis, 'other');
  await eventually(() => ids(watch.current).length === 2);
  child.send({ kind: 'block', ms: lease.ttl + 2_000 });
  await eventually(() => ids(watch.current).join() === 'other', { timeoutMs: 20_000 });
  await eventually(() => ids(watch.current).length === 2, { timeoutMs: 20_000 });
}, 60_000);

test('scenario 16: four instances are replaced one after the other under load, and no request fails', async () => {
  const redis = await redisServer();
  let running: NodeProcess[] = [];
  for (let index = 0; index < 4; index += 1) running.push(await service(redis, `old-${index}`));
  const balancer = balance(registryOn(redis), { service: 'svc' });
  const failures: unknown[] = [];
  const answered = new Set<string>();
  let going = true;
  const clients = Array.from({ length: 8 }, async () => {
    while (going) {
      try {
        answered.add(await balancer.call(({ url }) => get(url), { retries: 0 }));
      } catch (error) {
        failures.push(error);
      }
    }
  });
  for (let index = 0; index < 4; index += 1) {
    const [old, ...others] = running;
    running = [...others, await service(redis, `new-${index}`)];
    if (old === undefined) continue;
    process.kill(old.pid, 'SIGTERM');
    expect((await old.exited).code).toBe(0);
  }
  await eventually(() => answered.size === 8);
  going = false;
  await Promise.all(clients);
  expect(failures).toEqual([]);
}, 120_000);

test('scenario 17: of real servers, one that fails fast causes few errors, a slow one gets little, a mended one its share', async () => {
  let broken = true;
  const steady: RequestListener = (_request, response) => void setTimeout(() => response.end('ok'), 20);
  const urls = [
    await http(steady),
    await http(steady),
    await http((_request, response) => void setTimeout(() => response.end('ok'), 1_000)),
    await http((request, response) => {
      if (!broken) steady(request, response);
      else response.writeHead(500).end();
    }),
  ];
  const balancer = balance(urls);
  const counts = new Map<string, number>();
  let errors = 0;
  const load = async (milliseconds: number): Promise<void> => {
    counts.clear();
    const end = performance.now() + milliseconds;
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        while (performance.now() < end) {
          const attempt = balancer.call(
            async ({ url }) => {
              counts.set(url, (counts.get(url) ?? 0) + 1);
              return await get(url);
            },
            { retries: 0 },
          );
          await attempt.catch(() => (errors += 1));
        }
      }),
    );
  };
  const share = (index: number): number =>
    (counts.get(urls[index] ?? '') ?? 0) / [...counts.values()].reduce((sum, count) => sum + count, 0);
  await load(4_000);
  // Five errors leave it out, with what was under way then, and one probe every few seconds.
  expect(errors).toBeLessThan(5 + 4 + 4);
  // Far from its quarter; how far exactly, the simulations tell, whose machine is never busy.
  expect(share(2)).toBeLessThan(0.1);
  broken = false;
  const mended = performance.now();
  do await load(500);
  while (share(3) < 0.8 * (1 / 3) && performance.now() - mended < 20_000);
  expect(performance.now() - mended).toBeLessThan(15_000);
}, 60_000);

test('scenario 18: with every instance failing, calls are still spread, and there is never no instance', async () => {
  const redis = await redisServer();
  const registry = registryOn(redis);
  for (const id of ['a', 'b', 'c', 'd'])
    await registry.register({ id, service: 'svc', url: 'http://127.0.0.1:1' });
  const balancer = balance(registry.watch('svc'));
  const tried = new Map<string, number>();
  for (let call = 0; call < 200; call += 1) {
    const attempt = balancer.call(async ({ id, url }) => {
      tried.set(id, (tried.get(id) ?? 0) + 1);
      return await get(url);
    });
    await expect(attempt).rejects.toThrow('fetch failed');
  }
  expect(balancer.stats().unserved).toBe(0);
  expect(tried.size).toBe(4);
});

test('scenario 19: the own zone is preferred, and spills over when too little of it is well', async () => {
  const redis = await redisServer();
  const registry = registryOn(redis);
  const near = [];
  for (const id of ['n1', 'n2', 'n3', 'n4'])
    near.push(await registry.register({ id, service: 'svc', zone: 'here', url: 'http://near.test' }));
  for (const id of ['f1', 'f2'])
    await registry.register({ id, service: 'svc', zone: 'there', url: 'http://far.test' });
  const consumer = registryOn(redis);
  const balancer = balance(consumer, { service: 'svc', locality: { zone: 'here' } });
  await balancer.call(() => {});
  const farShare = (): number => {
    let far = 0;
    for (let pick = 0; pick < 1_000; pick += 1) {
      using chosen = balancer.pick();
      if (chosen.instance.zone === 'there') far += 1;
    }
    return far / 1_000;
  };
  expect(farShare()).toBe(0);
  await near[0]?.setStatus('unhealthy');
  await near[1]?.setStatus('unhealthy');
  await eventually(() => balancer.stats().available === 4);
  expect(farShare()).toBeGreaterThan(0.15);
  expect(farShare()).toBeLessThan(0.5);
});
