import { existsSync } from 'node:fs';

import { expect, test } from 'vitest';

import { freePort, isRunning, sharedRedis, spawnNode, startRedis } from '../src/index.ts';

test('a Redis starts on a free port, answers, and leaves neither process nor directory', async () => {
  const redis = await startRedis();
  const { pid, directory } = redis;

  expect(await redis.cli('PING')).toBe('PONG');
  expect(redis.port).not.toBe(6379);
  expect(existsSync(directory)).toBe(true);

  await redis.stop();
  expect(isRunning(pid)).toBe(false);
  expect(existsSync(directory)).toBe(false);
  await redis.stop();
});

test('several start at once and know nothing of each other', async () => {
  const servers = await Promise.all(Array.from({ length: 6 }, () => startRedis()));
  for (const [index, server] of servers.entries()) await server.cli('SET', 'who', String(index));

  expect(await Promise.all(servers.map((server) => server.cli('GET', 'who')))).toEqual([...'012345']);
  expect(new Set(servers.map((server) => server.port)).size).toBe(6);

  await Promise.all(servers.map((server) => server.stop()));
});

test('a port that somebody else holds is an error, never a connection to the stranger', async () => {
  await using stranger = await startRedis();

  await expect(startRedis({ port: stranger.port })).rejects.toThrow(/did not start on port/);
  expect(await stranger.cli('PING')).toBe('PONG');
});

test('nobody else is given the port of a server that is down', async () => {
  const ports = await Promise.all(Array.from({ length: 200 }, () => freePort()));
  expect(new Set(ports).size).toBe(200);

  const code = `
    import { freePort } from '@xiaoke/test-servers';
    const ports = [];
    for (let n = 0; n < 400; n += 1) ports.push(await freePort());
    process.send({ ports });
  `;
  await using other = spawnNode({ code, from: import.meta.url });
  const { ports: others } = await other.message((message) => 'ports' in message);
  expect(ports.filter((port) => (others as number[]).includes(port))).toEqual([]);
});

test('with the append-only file a kill -9 and a restart lose nothing that was answered', async () => {
  await using redis = await startRedis({ appendonly: 'always' });
  const { port, pid } = redis;
  await redis.cli('SET', 'answer', '42');

  await redis.kill();
  expect(redis.running).toBe(false);
  await expect(redis.cli('PING')).rejects.toThrow(/refused/);

  await redis.restart();
  expect(redis.port).toBe(port);
  expect(redis.pid).not.toBe(pid);
  expect(await redis.cli('GET', 'answer')).toBe('42');
});

test('without it a restart begins empty', async () => {
  await using redis = await startRedis();
  await redis.cli('SET', 'answer', '42');

  await redis.restart();
  expect(await redis.cli('EXISTS', 'answer')).toBe('0');
});

test('a paused Redis answers when it is resumed', async () => {
  await using redis = await startRedis();
  redis.pause();
  let answered = false;
  const ping = redis.cli('PING').finally(() => (answered = true));
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(answered).toBe(false);

  redis.resume();
  expect(await ping).toBe('PONG');
});

test('a paused Redis can be stopped', async () => {
  const redis = await startRedis();
  const { pid } = redis;
  redis.pause();
  await redis.stop();
  expect(isRunning(pid)).toBe(false);
});

test('further arguments reach the server, and an error reply is thrown', async () => {
  await using redis = await startRedis({ args: ['--maxmemory', '10mb'] });

  expect(await redis.cli('CONFIG', 'GET', 'maxmemory')).toBe('maxmemory\n10485760');
  await expect(redis.cli('INCR')).rejects.toThrow(/wrong number of arguments/);
});

test('the shared Redis of a file is one server, with prefixes that differ', async () => {
  const first = await sharedRedis();
  const second = await sharedRedis();

  expect(second.pid).toBe(first.pid);
  expect(first.prefix('lock')).toMatch(/^lock-[0-9a-f]{12}:$/);
  expect(first.prefix()).not.toBe(first.prefix());
});
