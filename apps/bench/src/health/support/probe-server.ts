/** One server a process: `node probe-server.js <kind> <redis url>`; tells its port to the parent, and its CPU time when asked. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createTerminus } from '@godaddy/terminus';
import { createHealthCheckManager } from '@xiaoke/health';
import { createHealthHandler } from '@xiaoke/health/http';
import { Redis } from 'ioredis';

const [, , kind = '', redisUrl = ''] = process.argv;
const NAMES = ['a', 'b', 'c'];

/** What a check does as a rule: it asks a server something. */
function ping(): () => Promise<unknown> {
  const redis = new Redis(redisUrl);
  return async () => await redis.ping();
}

async function xiaoke(): Promise<Server> {
  const health = createHealthCheckManager();
  const ask = ping();
  for (const name of NAMES) health.registerCustomChecker(name, async () => (await ask()) === 'PONG');
  await health.start();
  return createServer(createHealthHandler(health));
}

function terminus(ask: () => Promise<unknown>): Server {
  const server = createServer((_request, response) => void response.writeHead(404).end());
  const healthChecks = {
    '/readyz': async () => {
      const checks = NAMES.map(async (name) => [name, await ask()] as const);
      return Object.fromEntries(await Promise.all(checks));
    },
  };
  return createTerminus(server, { healthChecks, signals: [] });
}

const servers: Readonly<Record<string, () => Promise<Server> | Server>> = {
  'node:http': () => createServer((_request, response) => response.end('ok')),
  xiaoke,
  '@godaddy/terminus': () => terminus(ping()),
  '@godaddy/terminus, checks that do nothing': () => terminus(async () => 'ok'),
};

process.on('message', () => process.send?.(process.cpuUsage()));
const server = await servers[kind]?.();
server?.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
