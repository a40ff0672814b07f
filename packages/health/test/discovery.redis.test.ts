import { randomUUID } from 'node:crypto';
import { sharedRedis, startRedis, startRedisCluster } from '@xiaoke/test-servers';
import { Cluster, Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually, recordingLogger, recordingMetrics, trackLeaks } from '@xiaoke/core/testing';
import { createHealthCheckManager } from '@xiaoke/health';
import {
  createServiceRegistry,
  type Registration,
  type ServiceRegistry,
  type ServiceRegistryOptions,
  type ServiceSnapshot,
} from '@xiaoke/health/discovery';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const quick = { ttl: 900, heartbeat: 200, commandTimeout: 300 } as const;
/** Where the server stays up, how long it takes to connect on a busy machine is not what is tested. */
const patient = { ...quick, commandTimeout: 3_000 } as const;
const at = (id: string): string => `http://${id}.test:80`;
const ids = ({ instances }: ServiceSnapshot): string[] => instances.map(({ id }) => id).toSorted();

describe.each(['memory', 'redis'] as const)('on %s', (kind) => {
  async function registries(): Promise<(options?: ServiceRegistryOptions) => ServiceRegistry> {
    const namespace = `t-${randomUUID()}`;
    const where = kind === 'redis' ? { redis: (await sharedRedis()).url } : {};
    return (options = {}) => {
      const registry = createServiceRegistry({ ...where, namespace, ...options });
      closers.push(() => registry.close());
      return registry;
    };
  }

  test('what is registered is discovered by everybody, with everything that was said of it', async () => {
    const make = await registries();
    const [mine, theirs] = [make(), make()];
    await mine.register({
      id: 'a',
      service: 'svc',
      url: at('a'),
      weight: 2,
      zone: 'z1',
      region: 'r1',
      version: '1.2.3',
      tags: ['x'],
      metadata: { rack: '7' },
    });
    const { instances, stale, version } = await theirs.discover('svc');
    expect(instances).toEqual([
      {
        id: 'a',
        service: 'svc',
        url: at('a'),
        weight: 2,
        zone: 'z1',
        region: 'r1',
        version: '1.2.3',
        tags: ['x'],
        metadata: { rack: '7' },
        status: 'healthy',
        registeredAt: expect.any(Number),
      },
    ]);
    expect(stale).toBe(false);
    expect(await theirs.services()).toEqual(['svc']);
    await mine.register({ id: 'b', service: 'svc', url: at('b') });
    const next = await theirs.discover('svc');
    expect([ids(next), next.version > version]).toEqual([['a', 'b'], true]);
    expect((await theirs.discover('nobody')).instances).toEqual([]);
    expect(await theirs.services()).toEqual(['svc']);
  });

  test('a filter chooses by zone, region, version, tags, metadata, status, or a function', async () => {
    const registry = (await registries())();
    const base = { service: 'svc', url: at('x') };
    await registry.register({ ...base, id: 'a', zone: 'z1', version: '1', tags: ['gpu', 'eu'] });
    await registry.register({ ...base, id: 'b', zone: 'z2', region: 'r', metadata: { tier: 'gold' } });
    await registry.register({ ...base, id: 'c', status: 'draining' });
    const found = async (filter: Parameters<ServiceRegistry['discover']>[1]): Promise<string[]> =>
      ids(await registry.discover('svc', filter));
    expect(await found({ zone: 'z1' })).toEqual(['a']);
    expect(await found({ region: 'r' })).toEqual(['b']);
    expect(await found({ version: '1', tags: ['gpu'] })).toEqual(['a']);
    expect(await found({ metadata: { tier: 'gold' } })).toEqual(['b']);
    expect(await found(({ id }) => id > 'a')).toEqual(['b']);
    expect(await found({ status: 'any' })).toEqual(['a', 'b', 'c']);
    expect(await found({ status: ['draining'] })).toEqual(['c']);
    expect((await registry.discover('svc')).unroutable.map(({ id }) => id)).toEqual(['c']);
  });

  test('draining takes new traffic away, a goodbye takes the instance away, and watchers hear of both', async () => {
    const make = await registries();
    const watch = make().watch('svc');
    const registry = make();
    const a = await registry.register({ id: 'a', service: 'svc', url: at('a') });
    await registry.register({ id: 'b', service: 'svc', url: at('b') });
    await eventually(() => expect(ids(watch.current)).toEqual(['a', 'b']));
    await a.setStatus('draining');
    await eventually(() => expect(ids(watch.current)).toEqual(['b']));
    expect(watch.current.unroutable.map(({ id, status }) => [id, status])).toEqual([['a', 'draining']]);
    await a.setStatus('healthy');
    await eventually(() => expect(ids(watch.current)).toEqual(['a', 'b']));
    const said = performance.now();
    await a[Symbol.asyncDispose]();
    await eventually(() => expect(watch.current.unroutable.length + watch.current.instances.length).toBe(1));
    expect(performance.now() - said).toBeLessThan(500);
    expect(a.state).toBe('closed');
    await expect(a.setStatus('healthy')).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' });
  });

  test('weight, zone and metadata can change while it is registered', async () => {
    const make = await registries();
    const watch = make().watch('svc');
    const a = await make().register({ id: 'a', service: 'svc', url: at('a') });
    await a.update({ weight: 5, zone: 'z2', metadata: { hot: 'yes' } });
    await eventually(() =>
      expect(watch.current.instances[0]).toMatchObject({ weight: 5, zone: 'z2', metadata: { hot: 'yes' } }),
    );
    await expect(a.update({ weight: -1 })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    expect(a.instance.weight).toBe(5);
  });

  test('iterating gives what is known, then the newest state after changes, and ends with the registry', async () => {
    const make = await registries();
    const registry = make();
    const other = make();
    await other.register({ id: 'a', service: 'svc', url: at('a') });
    const seen: string[][] = [];
    const loop = (async () => {
      for await (const snapshot of registry.watch('svc')) {
        seen.push(ids(snapshot));
        if (seen.length === 1) await other.register({ id: 'b', service: 'svc', url: at('b') });
      }
    })();
    await eventually(() => expect(seen.at(-1)).toEqual(['a', 'b']));
    expect(seen[0]).toEqual(['a']);
    await registry.close();
    await loop;
  });

  test('leaving a loop, a signal and close() each end a watch', async () => {
    const registry = (await registries())();
    await registry.register({ id: 'a', service: 'svc', url: at('a') });
    for await (const _snapshot of registry.watch('svc')) break;
    expect(registry.stats().watches).toBe(0);
    const controller = new AbortController();
    const watch = registry.watch('svc', { signal: controller.signal });
    expect((await watch.ready()).instances.length).toBe(1);
    expect(registry.stats().watches).toBe(1);
    controller.abort();
    expect(registry.stats().watches).toBe(0);
    const third = registry.watch('svc');
    third.close();
    expect(registry.stats().watches).toBe(0);
    const result = await third[Symbol.asyncIterator]().next();
    expect(result.done).toBe(true);
  });

  test('an instance that stops beating is gone within its lease', async () => {
    const make = await registries();
    const watch = make(quick).watch('svc');
    const dying = make({ ...quick, heartbeat: 300 });
    const registration = await dying.register({ id: 'a', service: 'svc', url: at('a') });
    await make(quick).register({ id: 'b', service: 'svc', url: at('b') });
    await eventually(() => expect(ids(watch.current)).toEqual(['a', 'b']));
    stopBeating(dying, registration);
    const stopped = performance.now();
    await eventually(() => expect(ids(watch.current)).toEqual(['b']));
    expect(performance.now() - stopped).toBeLessThan(quick.ttl + 1_000);
  });

  test('of two registrations under one id the later one counts, and the earlier can neither renew nor remove it', async () => {
    const make = await registries();
    const [first, second] = [make(quick), make(quick)];
    const old = await first.register({ id: 'a', service: 'svc', url: at('old') });
    const replaced = new Promise<Registration>((resolve) => first.once('replaced', resolve));
    const now = await second.register({ id: 'a', service: 'svc', url: at('new') });
    expect(await replaced).toBe(old);
    expect(old.state).toBe('replaced');
    await old.deregister();
    expect((await second.discover('svc')).instances.map(({ url }) => url)).toEqual([at('new')]);
    expect(now.state).toBe('registered');
  });

  test('its status follows a group of checks, and no check takes a drain back', async () => {
    const registry = (await registries())();
    await using health = createHealthCheckManager();
    let status: 'healthy' | 'unhealthy' = 'healthy';
    health.registerCustomChecker('db', () => status, { config: { failureThreshold: 1 } });
    const a = await registry.register({ id: 'a', service: 'svc', url: at('a') });
    const unbind = a.bindHealth(health);
    expect(a.instance.status).toBe('unknown');
    await health.check('db');
    await eventually(async () => expect(ids(await registry.discover('svc'))).toEqual(['a']));
    status = 'unhealthy';
    await health.check('db');
    await eventually(async () => expect(ids(await registry.discover('svc'))).toEqual([]));
    await a.setStatus('draining');
    status = 'healthy';
    await health.check('db');
    expect(a.instance.status).toBe('draining');
    await a.setStatus('healthy');
    unbind();
    status = 'unhealthy';
    await health.check('db');
    expect(a.instance.status).toBe('healthy');
  });

  test('numbers, events and a closed registry', async () => {
    const metrics = recordingMetrics();
    const registry = (await registries())({ metrics });
    const changes: ServiceSnapshot[] = [];
    registry.on('change', (snapshot) => void changes.push(snapshot));
    await registry.register({ id: 'a', service: 'svc', url: at('a') });
    await registry.discover('svc');
    await metrics.collect();
    expect(metrics.value('xiaoke_discovery_instances', { target: 'svc', status: 'healthy' })).toBe(1);
    expect(metrics.value('xiaoke_discovery_instances', { target: 'svc', status: 'draining' })).toBe(0);
    expect(changes.length).toBeGreaterThan(0);
    expect(registry.stats()).toMatchObject({
      registrations: 1,
      services: { svc: { instances: 1, stale: false } },
    });
    const indicator = registry.healthIndicator();
    const { signal } = new AbortController();
    expect(await indicator.check({ signal })).toEqual({ status: 'healthy' });
    await registry.close();
    expect(await indicator.check({ signal })).toMatchObject({ status: 'unhealthy' });
    for (const late of [
      registry.discover('svc'),
      registry.services(),
      registry.register({ id: 'a', service: 's', url: at('a') }),
    ])
      await expect(late).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' });
    expect(() => registry.watch('svc')).toThrow(/closed/);
  });

  test('closing says goodbye and leaves no timer and no socket', async () => {
    const make = await registries();
    const other = make();
    await other.services();
    const check = trackLeaks();
    const registry = make();
    await registry.register({ id: 'a', service: 'svc', url: at('a') });
    const watch = registry.watch('svc');
    await watch.ready();
    await registry.close();
    await registry.close();
    await check(5_000);
    expect((await other.discover('svc')).instances).toEqual([]);
    expect(await other.services()).toEqual([]);
  });
});

/** As a process that was killed: nothing is renewed any more, and nobody says goodbye. */
function stopBeating(registry: ServiceRegistry, registration: Registration): void {
  // The registration is told that it was replaced, which ends its heartbeats and says nothing to the registry.
  void (registration as unknown as { beaten(outcome: string): Promise<void> }).beaten('replaced');
  expect(registry.stats().registrations).toBe(0);
}

test('FLUSHALL: consumers never see an empty list, and everybody is back within one heartbeat', async () => {
  await using redis = await startRedis();
  await using provider = createServiceRegistry({ redis: redis.url, ...patient });
  await using consumer = createServiceRegistry({ redis: redis.url, ...patient });
  await provider.register({ id: 'a', service: 'svc', url: at('a') });
  await provider.register({ id: 'b', service: 'svc', url: at('b') });
  const watch = consumer.watch('svc');
  await watch.ready();
  const seen: number[] = [];
  watch.onChange(({ instances }) => void seen.push(instances.length));
  const again = new Promise((resolve) => provider.once('reregistered', resolve));
  const flushed = performance.now();
  await redis.cli('FLUSHALL');
  expect(ids(await consumer.discover('svc'))).toEqual(['a', 'b']);
  await again;
  expect(performance.now() - flushed).toBeLessThan(1_000);
  await eventually(() => expect(provider.stats().reregistrations).toBe(2));
  await eventually(async () => {
    const { suspects, instances } = await consumer.discover('svc');
    expect([suspects.length, instances.length]).toEqual([0, 2]);
  });
  expect(Math.min(2, ...seen)).toBe(2);
  // Whoever comes only now finds them too.
  await using late = createServiceRegistry({ redis: redis.url });
  expect(ids(await late.discover('svc'))).toEqual(['a', 'b']);
});

test('an instance that died with the data is let go after a while: no zombies', async () => {
  await using redis = await startRedis();
  await using provider = createServiceRegistry({ redis: redis.url, ...patient });
  await using consumer = createServiceRegistry({ redis: redis.url, ...patient });
  const dead = await provider.register({ id: 'dead', service: 'svc', url: at('dead') });
  const watch = consumer.watch('svc');
  await watch.ready();
  stopBeating(provider, dead);
  await redis.cli('FLUSHALL');
  const { instances, suspects } = await consumer.discover('svc');
  expect([instances.length, suspects]).toEqual([1, ['dead']]);
  await eventually(() => expect(watch.current.instances).toEqual([]), { timeout: 10_000 });
});

test.each(['paused', 'killed'] as const)(
  'a registry that is %s for longer than a lease: traffic goes on with the stale list, and nothing is lost after it',
  async (how) => {
    await using redis = await startRedis();
    await using provider = createServiceRegistry({ redis: redis.url, ...quick });
    await using consumer = createServiceRegistry({ redis: redis.url, ...quick });
    const a = await provider.register({ id: 'a', service: 'svc', url: at('a') });
    await provider.register({ id: 'b', service: 'svc', url: at('b') });
    const watch = consumer.watch('svc');
    await watch.ready();
    const sizes: number[] = [];
    watch.onChange(({ instances }) => void sizes.push(instances.length));
    const lost = new Promise((resolve) => provider.once('lost', resolve));
    if (how === 'paused') redis.pause();
    else await redis.kill();
    await lost;
    expect(a.state).toBe('lost');
    await eventually(() => expect(watch.current).toMatchObject({ stale: true }));
    const asked = performance.now();
    for (let time = 0; time < 50; time += 1) {
      const answer = await consumer.discover('svc');
      expect([ids(answer), answer.stale]).toEqual([['a', 'b'], true]);
    }
    // Not fifty timeouts one after the other.
    expect(performance.now() - asked).toBeLessThan(2_000);
    // A status that cannot be told now is told later.
    await expect(a.setStatus('degraded')).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
    if (how === 'paused') redis.resume();
    else await redis.restart();
    await eventually(() => expect(a.state).toBe('registered'), { timeout: 10_000 });
    await eventually(
      async () => {
        const now = await consumer.discover('svc');
        expect([ids(now), now.stale, now.suspects.length]).toEqual([['a', 'b'], false, 0]);
        expect(now.instances.find(({ id }) => id === 'a')?.status).toBe('degraded');
      },
      { timeout: 10_000 },
    );
    expect(Math.min(2, ...sizes)).toBe(2);
  },
);

test('a registry that was never reached refuses to register and to answer, in bounded time', async () => {
  await using redis = await startRedis();
  redis.pause();
  await using registry = createServiceRegistry({ redis: redis.url, ...quick });
  const started = performance.now();
  const refused = { code: 'REGISTRY_UNAVAILABLE' };
  await expect(registry.register({ id: 'a', service: 'svc', url: at('a') })).rejects.toMatchObject(refused);
  await expect(registry.discover('svc')).rejects.toMatchObject(refused);
  await expect(registry.services()).rejects.toMatchObject(refused);
  const watch = registry.watch('svc');
  await expect(watch.ready(100)).rejects.toMatchObject({ code: 'TIMEOUT' });
  expect(await registry.healthIndicator().check({ signal: new AbortController().signal })).toEqual({
    status: 'degraded',
    code: 'REGISTRY_UNAVAILABLE',
  });
  await registry.close();
  expect(performance.now() - started).toBeLessThan(10_000);
  redis.resume();
});

test('most of many instances vanishing at once is a sign of blindness: they are kept for a bounded time', async () => {
  const { url: redis } = await sharedRedis();
  const namespace = `t-${randomUUID()}`;
  const options = { redis, namespace, ...quick, emptyProtection: 1_500 };
  await using provider = createServiceRegistry(options);
  await using consumer = createServiceRegistry(options);
  const held = [];
  for (const id of ['a', 'b', 'c', 'd', 'e'])
    held.push(await provider.register({ id, service: 'svc', url: at(id) }));
  const watch = consumer.watch('svc');
  await watch.ready();
  for (const each of held)
    void (each as unknown as { beaten(outcome: string): Promise<void> }).beaten('replaced');
  await eventually(() => expect(watch.current.suspects.length).toBeGreaterThan(0), { timeout: 5_000 });
  expect(watch.current.instances.length).toBeGreaterThanOrEqual(2);
  await eventually(() => expect(watch.current.instances).toEqual([]), { timeout: 5_000 });
});

test('what was asked for longest ago is forgotten, what is watched is not', async () => {
  await using registry = createServiceRegistry({ namespace: `t-${randomUUID()}` });
  await registry.register({ id: 'a', service: 'watched', url: at('a') });
  const watch = registry.watch('watched');
  await watch.ready();
  for (let index = 0; index < 1_100; index += 1) await registry.discover(`svc-${index}`);
  const known = Object.keys(registry.stats().services);
  expect(known.length).toBeLessThanOrEqual(1_000);
  expect([known.includes('watched'), known.includes('svc-0'), known.includes('svc-1099')]).toEqual([
    true,
    false,
    true,
  ]);
  expect(ids(watch.current)).toEqual(['a']);
});

test('a lost message is repaired by looking again', async () => {
  await using redis = await startRedis();
  await using provider = createServiceRegistry({ redis: redis.url });
  await using consumer = createServiceRegistry({ redis: redis.url, repairEvery: 200 });
  const watch = consumer.watch('svc');
  await watch.ready();
  // Every subscription is cut at the very moment in which something happens.
  await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await provider.register({ id: 'a', service: 'svc', url: at('a') });
  await eventually(() => expect(ids(watch.current)).toEqual(['a']), { timeout: 5_000 });
});

test('a client of yours is used beside your own commands, and stays open', async () => {
  const { url } = await sharedRedis();
  const mine = new Redis(url);
  const registry = createServiceRegistry({ redis: mine, namespace: `t-${randomUUID()}` });
  const blocked = mine.blpop(`t-${randomUUID()}`, 1);
  await registry.register({ id: 'a', service: 'svc', url: at('a') });
  expect(ids(await registry.discover('svc'))).toEqual(['a']);
  await registry.close();
  await blocked;
  expect(await mine.ping()).toBe('PONG');
  mine.disconnect();
});

test('what somebody else wrote into the registry is left out, not thrown', async () => {
  const { url } = await sharedRedis();
  const namespace = `t-${randomUUID()}`;
  await using registry = createServiceRegistry({ redis: url, namespace });
  await registry.register({ id: 'a', service: 'svc', url: at('a') });
  const raw = new Redis(url);
  await raw.hset(`${namespace}:discovery:{svc}:i`, 'evil', '{"id":"evil"}', 'worse', 'no json');
  await raw.hincrby(`${namespace}:discovery:{svc}:m`, 'v', 1);
  raw.disconnect();
  expect(ids(await registry.discover('svc'))).toEqual(['a']);
});

test.each([
  [{ id: '' }, 'id'],
  [{ id: 'a b' }, 'id'],
  [{ service: 'x{y}' }, 'service'],
  [{ url: 'nonsense hunter2' }, 'url'],
  [{ weight: 0 }, 'weight'],
  [{ weight: 1e9 }, 'weight'],
  [{ zone: '' }, 'zone'],
  [{ tags: [1] }, 'tags'],
  [{ metadata: { a: 1 } }, 'metadata'],
  [{ metadata: { a: 'x'.repeat(20_000) } }, 'metadata'],
  [{ status: 'up' }, 'status'],
])('an instance with %j is refused', async (wrong, option) => {
  await using registry = createServiceRegistry({ logger: recordingLogger() });
  const refused = registry.register({ id: 'a', service: 's', url: at('a'), ...(wrong as object) });
  await expect(refused).rejects.toMatchObject({ code: 'INVALID_OPTION', details: { option } });
  await expect(refused).rejects.not.toThrow(/hunter2/);
  await registry.close();
});

test.each([
  [{ ttl: 10 }, 'ttl'],
  [{ ttl: 1_000, heartbeat: 1_000 }, 'heartbeat'],
  [{ namespace: 'a b' }, 'namespace'],
  [{ jitter: 1 }, 'jitter'],
  [{ redis: 'http://x' }, 'redis'],
  [{ redis: 7 }, 'redis'],
  [{ commandTimeout: 0 }, 'commandTimeout'],
])('a registry with %j is refused', (options, option) => {
  expect(() => createServiceRegistry(options as never)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', details: { option } }),
  );
});

test('a Redis Cluster is a registry like any other, through a client of yours', async () => {
  await using cluster = await startRedisCluster();
  const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })));
  const options = { redis: client, heartbeat: 200 };
  const [provider, consumer] = [1, 2].map(() => createServiceRegistry(options));
  if (provider === undefined || consumer === undefined) throw new Error('unreachable');
  try {
    for (const service of ['svc-a', 'svc-b', 'svc-c'])
      await provider.register({ id: 'one', service, url: at('one') });
    expect(await consumer.services()).toEqual(['svc-a', 'svc-b', 'svc-c']);
    const watch = consumer.watch('svc-b');
    await eventually(() => expect(ids(watch.current)).toEqual(['one']));
    const two = await provider.register({ id: 'two', service: 'svc-b', url: at('two') });
    await eventually(() => expect(ids(watch.current)).toEqual(['one', 'two']));
    await eventually(() => expect(provider.stats().heartbeats).toBeGreaterThan(8));
    expect(provider.stats()).toMatchObject({ failedHeartbeats: 0, reregistrations: 0 });
    await two.deregister();
    await eventually(() => expect(ids(watch.current)).toEqual(['one']));
  } finally {
    await Promise.all([provider.close(), consumer.close()]);
    client.disconnect();
  }
}, 120_000);
