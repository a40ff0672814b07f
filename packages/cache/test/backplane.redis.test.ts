import { eventually } from '@xiaoke/core/testing';
import { spawnNode, startRedis, type RedisServer } from '@xiaoke/test-servers';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import type { CacheManager } from '../src/index.ts';
import { fresh, make } from './support/caches.ts';

const HEARTBEAT = 300;
const nightly = process.env['XIAOKE_CHAOS'] === 'nightly';

async function two(
  redis: RedisServer,
  options = {},
): Promise<{ a: CacheManager; b: CacheManager; namespace: string }> {
  const namespace = fresh();
  const common = { namespace, redisTimeout: '5s', heartbeat: HEARTBEAT, ttl: '1h' };
  const a = make({ redis: redis.url, ...common });
  const b = make({ redis: redis.url, ...common, ...options });
  expect([await a.ready(), await b.ready()]).toEqual([true, true]);
  return { a, b, namespace };
}

/** Reads until the first tier has the value: the message about its writing may come after the first read. */
async function holds(cache: CacheManager, key: string, value: unknown): Promise<void> {
  await eventually(async () => (await cache.get(key)) === value && cache.peek(key) === value);
}

/** Ends every connection that listens. */
async function killListeners(redis: RedisServer): Promise<number> {
  return Number(await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub'));
}

/** Milliseconds for which `read` still gives `old` after it was changed. */
async function staleFor(read: () => unknown, old: unknown): Promise<number> {
  const start = performance.now();
  await eventually(() => read() !== old, { interval: 1 });
  return performance.now() - start;
}

it('an invalidation reaches the first tier of another process in a few milliseconds', async () => {
  await using redis = await startRedis();
  const { a, b } = await two(redis);
  const delays: number[] = [];
  for (let i = 0; i < 50; i += 1) {
    await a.set('k', i);
    await eventually(async () => (await b.get('k')) === i && b.peek('k') === i, { interval: 1 });
    await a.delete('k');
    delays.push(await staleFor(() => b.peek('k'), i));
  }
  expect(delays.toSorted((x, y) => x - y)[25]).toBeLessThan(10);
});

it('another process no longer reads a deleted value within milliseconds, nearly as soon as a bare message arrives', async () => {
  await using redis = await startRedis();
  const namespace = fresh();
  const code = `
    import { createCacheManager } from '@xiaoke/cache';
    import { Redis } from 'ioredis';
    const [url, namespace] = process.argv.slice(-2);
    const cache = createCacheManager({ redis: url, namespace, redisTimeout: '5s' });
    const listener = new Redis(url);
    await listener.subscribe('bare');
    await cache.ready({ timeout: '10s' });
    const now = () => Number(process.hrtime.bigint()) / 1e6;
    listener.on('message', (_, round) => process.send({ bare: round, at: now() }));
    process.on('message', async ({ round }) => {
      do { await cache.get('k'); } while (cache.peek('k') !== round);
      process.send({ held: round });
      while (cache.peek('k') === round) await new Promise((resolve) => setTimeout(resolve, 1));
      process.send({ gone: round, at: now() });
    });
    process.send({ ready: true });
  `;
  await using reader = spawnNode({ code, from: import.meta.url }, { args: [redis.url, namespace] });
  await reader.message(({ ready }) => ready === true);
  const a = make<number>({ redis: redis.url, namespace, redisTimeout: '5s' });
  expect(await a.ready()).toBe(true);
  const client = new Redis(redis.url);
  const now = (): number => Number(process.hrtime.bigint()) / 1e6;
  const late: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < (nightly ? 1_000 : 200); round += 1) {
    await a.set('k', round);
    const held = reader.message((message) => message['held'] === round);
    reader.send({ round });
    await held;
    const gone = reader.message((message) => message['gone'] === round);
    await a.delete('k');
    const deleted = now();
    late.push(Number((await gone)['at']) - deleted);
    const heard = reader.message((message) => message['bare'] === String(round));
    await client.publish('bare', String(round));
    const published = now();
    bare.push(Number((await heard)['at']) - published);
  }
  client.disconnect();
  const most = nightly ? 0.99 : 0.9;
  const worst = (values: number[], q: number): number =>
    values.toSorted((x, y) => x - y)[Math.floor(values.length * q)] ?? Infinity;
  expect(worst(late, 0.5)).toBeLessThan(5);
  // A busy machine delays the bare message just as much.
  expect(worst(late, most)).toBeLessThan(Math.max(5, 3 * worst(bare, most)));
});

it('a listener that is killed hears of what it missed as soon as it listens again', async () => {
  await using redis = await startRedis();
  const { a, b } = await two(redis);
  const gaps: number[] = [];
  b.on('gap', () => gaps.push(1));
  await a.set('k', 'old');
  await holds(b, 'k', 'old');
  expect(await killListeners(redis)).toBeGreaterThanOrEqual(2);
  await a.set('k', 'new');
  const late = await staleFor(() => b.peek('k'), 'old');
  expect(late).toBeLessThan(HEARTBEAT + 200);
  expect(await b.get('k')).toBe('new');
  expect(b.stats().redis.gaps).toBe(gaps.length);
});

it('a listener that cannot come back reads no old value later than one heartbeat', async () => {
  await using redis = await startRedis();
  // Publishing goes on, listening is forbidden.
  await redis.cli('ACL', 'SETUSER', 'mute', 'on', 'nopass', '+@all', '~*', '&*');
  const { a, b, namespace } = await two(redis, {
    redis: { host: redis.host, port: redis.port, username: 'mute', password: 'x' },
  });
  await a.setMany([
    ['k', 'old'],
    ['tagged', 'old', { tags: ['t'] }],
  ]);
  await holds(b, 'k', 'old');
  await holds(b, 'tagged', 'old');
  await redis.cli('ACL', 'SETUSER', 'mute', '-subscribe', '-psubscribe');
  await killListeners(redis);
  await a.set('k', 'new');
  await a.invalidateTags('t');
  const [plain, tagged] = await Promise.all([
    staleFor(() => b.peek('k'), 'old'),
    staleFor(() => b.peek('tagged'), 'old'),
  ]);
  expect(Math.max(plain, tagged)).toBeLessThan(HEARTBEAT + 200);
  expect(await b.get('k')).toBe('new');
  expect(await b.get('tagged')).toBeUndefined();
  // And so it goes on, for as long as it takes.
  expect(await redis.cli('PUBSUB', 'NUMSUB', `xc:${namespace}:bp`)).toMatch(/\n1$/);
  await holds(b, 'k', 'new');
  await a.set('k', 'newer');
  expect(await staleFor(() => b.peek('k'), 'new')).toBeLessThan(HEARTBEAT + 200);
});

it('a Redis that lost everything is noticed, although it sent as many messages since as before', async () => {
  await using redis = await startRedis();
  const { a, b } = await two(redis);
  await a.set('k', 'old');
  await holds(b, 'k', 'old');
  await redis.cli('ACL', 'SETUSER', 'default', '-subscribe', '-psubscribe');
  await killListeners(redis);
  await redis.cli('FLUSHALL');
  await a.set('k', 'new');
  expect(await staleFor(() => b.peek('k'), 'old')).toBeLessThan(HEARTBEAT + 200);
  expect(await b.get('k')).not.toBe('old');
  // Once both have noticed, what one writes the other reads.
  await eventually(async () => {
    await b.set('later', 'b');
    return (await a.get('later')) === 'b';
  });
});

it('one message that is lost on the way is noticed by the next one', async () => {
  await using redis = await startRedis();
  const { a, b, namespace } = await two(redis, { heartbeat: '1h' });
  await a.set('k', 'old');
  await a.set('other', 'old');
  await holds(b, 'k', 'old');
  // A message takes its number and is lost: published where nobody listens.
  await redis.cli('INCR', `xc:${namespace}:{seq}:n`);
  expect(b.peek('k')).toBe('old');
  await a.delete('other');
  await eventually(() => b.peek('k') === undefined);
  expect(b.stats().redis.gaps).toBe(1);
});

it('what anybody else publishes on the channel changes nothing', async () => {
  await using redis = await startRedis();
  const { a, b, namespace } = await two(redis);
  await a.set('k', 'v');
  await holds(b, 'k', 'v');
  const channel = `xc:${namespace}:bp`;
  for (const message of [
    '',
    'x',
    '5:',
    '5:o:{',
    '0:o:{"k":"k","p":1}',
    '0:o:{"c":[["t",{}]]}',
    '0:o:null',
    '0:o:7',
  ])
    await redis.cli('PUBLISH', channel, message);
  expect(await b.get('k')).toBe('v');
  expect(b.stats().redis).toMatchObject({ gaps: 0, errors: 0 });
});

it('a Redis that lost everything brings no old value back, neither its own nor a tag', async () => {
  await using redis = await startRedis();
  const { a, b } = await two(redis);
  await a.set('tagged', 'old', { tags: ['t'] });
  await a.invalidateTags('t');
  await a.set('k', 'old', { tags: ['t'] });
  await holds(b, 'k', 'old');
  await redis.cli('FLUSHALL');
  expect(await staleFor(() => b.peek('k'), 'old')).toBeLessThan(HEARTBEAT + 200);
  // What is written before the writer has noticed, too, has the versions of what was lost, and is read by nobody.
  await eventually(async () => {
    await a.set('k', 'new', { tags: ['t'] });
    return (await b.get('k')) === 'new';
  });
  await a.invalidateTags('t');
  await eventually(async () => (await b.get('k')) === undefined);
});

it('a tag that Redis forgot under memory pressure cannot bring back what it had invalidated', async () => {
  await using redis = await startRedis();
  const { a, b, namespace } = await two(redis);
  await a.set('k', 'old', { tags: ['t'] });
  expect(await redis.cli('COPY', `xc:${namespace}:e::{k}:v`, 'saved')).toBe('1');
  await a.invalidateTags('t');
  // The counter is evicted, and the old entry is there again, as from a replica that was behind.
  await redis.cli('DEL', `xc:${namespace}:c:{tt}:n`);
  await redis.cli('COPY', 'saved', `xc:${namespace}:e::{k}:v`, 'REPLACE');
  expect(await a.get('k')).toBeUndefined();
  expect(await b.get('k')).toBeUndefined();
  // The next write makes the counter anew, above all it ever was.
  await a.set('other', 1, { tags: ['t'] });
  expect(await b.get('k')).toBeUndefined();
  expect(await b.get('other')).toBe(1);
});
