import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { afterEach, expect, test } from 'vitest';
import { createHealthCheckManager, type HealthCheckManager } from '@xiaoke/health';
import { createHealthHandler, fastifyHealth, fetchHealth, gracefulShutdown } from '@xiaoke/health/http';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function manager(): HealthCheckManager {
  const health = createHealthCheckManager();
  closers.push(() => health.close());
  return health;
}

test('probes answer 200 while it serves and 503 while it does not, without running a check', async () => {
  const health = manager();
  let runs = 0;
  let status: 'healthy' | 'degraded' | 'unhealthy' = 'healthy';
  health.registerCustomChecker('db', () => ((runs += 1), status), { config: { failureThreshold: 1 } });
  const url = await serve(createServer(createHealthHandler(health)));
  const codes = async (): Promise<number[]> =>
    await Promise.all(
      ['/livez', '/readyz', '/startupz', '/healthz'].map(async (path) => (await fetch(url + path)).status),
    );

  expect(await codes()).toEqual([200, 503, 200, 503]);
  await health.check('db');
  expect(await codes()).toEqual([200, 200, 200, 200]);
  status = 'degraded';
  await health.check('db');
  expect(await codes()).toEqual([200, 200, 200, 200]);
  status = 'unhealthy';
  await health.check('db');
  expect(await codes()).toEqual([200, 503, 200, 503]);
  await Promise.all(
    Array.from({ length: 50 }, () => fetch(`${url}/readyz`).then((response) => response.text())),
  );
  expect(runs).toBe(3);
});

test('a report says status and code to everybody, and the rest only where details are on', async () => {
  const health = manager();
  health.registerCustomChecker('db', () => ({
    status: 'degraded',
    code: 'POOL_BUSY',
    observed: { waiting: 3 },
  }));
  await health.check('db');
  const url = await serve(createServer(createHealthHandler(health)));
  const inner = await serve(
    createServer(createHealthHandler(health, { details: ({ url: path }) => path.includes('full') })),
  );
  expect(await (await fetch(`${url}/readyz`)).json()).toEqual({
    status: 'degraded',
    group: 'readiness',
    checks: { db: { status: 'degraded', code: 'POOL_BUSY', critical: true } },
  });
  expect(await (await fetch(`${inner}/readyz?full`)).json()).toMatchObject({
    checks: { db: { observed: { waiting: 3 } } },
  });
  expect(await (await fetch(`${inner}/readyz`)).json()).not.toMatchObject({
    checks: { db: { observed: {} } },
  });
});

test('formats, HEAD, other methods, trailing slashes and unknown paths', async () => {
  const health = manager();
  health.registerCustomChecker('db', () => ({ status: 'unhealthy', code: 'CONNECT' }));
  await health.check('db');
  const url = await serve(createServer(createHealthHandler(health, { paths: { page: '/health' } })));
  const get = async (path: string, accept: string): Promise<Response> =>
    await fetch(url + path, { headers: { accept } });

  const standard = await get('/healthz', 'application/health+json');
  expect(standard.headers.get('content-type')).toContain('application/health+json');
  expect(await standard.json()).toEqual({
    status: 'fail',
    checks: { db: [{ status: 'fail', output: 'CONNECT' }] },
  });
  expect(await (await get('/healthz/', 'text/plain')).text()).toBe('unhealthy\n');
  expect(standard.headers.get('retry-after')).toBe('5');
  expect(standard.headers.get('cache-control')).toBe('no-store');
  const head = await fetch(`${url}/readyz`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([503, '']);
  expect((await fetch(`${url}/readyz`, { method: 'POST' })).status).toBe(405);
  expect((await fetch(`${url}/nothing`)).status).toBe(404);
  expect((await (await get('/healthz?group=liveness', 'application/json')).json()) as object).toMatchObject({
    status: 'healthy',
  });
});

test('the page shows every check, and what stands in a name is shown, not run', async () => {
  const health = manager();
  health.registerCustomChecker('<script>alert(1)</script>', () => true);
  await health.start();
  const url = await serve(createServer(createHealthHandler(health, { paths: { page: '/health' } })));
  const html = await (await fetch(`${url}/health`)).text();
  expect(html).not.toContain('<script>');
  expect(html).toContain('&#60;script&#62;');
  expect(html).toContain('100.00 %');
});

test('fastify, express and fetch answer the same', async () => {
  const health = manager();
  health.registerCustomChecker('db', () => true);
  await health.start();

  const app = fastify();
  app.register(fastifyHealth(health));
  app.get('/other', () => 'other');
  await app.listen({ port: 0, host: '127.0.0.1' });
  closers.push(() => app.close());
  const fast = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;

  const router = express();
  router.use(createHealthHandler(health));
  router.get('/other', (_request, response) => void response.send('other'));
  const expressed = await serve(createServer(router));

  const expected = await (await fetch(`${fast}/readyz`)).text();
  expect(await (await fetch(`${expressed}/readyz`)).text()).toBe(expected);
  for (const base of [fast, expressed]) expect(await (await fetch(`${base}/other`)).text()).toBe('other');
  const respond = fetchHealth(health);
  expect(await respond(new Request('http://x/readyz'))?.text()).toBe(expected);
  expect(respond(new Request('http://x/other'))).toBeUndefined();
});

test('a shutdown under load takes readiness away first, answers everything, and runs the hooks in order', async () => {
  const health = manager();
  health.registerCustomChecker('db', () => true);
  await health.start();
  const probe = createHealthHandler(health);
  const server = createServer((request, response) =>
    probe(request, response, () => void setTimeout(() => response.end('done'), 20)),
  );
  const url = await serve(server);
  const order: string[] = [];
  const slow = Array.from({ length: 20 }, () => fetch(`${url}/work`).then((response) => response.text()));
  const started = performance.now();
  const going = gracefulShutdown({
    manager: health,
    server,
    drainDelay: 500,
    hooks: [
      () => void order.push('first'),
      () => {
        throw new Error('bad hook');
      },
      () => void order.push('second'),
    ],
  });
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  expect(new Set(await Promise.all(slow))).toEqual(new Set(['done']));
  await going;
  // The client keeps its connections alive; they must not hold the server up until the limit of 20 s.
  expect(performance.now() - started).toBeLessThan(10_000);
  expect(order).toEqual(['first', 'second']);
  expect(health.closed).toBe(true);
});

test('registrations drain first and say goodbye after the last request, whatever becomes of that', async () => {
  const order: string[] = [];
  const server = createServer((_request, response) =>
    setTimeout(() => {
      order.push('answered');
      response.end();
    }, 100),
  );
  const url = await serve(server);
  const registration = (name: string, fails: boolean) => ({
    setStatus: async (status: string) => {
      order.push(`${name} ${status}`);
      if (fails) throw new Error('the registry is away');
    },
    deregister: async () => void order.push(`${name} gone`),
  });
  const request = fetch(url).then((response) => response.arrayBuffer());
  await once(server, 'request');
  const registrations = [registration('a', false), registration('b', true)];
  const hooks = [() => void order.push('hook')];
  await gracefulShutdown({ manager: manager(), server, registrations, hooks, drainDelay: 10 });
  await request;
  expect(order).toEqual(['a draining', 'b draining', 'answered', 'a gone', 'b gone', 'hook']);
});

test('a connection that is opened during the drain and never used does not hold the shutdown up', async () => {
  const server = createServer((_request, response) => response.end());
  const url = new URL(await serve(server));
  const started = performance.now();
  const going = gracefulShutdown({ manager: manager(), server, drainDelay: 200 });
  const socket = connect(Number(url.port), url.hostname);
  await once(socket, 'connect');
  await Promise.all([going, once(socket, 'close')]);
  expect(performance.now() - started).toBeLessThan(10_000);
});

test('requests that do not end are cut at their limit', async () => {
  const server = createServer(() => {});
  const url = await serve(server);
  const hanging = fetch(url).catch((error: unknown) => error);
  await once(server, 'request');
  await gracefulShutdown({ manager: manager(), server, drainDelay: 0, closeTimeout: 50 });
  expect(await hanging).toBeInstanceOf(Error);
});
