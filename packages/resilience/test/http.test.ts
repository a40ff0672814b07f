import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { eventually, FakeClock } from '@xiaoke/core/testing';
import fastify from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import {
  httpPolicy,
  loadShedder,
  remainingMs,
  resilientFetch,
  withDeadline,
  withIncoming,
  type ResilientFetchOptions,
} from '@xiaoke/resilience';
import { errorOf } from './support.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;
const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

interface Site {
  readonly url: string;
  readonly server: Server;
  readonly requests: {
    readonly at: number;
    readonly method: string | undefined;
    readonly headers: IncomingMessage['headers'];
    readonly socket: Socket;
  }[];
}

async function serve(handler: Handler, port = 0): Promise<Site> {
  const requests: Site['requests'] = [];
  const server = createServer((request, response) => {
    requests.push({
      at: performance.now(),
      method: request.method,
      headers: request.headers,
      socket: request.socket,
    });
    handler(request, response, requests.length);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, server, requests };
}

const quick: ResilientFetchOptions = {
  retry: { baseDelay: 5, maxDelay: 20 },
  timeout: '300ms',
  totalTimeout: '3s',
};
const patient: ResilientFetchOptions = { ...quick, timeout: '10s', totalTimeout: '20s' };
const gaps = ({ requests }: Site): number[] =>
  requests.slice(1).map(({ at }, index) => at - (requests[index]?.at ?? 0));

describe('flaky servers', () => {
  test('errors of the server are retried, what is discarded is drained, and its socket is used again', async () => {
    const site = await serve((_, response, count) => {
      response.statusCode = count < 3 ? 503 : 200;
      response.end('x'.repeat(50_000));
    });
    const response = await resilientFetch({ ...quick, body: 'stream' })(site.url);
    expect([response.status, (await response.text()).length]).toEqual([200, 50_000]);
    expect(response.url).toBe(site.url);
    expect(new Set(site.requests.map(({ socket }) => socket)).size).toBeLessThanOrEqual(2);
    expect(site.requests.map(({ headers }) => headers['x-retry-attempt'])).toEqual([undefined, '2', '3']);
  });

  test('a body that breaks off is retried', async () => {
    const site = await serve((request, response, count) => {
      response.writeHead(200, { 'content-length': '10' });
      response.write('12345');
      if (count < 3) setImmediate(() => request.socket.resetAndDestroy());
      else response.end('67890');
    });
    expect(await (await resilientFetch(quick)(site.url)).text()).toBe('1234567890');
    expect(site.requests).toHaveLength(3);
  });

  test('a server that accepts and never answers, and one that drips, are given up in time', async () => {
    for (const handler of [
      () => {},
      (_: IncomingMessage, response: ServerResponse) => {
        response.writeHead(200);
        const drip = setInterval(() => response.write('.'), 20);
        response.once('close', () => clearInterval(drip));
      },
    ] satisfies Handler[]) {
      const site = await serve(handler);
      const begun = performance.now();
      const call = resilientFetch({ ...quick, timeout: '100ms', totalTimeout: '250ms' })(site.url);
      expect(await errorOf(call)).toMatchObject({ code: 'TIMEOUT' });
      expect(performance.now() - begun).toBeLessThan(250 + 150);
      expect(site.requests.length).toBeGreaterThanOrEqual(2);
      // The connections of attempts that were given up are closed, not leaked.
      await eventually(() => site.requests.every(({ socket }) => socket.destroyed));
    }
  });

  test('nobody listens, then somebody does', async () => {
    const { server, url } = await serve(() => {});
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const call = resilientFetch({
      ...quick,
      retry: { attempts: 20, baseDelay: 20, maxDelay: 20, jitter: 'none' },
    })(url);
    await new Promise((resolve) => setTimeout(resolve, 60));
    await serve((_, response) => response.end('up'), port);
    expect(await (await call).text()).toBe('up');
  });

  test('a kept connection that the server closed is no failure for the caller', async () => {
    const site = await serve((request, response) => {
      response.end('ok', () => request.socket.destroy());
    });
    const send = resilientFetch(quick);
    for (let call = 0; call < 10; call += 1) expect((await send(site.url)).status).toBe(200);
  });

  test('Retry-After is waited for, in seconds and as a date', async () => {
    for (const after of ['1', () => new Date(Date.now() + 2_000).toUTCString()]) {
      const site = await serve((_, response, count) => {
        if (count > 1) return response.end('ok');
        response.writeHead(503, { 'retry-after': typeof after === 'string' ? after : after() });
        return response.end();
      });
      expect((await resilientFetch({ ...quick, totalTimeout: '10s' })(site.url)).status).toBe(200);
      expect(gaps(site)[0]).toBeGreaterThanOrEqual(990);
    }
  });

  test('a Retry-After beyond the time there is gives the answer to the caller at once', async () => {
    const site = await serve((_, response) => response.writeHead(503, { 'retry-after': '30' }).end('later'));
    const begun = performance.now();
    const response = await resilientFetch(quick)(site.url);
    expect([response.status, await response.text()]).toEqual([503, 'later']);
    expect(performance.now() - begun).toBeLessThan(500);
    expect(site.requests).toHaveLength(1);
  });

  test('a burst of 429 opens no circuit', async () => {
    const site = await serve((_, response) => response.writeHead(429, { 'retry-after': '0' }).end());
    const send = resilientFetch({ ...quick, retry: { attempts: 1 } });
    for (let call = 0; call < 40; call += 1) expect((await send(site.url)).status).toBe(429);
    expect(site.requests).toHaveLength(40);
  });

  test('a POST is sent once, unless it has an Idempotency-Key; a stream of a body is sent once', async () => {
    const site = await serve((request, response) => {
      request.resume();
      response.writeHead(503).end();
    });
    const send = resilientFetch(quick);
    await send(site.url, { method: 'POST', body: 'a' });
    expect(site.requests).toHaveLength(1);
    await send(site.url, { method: 'POST', body: 'a', headers: { 'idempotency-key': 'k' } });
    expect(site.requests).toHaveLength(4);
    const stream = new ReadableStream({
      start: (controller) => (controller.enqueue(new TextEncoder().encode('a')), controller.close()),
    });
    await send(site.url, { method: 'PUT', body: stream, duplex: 'half' });
    expect(site.requests).toHaveLength(5);
    await send(new Request(site.url, { method: 'PUT', body: 'replayed' }));
    expect(site.requests).toHaveLength(8);
  });

  test('answers below 500 are answers, and broken JSON is the business of the caller', async () => {
    const site = await serve((_, response) => response.writeHead(404).end('{"broken":'));
    const response = await resilientFetch(quick)(site.url);
    expect([response.status, site.requests.length]).toEqual([404, 1]);
    await expect(response.json()).rejects.toThrow(SyntaxError);
  });

  test('answers without a body work buffered too', async () => {
    const site = await serve((_, response) => response.writeHead(204).end());
    expect((await resilientFetch(quick)(site.url, { method: 'HEAD' })).status).toBe(204);
  });

  test('a circuit opens for the one authority that fails, and probes it when it is time', async () => {
    let works = false;
    const bad = await serve((_, response) => response.writeHead(works ? 200 : 500).end());
    const good = await serve((_, response) => response.end('ok'));
    const send = resilientFetch({
      ...quick,
      retry: false,
      circuitBreaker: { minimumCalls: 5, openFor: '150ms', halfOpenCalls: 2 },
    });
    for (let call = 0; call < 5; call += 1) await send(bad.url);
    expect(await errorOf(send(bad.url))).toMatchObject({ code: 'CIRCUIT_OPEN' });
    expect((await send(good.url)).status).toBe(200);
    const burst = async (): Promise<readonly unknown[]> =>
      await Promise.all(
        Array.from({ length: 20 }, () =>
          send(bad.url).then(
            ({ status }) => status,
            (error: { code: string }) => error.code,
          ),
        ),
      );
    const before = bad.requests.length;
    await eventually(async () => (await burst()).includes(500));
    // However many come at once, the server sees the probes and no more; they failed, so it is left alone again.
    expect(bad.requests.length - before).toBeLessThanOrEqual(2);
    expect(await errorOf(send(bad.url))).toMatchObject({ code: 'CIRCUIT_OPEN' });
    works = true;
    await eventually(async () => (await send(bad.url).catch(() => undefined))?.status === 200);
    await eventually(async () => (await burst()).every((outcome) => outcome === 200));
  });

  test('an abort ends it at once, also while a streamed body comes', async () => {
    const site = await serve((_, response) => void response.writeHead(200).write('begun'));
    const controller = new AbortController();
    const response = await resilientFetch({ ...quick, body: 'stream' })(site.url, {
      signal: controller.signal,
    });
    const body = response.text();
    controller.abort(new Error('enough'));
    expect(await errorOf(body)).toMatchObject({ message: 'enough' });
    await eventually(() => site.requests[0]?.socket.destroyed ?? false);
  });

  test('bad options are refused when it is made', () => {
    expect(() => resilientFetch({ retry: { attempts: 0 } })).toThrow(
      expect.objectContaining({ details: { option: 'retry.attempts' } }),
    );
    expect(() => httpPolicy({ tiemout: 1 } as never)).toThrow(
      expect.objectContaining({ details: { option: 'tiemout' } }),
    );
  });
});

describe('deadlines that travel', () => {
  test('every hop sees less time than the one before, and none runs on after it', async () => {
    const seen: number[] = [];
    const last = await serve((request, response) =>
      withIncoming(request.headers, () => {
        seen.push(remainingMs());
        setTimeout(() => response.end('late'), 2_000);
      }),
    );
    const middle = await serve((request, response) => {
      void withIncoming(request.headers, async () => {
        seen.push(remainingMs());
        const outcome = await resilientFetch(quick)(last.url).then(
          ({ status }) => status,
          (error: { code: string }) => error.code,
        );
        response.end(String(outcome));
      });
    });
    const begun = performance.now();
    const error = await withDeadline('200ms', () => errorOf(resilientFetch(quick)(middle.url)));
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    expect(performance.now() - begun).toBeLessThan(1_500);
    expect(seen[0]).toBeLessThanOrEqual(200);
    expect(seen[1]).toBeLessThan(seen[0] ?? 0);
  });

  test('only one layer of a chain retries: 3 attempts at the end, not 27', async () => {
    const database = await serve((_, response) => response.writeHead(503).end());
    const proxyTo =
      (url: string): Handler =>
      (request, response) => {
        const answer = async (): Promise<unknown> => {
          const { status } = await resilientFetch(patient)(url);
          return response.writeHead(status).end();
        };
        withIncoming(request.headers, answer).catch(() => response.destroy());
      };
    const service = await serve(proxyTo(database.url));
    const gateway = await serve(proxyTo(service.url));
    expect((await resilientFetch(patient)(gateway.url)).status).toBe(503);
    // Each layer retries in the first attempt of its caller only.
    expect(gateway.requests).toHaveLength(3);
    expect(database.requests.length).toBeLessThanOrEqual(7);
  });

  test.each([
    [{ 'x-request-deadline-ms': '250' }, 250],
    [{ 'grpc-timeout': '2S' }, 2_000],
    [{ 'grpc-timeout': '100m' }, 100],
    [{ 'x-request-deadline-ms': '-5' }, Infinity],
    [{ 'x-request-deadline-ms': 'soon' }, Infinity],
    [new Headers({ 'x-request-deadline-ms': '9' }), 9],
    [{}, Infinity],
  ])('the headers %o mean %d ms', (headers, expected) => {
    expect(withIncoming(headers, remainingMs, { clock: new FakeClock() })).toBe(expected);
  });
});

describe('load shedding', () => {
  const overloaded = { read: () => ({ delayMs: 500, utilization: 1 }), close: () => {} };

  test('an overloaded server answers 503 with Retry-After to what it cannot keep up with, and serves the rest', async () => {
    const shedder = loadShedder({ load: overloaded, minInFlight: 2 });
    const waiting: ServerResponse[] = [];
    const server = createServer(
      (request, response) => void shedder.http(() => waiting.push(response))(request, response),
    );
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const held = [fetch(url), fetch(url)];
    await eventually(() => waiting.length === 2);
    const shed = await fetch(url);
    expect([shed.status, shed.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await shed.json()).toMatchObject({ code: 'LOAD_SHED' });
    for (const response of waiting) response.end('ok');
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200]);
    await eventually(() => shedder.stats().inFlight === 0);
    expect(shedder.stats()).toMatchObject({ admitted: 2, shed: 1, overloaded: true });
  });

  test('a client that goes away gives its place back', async () => {
    const shedder = loadShedder({ load: overloaded, minInFlight: 1 });
    const site = await serve((request, response) => void shedder.http(() => {})(request, response));
    const controller = new AbortController();
    const call = errorOf(fetch(site.url, { signal: controller.signal }));
    await eventually(() => shedder.stats().inFlight === 1);
    controller.abort();
    await call;
    await eventually(() => shedder.stats().inFlight === 0);
  });

  test('as Express middleware and as Fastify plugin it does the same', async () => {
    const shedder = loadShedder({ load: overloaded, maxInFlight: 1, minInFlight: 1 });
    const middleware = shedder.express();
    const site = await serve((request, response) => middleware(request, response, () => response.end('in')));
    expect(await (await fetch(site.url)).text()).toBe('in');
    const app = fastify();
    await app.register(shedder.fastify());
    const hold: (() => void)[] = [];
    app.get('/', () => new Promise((resolve) => hold.push(() => resolve('in'))));
    await app.listen({ port: 0, host: '127.0.0.1' });
    const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/`;
    const first = fetch(url);
    await eventually(() => hold.length === 1);
    const shed = await fetch(url);
    expect([shed.status, shed.headers.get('retry-after')]).toEqual([503, '1']);
    hold[0]?.();
    expect(await (await first).text()).toBe('in');
    await app.close();
  });

  test('the important is shed last', async () => {
    const clock = new FakeClock();
    const shedder = loadShedder({ load: overloaded, minInFlight: 4, clock });
    const admit = async (priority: 'high' | 'normal' | 'low'): Promise<number> => {
      let running = 0;
      for (let call = 0; call < 10; call += 1) {
        const outcome = shedder.execute(() => new Promise(() => {}), { priority }).catch(() => 'shed');
        running +=
          (await Promise.race([outcome, new Promise((resolve) => setImmediate(resolve, 'in'))])) === 'in'
            ? 1
            : 0;
      }
      return running;
    };
    expect([await admit('low'), await admit('normal'), await admit('high')]).toEqual([2, 2, 2]);
  });

  test('a process that is not overloaded sheds nothing, and its own load is measured', async () => {
    const shedder = loadShedder({ maxDelay: '5s', maxUtilization: 1 });
    expect(
      await Promise.all(Array.from({ length: 100 }, () => shedder.execute(async () => 'ok'))),
    ).toHaveLength(100);
    await eventually(() => shedder.stats().utilization > 0);
    expect(shedder.stats()).toMatchObject({ shed: 0, overloaded: false });
    shedder.close();
  });
});
