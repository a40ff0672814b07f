import { isDeepStrictEqual } from 'node:util';
import { eventually, spawnNode, startRedis, type NodeProcess, type RedisServer } from '@xiaoke/test-servers';
import { afterEach, expect, test } from 'vitest';
import {
  createBalancer,
  createServiceRegistry,
  type Balancer,
  type ServiceRegistry,
  type ServiceSnapshot,
} from '@xiaoke/health/discovery';
import { get, lease, startService, startTraffic, type Traffic } from './support/service.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

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

function balance(...args: Parameters<typeof createBalancer>): Balancer {
  const balancer = createBalancer(...args);
  closers.push(() => balancer.close());
  return balancer;
}

async function service(redis: RedisServer, id: string): Promise<NodeProcess> {
  const child = await startService(redis.url, id);
  closers.push(() => child[Symbol.asyncDispose]());
  return child;
}

function traffic(balancer: Balancer, clients: number): Traffic {
  const started = startTraffic(balancer, clients);
  closers.push(() => started.stop());
  return started;
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

test('scenario 13: FLUSHALL: all are back within a heartbeat, and no list is ever empty', async () => {
  const redis = await redisServer();
  await service(redis, 'a');
  await service(redis, 'b');
  const consumer = registryOn(redis);
  const watch = consumer.watch('svc');
  const balancer = balance(consumer.watch('svc'));
  await eventually(() => ids(watch.current).length === 2);
  let least = 2;
  watch.onChange(({ instances }) => (least = Math.min(least, instances.length)));
  const { answers, failures, stop } = traffic(balancer, 1);
  await eventually(() => answers.size === 2);
  await redis.cli('FLUSHALL');
  const flushed = performance.now();
  await eventually(async () => {
    const { suspects, instances } = await consumer.discover('svc');
    return suspects.length === 0 && instances.length === 2;
  });
  expect(performance.now() - flushed).toBeLessThan(lease.heartbeat + 3_000);
  await stop();
  expect(least).toBe(2);
  expect(failures).toEqual([]);
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
  const { answers, failures, stop } = traffic(balancer, 8);
  for (let index = 0; index < 4; index += 1) {
    const [old, ...others] = running;
    running = [...others, await service(redis, `new-${index}`)];
    if (old === undefined) continue;
    process.kill(old.pid, 'SIGTERM');
    expect((await old.exited).code).toBe(0);
  }
  await eventually(() => answers.size === 8);
  await stop();
  expect(failures).toEqual([]);
}, 120_000);

/** A server in a process of its own, so that how busy the caller is does not make it slow; `delay` and `broken` can be set. */
async function node(): Promise<{
  readonly url: string;
  set(state: Record<string, unknown>): Promise<unknown>;
}> {
  const child = spawnNode({
    from: import.meta.url,
    code: `
      import { createServer } from 'node:http';
      let state = { delay: 20, broken: false };
      process.on('message', ({ kind, ...change }) => {
        Object.assign(state, change);
        process.send({ kind: 'set', change });
      });
      const server = createServer((request, response) => {
        if (state.broken) response.writeHead(500).end();
        else setTimeout(() => response.end('ok'), state.delay);
      });
      server.listen(0, '127.0.0.1', () => process.send({ kind: 'up', port: server.address().port }));
    `,
  });
  closers.push(() => child[Symbol.asyncDispose]());
  const { port } = await child.message((message) => message['kind'] === 'up');
  return {
    url: `http://127.0.0.1:${String(port)}`,
    set: async (state) => {
      child.send({ kind: 'set', ...state });
      await child.message(({ kind, change }) => kind === 'set' && isDeepStrictEqual(change, state));
    },
  };
}

interface Load {
  readonly errors: number;
  share(url: string): number;
  /** The median in ms. */
  took(url: string): number;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

test('scenario 17: of real servers, one that fails fast causes few errors, one ten times slower gets little, a mended one its share', async () => {
  const nodes = await Promise.all([node(), node(), node(), node()]);
  const [first, , slow, broken] = nodes;
  if (first === undefined || slow === undefined || broken === undefined) throw new Error('unreachable');
  const CLIENTS = 4;
  // Ten times what a steady one takes here and now, as the callers see it.
  const took: number[] = [];
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      for (let call = 0; call < 25; call += 1) {
        const start = performance.now();
        await get(first.url);
        took.push(performance.now() - start);
      }
    }),
  );
  await slow.set({ delay: 10 * median(took) });
  await broken.set({ broken: true });
  const balancer = balance(nodes.map(({ url }) => url));
  const load = async (calls: number): Promise<Load> => {
    const durations = new Map<string, number[]>();
    let [left, errors] = [calls, 0];
    await Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        for (; left > 0; left -= 1) {
          const attempt = balancer.call(
            async ({ url }) => {
              const start = performance.now();
              const answer = await get(url).finally(() => {
                durations.set(url, [...(durations.get(url) ?? []), performance.now() - start]);
              });
              return answer;
            },
            { retries: 0 },
          );
          await attempt.catch(() => (errors += 1));
        }
      }),
    );
    const total = [...durations.values()].reduce((sum, { length }) => sum + length, 0);
    return {
      errors,
      share: (url) => (durations.get(url)?.length ?? 0) / total,
      took: (url) => median(durations.get(url) ?? []),
    };
  };
  const early = await load(300);
  const settled = await load(1_200);
  // Five errors leave it out, with what was under way then, and one probe every few seconds.
  expect(early.errors + settled.errors).toBeLessThan(0.01 * 1_500);
  // Two percent at ten times slower; a machine that has become busier since may have made the others slower too.
  const slower = settled.took(slow.url) / settled.took(first.url);
  expect(settled.share(slow.url)).toBeLessThan(0.02 * Math.max(1, 10 / slower));
  await broken.set({ broken: false });
  const mended = performance.now();
  for (;;) {
    const { share } = await load(100);
    if (share(broken.url) >= 0.8 / 3 || performance.now() - mended > 20_000) break;
  }
  expect(performance.now() - mended).toBeLessThan(15_000);
}, 120_000);

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
