import {
  chaosProxy,
  eventually,
  startRedis,
  startRedisCluster,
  startRedisSentinel,
  type RedisSentinel,
} from '@xiaoke/test-servers';
import { Cluster } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
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

// Commands that are not answered cut their connection well within a lease.
const lease = { ttl: 6_000, heartbeat: 400, commandTimeout: 1_500 } as const;
const patient = { timeoutMs: 40_000 } as const;
const at = (id: string): string => `http://${id}.test:80`;
const ids = ({ instances }: ServiceSnapshot): string =>
  instances
    .map(({ id }) => id)
    .toSorted()
    .join();

function registry(redis: ServiceRegistryOptions['redis']): ServiceRegistry {
  const made = createServiceRegistry({ redis, ...lease });
  closers.push(() => made.close());
  return made;
}

async function sentinelGroup(): Promise<RedisSentinel> {
  const group = await startRedisSentinel({ sentinels: 3 });
  closers.push(() => group.stop());
  return group;
}

const through = ({ sentinels, name }: RedisSentinel): ServiceRegistryOptions['redis'] => ({
  sentinels: sentinels.map(({ host, port }) => ({ host, port })),
  name,
});

/** Registers, however busy the machine is or whoever is just being elected. */
const enrol = (provider: ServiceRegistry, service: string, id: string): Promise<Registration> =>
  eventually(() => provider.register({ id, service, url: at(id) }).catch(() => undefined), patient);

type Fault = (group: RedisSentinel) => Promise<() => unknown>;

const faults: Readonly<Record<string, Fault>> = {
  'is replaced on command': async (group) => {
    await group.failover();
    return () => {};
  },
  'is killed': async (group) => {
    const old = await group.master();
    await old.kill();
    await group.masterOtherThan(old);
    return () => old.restart();
  },
  'freezes, and keeps its connections': async (group) => {
    const old = await group.master();
    old.pause();
    await group.masterOtherThan(old);
    return () => old.resume();
  },
};

test.each(Object.keys(faults))(
  'through Sentinel: the master %s: nobody is lost, no list is ever empty, and news go on',
  async (kind) => {
    const group = await sentinelGroup();
    const [provider, consumer] = [registry(through(group)), registry(through(group))];
    for (const id of ['a', 'b']) await enrol(provider, 'svc', id);
    const watch = consumer.watch('svc');
    await eventually(() => ids(watch.current) === 'a,b', patient);
    let least = 2;
    watch.onChange(({ instances }) => (least = Math.min(least, instances.length)));

    const mend = (await faults[kind]?.(group)) ?? (() => {});
    // The registry is asked, and both beat, on the new master: the leases of before have long ended.
    const beaten = provider.stats().heartbeats;
    await new Promise((resolve) => setTimeout(resolve, lease.ttl));
    await eventually(() => provider.stats().heartbeats >= beaten + 10, patient);
    await eventually(async () => {
      const { stale, suspects, instances } = await consumer.discover('svc');
      return !stale && suspects.length === 0 && instances.length === 2;
    }, patient);
    // Changes are told again.
    const third = await enrol(provider, 'svc', 'c');
    await eventually(() => ids(watch.current) === 'a,b,c', patient);
    await mend();
    await third.deregister();
    await eventually(() => ids(watch.current) === 'a,b', patient);
    const master = await group.master();
    await eventually(
      async () =>
        (await master.cli('HKEYS', 'xiaoke:discovery:{svc}:i')).split('\n').toSorted().join() === 'a,b',
      patient,
    );
    expect(least).toBe(2);
  },
  180_000,
);

test.each(['killed, and comes back empty', 'frozen'])(
  'on a Cluster: the node of a service is %s: its instances are all back, and no list is ever empty',
  async (kind) => {
    await using cluster = await startRedisCluster();
    const client = new Cluster(
      cluster.nodes.map(({ host, port }) => ({ host, port })),
      { redisOptions: { connectTimeout: 1_000 } },
    );
    client.on('error', () => {});
    closers.push(() => client.disconnect());
    const [provider, consumer] = [registry(client), registry(client)];
    const services = ['svc-a', 'svc-b', 'svc-c', 'svc-d'];
    for (const service of services) for (const id of ['a', 'b']) await enrol(provider, service, id);
    const watches = services.map((service) => consumer.watch(service));
    await eventually(() => watches.every(({ current }) => ids(current) === 'a,b'), patient);
    let least = 2;
    for (const watch of watches)
      watch.onChange(({ instances }) => (least = Math.min(least, instances.length)));

    const node = await cluster.nodeOf('xiaoke:discovery:{svc-a}:i');
    if (kind === 'frozen') node.pause();
    else await node.kill();
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    if (kind === 'frozen') node.resume();
    else await node.restart();
    await cluster.healthy();
    await eventually(async () => {
      const found = await Promise.all(services.map((service) => consumer.discover(service)));
      return found.every(
        ({ stale, suspects, instances }) => !stale && suspects.length === 0 && instances.length === 2,
      );
    }, patient);
    const news = await enrol(provider, 'svc-a', 'c');
    await eventually(() => watches[0] !== undefined && ids(watches[0].current) === 'a,b,c', patient);
    await news.deregister();
    expect(least).toBe(2);
  },
  180_000,
);

test('a connection that swallows everything is replaced, though the server has never been away', async () => {
  await using redis = await startRedis();
  await using proxy = await chaosProxy({ target: { host: redis.host, port: redis.port } });
  const provider = registry(proxy.url('redis'));
  const consumer = registry(redis.url);
  await enrol(provider, 'svc', 'a');
  const watch = consumer.watch('svc');
  await eventually(() => ids(watch.current) === 'a', patient);
  let least = 1;
  watch.onChange(({ instances }) => (least = Math.min(least, instances.length)));
  // As after a lost NAT entry: what is open now stays dead, what is opened later works.
  proxy.halfOpen(true);
  proxy.halfOpen(false);
  const beaten = provider.stats().heartbeats;
  await eventually(() => provider.stats().heartbeats >= beaten + 5, patient);
  await new Promise((resolve) => setTimeout(resolve, lease.ttl));
  expect(ids(watch.current)).toBe('a');
  expect(least).toBe(1);
}, 90_000);
