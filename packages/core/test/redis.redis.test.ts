import { chaosProxy, startRedis, type RedisServer } from '@xiaoke/test-servers';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InvalidOptionError, silentLogger } from '@xiaoke/core';
import { decodeTag, encodeTag, keyspace, openRedis, RedisScript, RedisSubscriber } from '@xiaoke/core/redis';
import { eventually, recordingLogger, trackLeaks } from '@xiaoke/core/testing';

const load = () => import('ioredis');
let server: RedisServer;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(async () => {
  await server.stop();
});

test('a connection made from a URL is ours, and closing it leaves nothing alive', async () => {
  const check = trackLeaks();
  const connection = await openRedis(server.url, { load });
  expect([connection.owned, connection.cluster]).toEqual([true, false]);
  expect(await connection.client.call('PING')).toBe('PONG');
  const other = connection.duplicate({ connectionName: 'other' });
  expect(await other.call('CLIENT', 'GETNAME')).toBe('other');
  await connection.close();
  await connection.close();
  await check();
});

test('options work like a URL', async () => {
  const connection = await openRedis(
    { host: server.host, port: server.port },
    { load, logger: silentLogger },
  );
  expect(await connection.client.call('ECHO', 'hi')).toBe('hi');
  await connection.close();
});

test('a client handed in is used and never closed, but its duplicates are', async () => {
  const mine = new Redis(server.url);
  const connection = await openRedis(mine, { load });
  const duplicate = connection.duplicate();
  await duplicate.call('PING');
  await connection.close();
  expect([connection.owned, connection.client, duplicate.status]).toEqual([false, mine, 'end']);
  expect(await mine.ping()).toBe('PONG');
  await mine.quit();
});

test.each([5, null, [], 'localhost:6379', 'http://user:hunter2@host', 'redis://'])(
  'what is no Redis is refused without repeating it: %j',
  async (value) => {
    const opening = openRedis(value as never, { load, option: 'lock.redis' });
    await expect(opening).rejects.toThrow(InvalidOptionError);
    await expect(opening).rejects.toThrow(/lock\.redis/);
    await expect(opening).rejects.not.toThrow(/hunter2/);
  },
);

test('closing while there is no server to connect to takes no time', async () => {
  const connection = await openRedis('redis://127.0.0.1:1', { load });
  await connection.client.connect().catch(() => {});
  await eventually(() => connection.client.status === 'reconnecting');
  const start = performance.now();
  await connection.close(5_000);
  expect(performance.now() - start).toBeLessThan(2_000);
});

test('close is bounded while the server does not answer', async () => {
  const frozen = await startRedis();
  const connection = await openRedis(frozen.url, { load });
  await connection.client.call('PING');
  frozen.pause();
  const started = performance.now();
  await connection.close(200);
  expect(performance.now() - started).toBeLessThan(1_000);
  frozen.resume();
  await frozen.stop();
});

test('a script runs by its hash, and again after the server forgot it', async () => {
  const connection = await openRedis(server.url, { load });
  const script = new RedisScript('return {KEYS[1], ARGV[1]}');
  expect(await script.run(connection.client, ['k'], ['a'])).toEqual(['k', 'a']);
  await connection.client.call('SCRIPT', 'FLUSH');
  expect(await script.run(connection.client, ['k'], ['b'])).toEqual(['k', 'b']);
  await connection.client.call('SCRIPT', 'FLUSH');
  expect(await script.runBuffer(connection.client, ['k'], ['c'])).toEqual([
    Buffer.from('k'),
    Buffer.from('c'),
  ]);
  expect(await script.runBuffer(connection.client, ['k'])).toEqual([Buffer.from('k')]);
  const failing = new RedisScript('return redis.error_reply("BROKEN on purpose")');
  await expect(failing.run(connection.client, [])).rejects.toThrow('BROKEN');
  await expect(failing.runBuffer(connection.client, [])).rejects.toThrow('BROKEN');
  await connection.close();
});

test('keys of one thing share one hash tag, whatever its name', () => {
  const keys = keyspace('xl', 'user:{1}%');
  expect([keys('h'), keys('q')]).toEqual(['xl:{user:%7B1%7D%25}:h', 'xl:{user:%7B1%7D%25}:q']);
  for (const tag of ['plain', '{}', '%7B', '%', 'a}b{c']) expect(decodeTag(encodeTag(tag))).toBe(tag);
});

test('messages arrive until the listener is taken back', async () => {
  const connection = await openRedis(server.url, { load });
  const logger = recordingLogger();
  const subscriber = new RedisSubscriber(connection, { logger });
  const seen: string[] = [];
  await subscriber.subscribe('news', () => {
    throw new Error('bad listener');
  });
  const takeBack = await subscriber.subscribe('news', (message, channel) =>
    seen.push(`${channel} ${message}`),
  );
  await connection.client.call('PUBLISH', 'news', 'one');
  await eventually(() => seen.length === 1);
  await takeBack();
  await connection.client.call('PUBLISH', 'news', 'two');
  await eventually(() => logger.lines.length === 2);
  expect(seen).toEqual(['news one']);
  expect(logger.lines[0]?.message).toBe('a message listener failed');
  subscriber.close();
  await connection.close();
});

test('after its connection was killed a subscriber listens again and says that it may have missed something', async () => {
  const connection = await openRedis(server.url, { load });
  let gaps = 0;
  const seen: string[] = [];
  const subscriber = new RedisSubscriber(connection, { onGap: () => (gaps += 1) });
  await subscriber.subscribe('news', (message) => seen.push(message));
  expect(gaps).toBe(0);
  await connection.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await eventually(() => gaps === 1);
  await connection.client.call('PUBLISH', 'news', 'after');
  await eventually(() => seen.includes('after'));
  subscriber.close();
  await connection.close();
});

test('a half-open connection is noticed by its silence and replaced', async () => {
  const proxy = await chaosProxy({ target: { host: server.host, port: server.port } });
  const connection = await openRedis(proxy.url('redis'), { load });
  const publisher = new Redis(server.url);
  let gaps = 0;
  const seen: string[] = [];
  const subscriber = new RedisSubscriber(connection, { onGap: () => (gaps += 1), probeEvery: 50 });
  await subscriber.subscribe('news', (message) => seen.push(message));
  proxy.blackhole(true);
  await eventually(() => proxy.connections > 0);
  setTimeout(() => void proxy.heal(), 150).unref();
  await eventually(() => gaps > 0);
  await publisher.publish('news', 'after');
  await eventually(() => seen.includes('after'));
  subscriber.close();
  await connection.close();
  await publisher.quit();
  await proxy.stop();
});

test('a server that accepts a connection and never answers is given up, and asked again until it does', async () => {
  const proxy = await chaosProxy({ target: { host: server.host, port: server.port } });
  proxy.blackhole(true);
  const connection = await openRedis(proxy.url('redis'), { load });
  const publisher = new Redis(server.url);
  const seen: string[] = [];
  const subscriber = new RedisSubscriber(connection, { probeEvery: 100 });
  await expect(subscriber.subscribe('news', (message) => seen.push(message))).rejects.toThrow();
  await proxy.heal();
  await eventually(async () => (await publisher.publish('news', 'hello')) > 0);
  await eventually(() => seen.includes('hello'));
  subscriber.close();
  await connection.close();
  await publisher.quit();
  await proxy.stop();
});

test('a subscription asked for while the server is away stands once it is back', async () => {
  const restarted = await startRedis();
  const connection = await openRedis(restarted.url, { load });
  const subscriber = new RedisSubscriber(connection);
  const seen: string[] = [];
  await subscriber.subscribe('early', () => {});
  await restarted.kill();
  await expect(subscriber.subscribe('late', (message) => seen.push(message))).rejects.toThrow();
  await restarted.restart();
  await eventually(async () => Number(await connection.client.call('PUBLISH', 'late', 'hello')) > 0);
  await eventually(() => seen.length > 0);
  subscriber.close();
  await connection.close();
  await restarted.stop();
});
