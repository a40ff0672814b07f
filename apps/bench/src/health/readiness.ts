/**
 * Requests per second of a readiness endpoint with three checks, over 16 kept-alive connections; plain node:http beside it.
 * A check is a PING to a real Redis.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { startRedis } from '@xiaoke/test-servers';
import { compare, type Figures } from '../harness.ts';

const CONNECTIONS = 16;
const MILLISECONDS = 1_500;
const REQUEST = 'GET /readyz HTTP/1.1\r\nHost: bench\r\n\r\n';

/** One connection that asks again as soon as it is answered, until `end`; resolves to the number of answers. */
function ask(port: number, end: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let answers = 0;
    let arrived = '';
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket
      .setEncoding('latin1')
      .on('error', reject)
      .on('connect', () => socket.write(REQUEST));
    socket.on('data', (text: string) => {
      arrived += text;
      if (!isWhole(arrived)) return;
      arrived = '';
      answers += 1;
      if (performance.now() < end) socket.write(REQUEST);
      else socket.end(() => resolve(answers));
    });
  });
}

/** Whether an answer has come to its end, by its length or its last chunk. */
function isWhole(text: string): boolean {
  const head = text.indexOf('\r\n\r\n');
  if (head < 0) return false;
  if (!text.startsWith('HTTP/1.1 200')) throw new Error(`unexpected answer: ${text.slice(0, 40)}`);
  const length = /content-length: (\d+)/i.exec(text)?.[1];
  return length === undefined ? text.endsWith('0\r\n\r\n') : text.length >= head + 4 + Number(length);
}

async function measure(child: ChildProcess, port: number): Promise<Figures> {
  const before = await cpuOf(child);
  const start = performance.now();
  const end = start + MILLISECONDS;
  const counts = await Promise.all(Array.from({ length: CONNECTIONS }, () => ask(port, end)));
  const answers = counts.reduce((sum, count) => sum + count, 0);
  const elapsed = performance.now() - start;
  // Where the client is the bottleneck, what the server spends still tells them apart.
  return {
    'requests/s': (answers / elapsed) * 1_000,
    'server µs/request': ((await cpuOf(child)) - before) / answers,
  };
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage];
  return user + system;
}

await using redis = await startRedis();
const script = new URL('./support/probe-server.js', import.meta.url);
const children: ChildProcess[] = [];
const candidates: Record<string, () => Promise<Figures>> = {};
for (const kind of [
  'xiaoke',
  'node:http',
  '@godaddy/terminus',
  '@godaddy/terminus, checks that do nothing',
]) {
  const child = fork(script, [kind, redis.url], { execArgv: [] });
  children.push(child);
  const [port] = (await once(child, 'message')) as [number];
  candidates[kind] = () => measure(child, port);
}
await compare({
  name: 'health/readiness',
  rounds: 7,
  candidates,
  lowerIsBetter: ['server µs/request'],
  bars: [
    { figure: 'requests/s', versus: 'node:http', atLeast: 0.8 },
    { figure: 'requests/s', versus: '@godaddy/terminus', atLeast: 2.5 },
  ],
});
for (const child of children) child.kill();
