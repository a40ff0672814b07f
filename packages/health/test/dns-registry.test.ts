import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { eventually, trackLeaks } from '@xiaoke/core/testing';
import {
  createBalancer,
  createDnsRegistry,
  createStaticRegistry,
  type DnsRegistryOptions,
  type ServiceDiscovery,
  type ServiceSnapshot,
} from '@xiaoke/health/discovery';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const ids = ({ instances }: ServiceSnapshot): string[] => instances.map(({ id }) => id).toSorted();

type DnsRecord =
  | { readonly type: 'A'; readonly address: string }
  | { readonly type: 'AAAA'; readonly address: string }
  | {
      readonly type: 'SRV';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly name: string;
    };

/** What the server says next: records, an error code of the DNS (2 SERVFAIL, 3 NXDOMAIN), or nothing at all. */
let say: readonly DnsRecord[] | number | 'nothing' = [];

/** A DNS server on UDP that gives one answer to every question. */
async function dnsServer(): Promise<string> {
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    if (say === 'nothing') return;
    const end = query.indexOf(0, 12) + 5;
    const records = typeof say === 'number' ? [] : say;
    const header = Buffer.from(query.subarray(0, 12));
    header.writeUInt16BE(0x8180 | (typeof say === 'number' ? say : 0), 2);
    header.writeUInt16BE(records.length, 6);
    header.writeUInt16BE(0, 8);
    header.writeUInt16BE(0, 10);
    socket.send(
      Buffer.concat([header, query.subarray(12, end), ...records.map(encode)]),
      from.port,
      from.address,
    );
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  closers.push(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return `127.0.0.1:${socket.address().port}`;
}

function encode(record: DnsRecord): Buffer {
  const data = dataOf(record);
  const head = Buffer.alloc(12);
  // A pointer to the name in the question, class IN, a life of one second.
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE({ A: 1, AAAA: 28, SRV: 33 }[record.type], 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(1, 6);
  head.writeUInt16BE(data.byteLength, 10);
  return Buffer.concat([head, data]);
}

function dataOf(record: DnsRecord): Buffer {
  if (record.type === 'A') return Buffer.from(record.address.split('.').map(Number));
  if (record.type === 'AAAA') return Buffer.concat([Buffer.alloc(15), Buffer.from([1])]);
  const fixed = Buffer.alloc(6);
  fixed.writeUInt16BE(record.priority, 0);
  fixed.writeUInt16BE(record.weight, 2);
  fixed.writeUInt16BE(record.port, 4);
  const labels = record.name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)]));
  return Buffer.concat([fixed, ...labels, Buffer.from([0])]);
}

async function registry(options: DnsRegistryOptions): Promise<ServiceDiscovery> {
  const dns = createDnsRegistry({ servers: [await dnsServer()], timeout: 300, refresh: 150, ...options });
  closers.push(() => dns.close());
  return dns;
}

const a = (...addresses: string[]): DnsRecord[] => addresses.map((address) => ({ type: 'A', address }));

test('addresses become instances, and a record that is taken out is gone at the next look', async () => {
  const dns = await registry({ type: 'A', port: 8080 });
  say = a('10.0.0.1', '10.0.0.2');
  const found = await dns.discover('svc.test');
  expect(found.instances.map(({ url }) => url).toSorted()).toEqual([
    'http://10.0.0.1:8080',
    'http://10.0.0.2:8080',
  ]);
  expect(await dns.services()).toEqual(['svc.test']);
  const watch = dns.watch('svc.test');
  say = a('10.0.0.2', '10.0.0.3');
  await eventually(() => expect(ids(watch.current)).toEqual(['10.0.0.2:8080', '10.0.0.3:8080']));
  say = [{ type: 'AAAA', address: '::1' }];
  const six = await registry({ type: 'AAAA', port: 80, scheme: 'https' });
  expect((await six.discover('svc.test')).instances[0]?.url).toBe('https://[::1]:80');
});

test('of SRV records the best priority is used, by weight', async () => {
  const dns = await registry({ nameOf: (service) => `_http._tcp.${service}.test` });
  const srv = (name: string, priority: number, weight: number): DnsRecord => ({
    type: 'SRV',
    name,
    priority,
    weight,
    port: 80,
  });
  say = [srv('a.test', 1, 30), srv('b.test', 1, 10), srv('backup.test', 2, 100)];
  const { instances } = await dns.discover('svc');
  expect(instances.map(({ id }) => id).toSorted()).toEqual(['a.test:80', 'b.test:80']);
  const weights = new Map(instances.map(({ id, weight }) => [id, weight]));
  expect((weights.get('a.test:80') ?? 0) / (weights.get('b.test:80') ?? 1)).toBeCloseTo(3);
  const balancer = createBalancer(dns, { service: 'svc', policy: 'random' });
  let heavy = 0;
  for (let call = 0; call < 1_000; call += 1)
    if ((await balancer.call(({ id }) => id)) === 'a.test:80') heavy += 1;
  expect(Math.abs(heavy - 750)).toBeLessThan(80);
  await balancer.close();
  say = [srv('a.test', 1, 0), srv('b.test', 1, 0)];
  await eventually(async () =>
    expect((await dns.discover('svc')).instances.map(({ weight }) => weight)).toEqual([1, 1]),
  );
});

test.each([
  ['does not answer', 'nothing'],
  ['fails', 2],
] as const)(
  'while the server %s, the last answer stands, and says that it is stale',
  async (_how, answer) => {
    const dns = await registry({ type: 'A', port: 80 });
    say = a('10.0.0.1');
    expect((await dns.discover('svc.test')).stale).toBe(false);
    say = answer;
    const { stale, instances } = await dns.discover('svc.test');
    expect([stale, instances.length]).toEqual([true, 1]);
    say = a('10.0.0.1');
    await eventually(async () => expect((await dns.discover('svc.test')).stale).toBe(false));
  },
);

test('an empty answer, or that there is no such name, is not believed at once', async () => {
  const dns = await registry({ type: 'A', port: 80 });
  say = a('10.0.0.1', '10.0.0.2');
  await dns.discover('svc.test');
  for (const empty of [[], 3] as const) {
    say = empty;
    const { instances, suspects } = await dns.discover('svc.test');
    expect([instances.length, suspects.length]).toEqual([2, 2]);
  }
  say = a('10.0.0.1', '10.0.0.2');
  await eventually(async () => expect((await dns.discover('svc.test')).suspects).toEqual([]));
});

test('a name that was never found has no instances; a server that never answered is unavailable', async () => {
  const dns = await registry({ type: 'A', port: 80 });
  say = 3;
  expect((await dns.discover('svc.test')).instances).toEqual([]);
  say = 'nothing';
  await expect(dns.discover('other.test')).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
});

test('closing ends watches and questions, and leaves nothing', async () => {
  const servers = [await dnsServer()];
  const check = trackLeaks();
  const dns = createDnsRegistry({ type: 'A', port: 80, servers, timeout: 10_000 });
  say = 'nothing';
  const watch = dns.watch('svc.test');
  const asked = dns.discover('svc.test').catch((error: unknown) => error);
  await dns.close();
  expect(await asked).toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
  expect((await watch[Symbol.asyncIterator]().next()).done).toBe(true);
  await expect(dns.discover('svc.test')).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' });
  await expect(dns.services()).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' });
  expect(dns.closed).toBe(true);
  await check();
});

test.each([
  [{ type: 'MX' }, 'type'],
  [{ type: 'A' }, 'port'],
  [{ scheme: '1x' }, 'scheme'],
  [{ servers: ['nonsense'] }, 'servers'],
  [{ nameOf: 'x' }, 'nameOf'],
  [{ refresh: 1 }, 'refresh'],
])('a DNS registry with %j is refused', (options, option) => {
  expect(() => createDnsRegistry(options as never)).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION', details: { option } }),
  );
});

test('a fixed list is discovered, watched, replaced as a whole, and closed', async () => {
  const fixed = createStaticRegistry({
    auth: ['http://10.0.0.1:80', { id: 'b', url: 'http://10.0.0.2:80', zone: 'z2' }],
    none: [],
  });
  expect(ids(await fixed.discover('auth'))).toEqual(['b', 'http://10.0.0.1:80']);
  expect(ids(await fixed.discover('auth', { zone: 'z2' }))).toEqual(['b']);
  expect(await fixed.services()).toEqual(['auth']);
  const watch = fixed.watch('auth');
  expect(ids(watch.current)).toEqual(['b', 'http://10.0.0.1:80']);
  expect((await watch.ready()).version).toBe(1);
  const balancer = createBalancer(watch);
  fixed.replace({
    auth: [
      { id: 'c', url: 'http://10.0.0.3:80' },
      { url: 'http://10.0.0.4:80', status: 'draining' },
    ],
  });
  expect([ids(watch.current), watch.current.unroutable.length, watch.current.version]).toEqual([['c'], 1, 2]);
  expect(balancer.pick().id).toBe('c');
  for (const wrong of [{ auth: 'x' }, { auth: [{ url: 'x' }] }, { 'a b': [] }, []])
    expect(() => fixed.replace(wrong as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  expect(ids(watch.current)).toEqual(['c']);
  await fixed[Symbol.asyncDispose]();
  expect(fixed.closed).toBe(true);
  await expect(fixed.discover('auth')).rejects.toMatchObject({ code: 'REGISTRY_CLOSED' });
});
