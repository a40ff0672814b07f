import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { chaosProxy, eventually, sharedRedis, type ChaosProxy } from '../src/index.ts';

let proxy: ChaosProxy;
let key: string;
const sockets = new Set<Socket>();

beforeEach(async () => {
  const redis = await sharedRedis();
  key = redis.prefix();
  proxy = await chaosProxy({ target: redis });
});

afterEach(async () => {
  await proxy.stop();
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});

/** A bare Redis client: commands out, raw replies in, and how it ended. */
async function client(): Promise<{
  ask(command: string): Promise<string>;
  socket: Socket;
  ended: Promise<string>;
}> {
  const socket = connect({ port: proxy.port, host: proxy.host });
  sockets.add(socket);
  const ended = new Promise<string>((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
    socket.once('close', () => resolve('closed'));
  });
  await Promise.race([once(socket, 'connect'), ended]);
  const ask = async (command: string): Promise<string> => {
    socket.write(`${command}\r\n`);
    const [reply] = await Promise.race([once(socket, 'data'), ended.then((how) => [how])]);
    return String(reply);
  };
  return { ask, socket, ended };
}

/** Whether a promise is still open after `ms`. */
async function pendsFor(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const open = Symbol('open');
  const timer = new Promise((resolve) => setTimeout(resolve, ms, open));
  return (await Promise.race([promise, timer])) === open;
}

test('without a fault everything passes, large values included, and the end of either side', async () => {
  const { ask, socket, ended } = await client();
  const value = 'x'.repeat(300_000);
  const command = [`*3`, `$3`, `SET`, `$${key.length}`, key, `$${value.length}`, value].join('\r\n');
  expect(await ask(command)).toBe('+OK\r\n');
  expect(proxy.connections).toBe(1);

  let received = 0;
  socket.on('data', (chunk: Buffer) => (received += chunk.length));
  socket.write(`GET ${key}\r\n`);
  await eventually(() => received === value.length + '$300000\r\n\r\n'.length);

  socket.write('QUIT\r\n');
  expect(await ended).toBe('closed');
  await eventually(() => proxy.connections === 0);
});

test('a dropped reply: the command has run, the client sees a reset', async () => {
  const { ask } = await client();
  proxy.dropReplies(1);

  expect(await ask(`INCR ${key}`)).toBe('ECONNRESET');
  expect(proxy.lostReplies).toBe(1);
  expect(await (await client()).ask(`GET ${key}`)).toBe('$1\r\n1\r\n');
});

test('replies are dropped by choice, until healed', async () => {
  proxy.dropReplies(({ request, reply }) => request.includes('INCR') && reply.includes(':'));
  const { ask } = await client();

  expect(await ask('PING')).toBe('+PONG\r\n');
  expect(await ask(`INCR ${key}`)).toBe('ECONNRESET');
  expect(await (await client()).ask(`INCR ${key}`)).toBe('ECONNRESET');

  await proxy.heal();
  expect(await (await client()).ask(`INCR ${key}`)).toBe(':3\r\n');
});

test('resetAll resets what is open and lets new connections through', async () => {
  const open = await client();
  await open.ask('PING');
  proxy.resetAll();

  expect(await open.ended).toBe('ECONNRESET');
  expect(await (await client()).ask('PING')).toBe('+PONG\r\n');
});

test('half open: open and new connections are swallowed in silence and stay so', async () => {
  const open = await client();
  await open.ask('PING');
  proxy.halfOpen(true);
  const fresh = await client();
  const answers = Promise.race([open.ask(`SET ${key} 1`), fresh.ask(`SET ${key} 1`)]);
  expect(await pendsFor(100, answers)).toBe(true);

  proxy.halfOpen(false);
  expect(await pendsFor(50, answers)).toBe(true);
  expect(await (await client()).ask(`EXISTS ${key}`)).toBe(':0\r\n');
});

test('blackhole: what was sent arrives late, on open and on new connections', async () => {
  const open = await client();
  await open.ask('PING');
  proxy.blackhole(true);
  const fresh = await client();
  const late = open.ask(`INCR ${key}`);
  const later = fresh.ask('PING');
  expect(await pendsFor(100, Promise.race([late, later]))).toBe(true);
  const redis = await sharedRedis();
  expect(await redis.cli('EXISTS', key)).toBe('0');

  proxy.blackhole(false);
  expect(await late).toBe(':1\r\n');
  expect(await later).toBe('+PONG\r\n');
});

test('a delay holds each chunk back and keeps the order, also when it shrinks', async () => {
  const { ask, socket } = await client();
  proxy.delay({ reply: 120 });
  const before = performance.now();
  expect(await ask('PING')).toBe('+PONG\r\n');
  expect(performance.now() - before).toBeGreaterThan(115);

  proxy.delay(80);
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
  socket.write('ECHO one\r\n');
  await eventually(async () => (await sharedRedis()).cli('PING'));
  proxy.delay(0);
  socket.write('ECHO two\r\n');
  await eventually(() => received.includes('two'));
  expect(received).toBe('$3\r\none\r\n$3\r\ntwo\r\n');
});

test('cut refuses new connections, open ones live, and heal listens on the same port', async () => {
  const open = await client();
  proxy.cut();
  expect(await (await client()).ended).toBe('ECONNREFUSED');
  expect(await open.ask('PING')).toBe('+PONG\r\n');

  const { port } = proxy;
  await proxy.heal();
  expect(proxy.port).toBe(port);
  expect(await (await client()).ask('PING')).toBe('+PONG\r\n');
});

test('a target that is down resets the client', async () => {
  await using nowhere = await chaosProxy({ target: { host: '127.0.0.1', port: 1 } });
  const socket = connect({ port: nowhere.port, host: nowhere.host });
  sockets.add(socket);
  const [error] = await once(socket, 'error');
  expect(error).toMatchObject({ code: 'ECONNRESET' });
  expect(nowhere.url('redis')).toBe(`redis://127.0.0.1:${nowhere.port}`);
});
