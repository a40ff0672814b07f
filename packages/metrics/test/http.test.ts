/** Rate, errors and duration of real servers: node:http, express and fastify. */
import { connect, type AddressInfo } from 'node:net';
import { createServer, type RequestListener, type Server } from 'node:http';
import express from 'express';
import fastify from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '@xiaoke/core/testing';
import { createMetricsCollector, type MetricsCollector } from '@xiaoke/metrics';

const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function listen(server: Server): Promise<string> {
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const lines = async (metrics: MetricsCollector, name: string): Promise<string[]> =>
  String((await metrics.metrics()).body)
    .split('\n')
    .filter((line) => line.startsWith(name));

/** Waits until so many requests were counted, and gives how often each route, method and status was. */
async function counted(metrics: MetricsCollector, requests: number): Promise<Record<string, number>> {
  return eventually(async () => {
    const found: Record<string, number> = {};
    for (const line of await lines(metrics, 'http_request_duration_seconds_count')) {
      const [, method, route, status, count] =
        /method="(.*?)",route="(.*)",status_code="(\d+)"} (\d+)/.exec(line) ?? [];
      found[`${method} ${route} ${status}`] = Number(count);
    }
    expect(Object.values(found).reduce((sum, count) => sum + count, 0)).toBe(requests);
    return found;
  });
}

/** Opens a connection, asks, and hangs up before there is an answer. */
async function abort(url: string, path: string, asked: () => Promise<void>): Promise<void> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
  await asked();
  socket.destroy();
}

describe('express', () => {
  function app() {
    const metrics = createMetricsCollector();
    const server = express();
    let reached: () => void = () => {};
    const asked = new Promise<void>((resolve) => (reached = resolve));
    server.use(metrics.express({ ignore: (path) => path === '/metrics' }));
    server.get('/metrics', (_, response) => void response.send('x'));
    server.get('/items/:id', (request, response) => void response.send(`item ${request.params.id}`));
    server.post('/items', express.json(), (_, response) => void response.status(201).json({ ok: true }));
    server.get(['/a', '/b'], (_, response) => void response.send('a or b'));
    server.get(/^\/re(g+)$/, (_, response) => void response.send('regular'));
    server.get('/broken', () => {
      throw new Error('broken');
    });
    server.get('/slow', () => reached());
    const inner = express.Router({ mergeParams: true });
    inner.get('/', (_, response) => void response.send('all'));
    inner.get('/orders/:order', (request, response) => void response.send(request.params));
    const alone = express.Router();
    alone.get('/name', (_, response) => void response.send('name'));
    server.use('/users/:user', inner);
    server.use('/teams/:team/members/:member', alone);
    server.use((error: Error, _: express.Request, response: express.Response, next: express.NextFunction) => {
      if (response.headersSent) next(error);
      else response.status(500).send('sorry');
    });
    return { metrics, server: createServer(server as RequestListener), asked };
  }

  test('routes are templates, those of mounted routers too, and what matches none is one', async () => {
    const { metrics, server } = app();
    const url = await listen(server);
    const get = (path: string) => fetch(`${url}${path}`);
    for (let i = 0; i < 3; i++) await get(`/items/${i}?q=${i}`);
    await fetch(`${url}/items`, {
      method: 'POST',
      body: '{}',
      headers: { 'content-type': 'application/json' },
    });
    for (let i = 0; i < 20; i++) {
      await get(`/users/u${i}`);
      expect(await (await get(`/users/u%20${i}/orders/o${i}`)).json()).toEqual({
        user: `u ${i}`,
        order: `o${i}`,
      });
      await get(`/teams/t${i}/members/m${i}/name`);
      await get(`/nowhere/${i}`);
    }
    await get('/a');
    await get('/reggg');
    await get('/broken');
    await get('/metrics');
    await fetch(`${url}/items/1`, { method: 'PROPFIND' });
    expect(await counted(metrics, 3 + 1 + 80 + 4)).toEqual({
      'GET /items/:id 200': 3,
      'POST /items 201': 1,
      'GET /users/:user 200': 20,
      'GET /users/:user/orders/:order 200': 20,
      'GET /teams/:team/members/:member/name 200': 20,
      'GET __unmatched__ 404': 20,
      'GET /a|/b 200': 1,
      'GET /^\\\\/re(g+)$/ 200': 1,
      'GET /broken 500': 1,
      'OTHER __unmatched__ 404': 1,
    });
    expect(await lines(metrics, 'http_requests_in_flight')).toEqual([
      'http_requests_in_flight{method="GET"} 0',
      'http_requests_in_flight{method="POST"} 0',
      'http_requests_in_flight{method="OTHER"} 0',
    ]);
    expect(await lines(metrics, 'http_request_size_bytes_sum')).toContain(
      'http_request_size_bytes_sum{method="POST",route="/items"} 2',
    );
    expect(
      (await lines(metrics, 'http_response_size_bytes_count{method="GET",route="/items/:id"'))[0],
    ).toMatch(/ 3$/);
  });

  test('a client that leaves is counted as such, and is no longer in flight', async () => {
    const { metrics, server, asked } = app();
    const url = await listen(server);
    await abort(url, '/slow', () => asked);
    await eventually(async () => {
      expect(await lines(metrics, 'http_requests_aborted_total{')).toEqual([
        'http_requests_aborted_total{method="GET",route="/slow"} 1',
      ]);
    });
    expect(await lines(metrics, 'http_requests_in_flight')).toEqual([
      'http_requests_in_flight{method="GET"} 0',
    ]);
    expect(await lines(metrics, 'http_request_duration_seconds_count')).toEqual([]);
  });
});

describe('fastify', () => {
  test('routes are templates, of plugins and with prefixes too, and what matches none is one', async () => {
    const metrics = createMetricsCollector();
    const server = fastify();
    open.push(server.server);
    let reached: () => void = () => {};
    const asked = new Promise<void>((resolve) => (reached = resolve));
    await server.register(metrics.fastify({ ignore: (path) => path === '/health', sizes: false }));
    server.get('/health', () => 'ok');
    server.get('/items/:id', () => ({ ok: true }));
    server.get('/slow', () => new Promise(() => reached()));
    server.get('/broken', () => {
      throw new Error('broken');
    });
    await server.register(
      (inner, _options, done) => {
        inner.get('/orders/:order', () => 'order');
        done();
      },
      { prefix: '/users/:user' },
    );
    const url = await server.listen({ port: 0, host: '127.0.0.1' });
    for (let i = 0; i < 5; i++) {
      await fetch(`${url}/items/${i}?q=1`);
      await fetch(`${url}/users/${i}/orders/${i}`);
      await fetch(`${url}/nowhere/${i}`);
    }
    await fetch(`${url}/broken`);
    await fetch(`${url}/health?probe`);
    expect(await counted(metrics, 16)).toEqual({
      'GET /items/:id 200': 5,
      'GET /users/:user/orders/:order 200': 5,
      'GET __unmatched__ 404': 5,
      'GET /broken 500': 1,
    });
    expect(await lines(metrics, 'http_response_size_bytes')).toEqual([]);
    await abort(url, '/slow', () => asked);
    await eventually(async () => {
      expect(await lines(metrics, 'http_requests_aborted_total{')).toEqual([
        'http_requests_aborted_total{method="GET",route="/slow"} 1',
      ]);
    });
    expect(await lines(metrics, 'http_requests_in_flight')).toEqual([
      'http_requests_in_flight{method="GET"} 0',
    ]);
    server.server.closeAllConnections();
    await server.close();
  });
});

describe('node:http', () => {
  test('a server is measured under the names that its user gives, until it is asked no longer', async () => {
    const metrics = createMetricsCollector();
    const server = createServer((request, response) => {
      if (request.url === '/hang') return;
      response.statusCode = request.url === '/bad' ? 400 : 200;
      response.end('x');
    });
    const stop = metrics.nodeHttp(server, {
      buckets: [1],
      route: ({ url }) => (url?.startsWith('/u/') === true ? '/u/:id' : undefined),
    });
    const url = await listen(server);
    await fetch(`${url}/u/1`);
    await fetch(`${url}/u/2`);
    await fetch(`${url}/bad`);
    expect(await counted(metrics, 3)).toEqual({ 'GET /u/:id 200': 2, 'GET __unmatched__ 400': 1 });
    expect(
      await lines(metrics, 'http_request_duration_seconds_bucket{method="GET",route="/u/:id"'),
    ).toHaveLength(2);
    stop();
    await fetch(`${url}/u/3`);
    expect(await counted(metrics, 3)).toBeDefined();
  });
});
