import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { afterEach, expect, test } from 'vitest';
import { eventually, FakeClock, trackLeaks } from '@xiaoke/core/testing';
import {
  createHealthCheckManager,
  GrpcHealthChecker,
  HttpHealthChecker,
  TlsHealthChecker,
  type HealthChecker,
  type HttpCheckerOptions,
} from '@xiaoke/health';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function look(checker: HealthChecker, timeout = 3_000): Promise<string> {
  await using manager = createHealthCheckManager();
  manager.registerChecker('x', checker, { config: { timeout } });
  const { status, code } = await manager.check('x');
  return code === undefined ? status : `${status} ${code}`;
}

async function listen(server: Server | TcpServer): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function http(handler: RequestListener): Promise<string> {
  const server = createHttpServer(handler);
  closers.push(() => server.closeAllConnections());
  return `http://127.0.0.1:${await listen(server)}`;
}

const asked = (url: string, options: HttpCheckerOptions = {}, timeout?: number): Promise<string> =>
  look(new HttpHealthChecker(url, options), timeout);

test('redirects are followed only where that is wanted, up to a limit, and loops end', async () => {
  const url = await http((request, response) => {
    const step = Number(request.url?.slice(1));
    if (Number.isNaN(step)) response.writeHead(302, { location: request.url ?? '' }).end('again');
    else if (step > 0) response.writeHead(302, { location: `/${step - 1}` }).end('on');
    else response.end('ok');
  });
  expect(await asked(`${url}/1`)).toBe('unhealthy REDIRECTED');
  expect(await asked(`${url}/3`, { followRedirects: true, expectedBody: (text) => text === 'ok' })).toBe(
    'healthy',
  );
  expect(await asked(`${url}/3`, { followRedirects: 2 })).toBe('unhealthy TOO_MANY_REDIRECTS');
  expect(await asked(`${url}/loop`, { followRedirects: true })).toBe('unhealthy TOO_MANY_REDIRECTS');
});

test('your headers and body go to no other origin, wherever a redirect leads', async () => {
  const seen: string[] = [];
  const other = await http((request, response) => {
    seen.push(JSON.stringify(request.headers));
    response.end();
  });
  const url = await http((_request, response) => response.writeHead(307, { location: other }).end());
  const headers = { 'x-api-key': 'hunter2', authorization: 'Bearer hunter2' };
  expect(await asked(url, { followRedirects: true, method: 'POST', body: 'hunter2', headers })).toBe(
    'healthy',
  );
  expect(seen.length).toBe(1);
  expect(seen[0]).not.toContain('hunter2');
});

test.each([
  ['never answers', () => {}, 'unhealthy TIMEOUT'],
  [
    'drips its headers',
    (socket: { write(text: string): void; once(event: string, then: () => void): void }) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const drip = setInterval(() => socket.write('x-drip: y\r\n'), 20);
      socket.once('close', () => clearInterval(drip));
    },
    'unhealthy TIMEOUT',
  ],
  [
    'drips its body',
    (socket: { write(text: string): void; once(event: string, then: () => void): void }) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n');
      const drip = setInterval(() => socket.write('x'), 20);
      socket.once('close', () => clearInterval(drip));
    },
    'unhealthy TIMEOUT',
  ],
  [
    'resets in the middle of its body',
    (socket: { write(text: string, then: () => void): void; resetAndDestroy(): void }) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf', () =>
        setTimeout(() => socket.resetAndDestroy(), 30),
      ),
    'unhealthy CONNECT',
  ],
  [
    'speaks no HTTP',
    (socket: { end(text: string): void }) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'),
    'unhealthy CONNECT',
  ],
  [
    'never stops',
    (socket: { write(text: string): void; once(event: string, then: () => void): void }) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n');
      const flood = setInterval(() => socket.write('x'.repeat(50_000)), 2);
      socket.once('close', () => clearInterval(flood));
    },
    'unhealthy BODY_TOO_LARGE',
  ],
] as const)('a villain that %s is found out in time, and leaves nothing', async (_name, serve, found) => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => (serve as (socket: unknown) => void)(socket));
  });
  const port = await listen(server);
  const check = trackLeaks();
  const started = performance.now();
  expect(await asked(`http://127.0.0.1:${port}`, { expectedBody: () => true }, 400)).toBe(found);
  expect(performance.now() - started).toBeLessThan(3_000);
  await check(10_000);
});

test('a slow answer is degraded, and bad options are refused', async () => {
  const url = await http((_request, response) => void setTimeout(() => response.end(), 60));
  expect(await asked(url, { degradedAfter: 10 })).toBe('degraded SLOW');
  expect(await asked(url, { degradedAfter: '10s' })).toBe('healthy');
  for (const options of [
    { followRedirects: -1 },
    { followRedirects: 99 },
    { maxBodyBytes: 0 },
    { certificate: true },
    { degradedAfter: 'soon' },
  ])
    expect(() => new HttpHealthChecker(url, options)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    );
});

// Made for these tests: for localhost and 127.0.0.1, signed by itself, and good for a hundred years.
const fixture = (name: string): Buffer => readFileSync(new URL(`./fixtures/${name}`, import.meta.url));
const key = fixture('localhost-key.pem');
const cert = fixture('localhost-cert.pem');
const DAY = 24 * 3_600_000;

/** A clock by which so many days are left of the certificate. */
function daysBefore(days: number): FakeClock {
  return new FakeClock(Date.parse(new X509Certificate(cert).validTo) - days * DAY);
}

test('a certificate is watched: well, about to end, ended, and not trusted', async () => {
  const server = createHttpsServer({ key, cert }, (_request, response) => response.end('ok'));
  let connections = 0;
  server.on('connection', () => (connections += 1));
  const port = await listen(server);
  const tls = (daysLeft: number): Promise<string> =>
    look(new TlsHealthChecker({ host: '127.0.0.1', port, ca: cert, clock: daysBefore(daysLeft) }));
  expect(await tls(30)).toBe('healthy');
  expect(await tls(10)).toBe('degraded TLS_EXPIRING');
  expect(await tls(0.5)).toBe('unhealthy TLS_EXPIRING');
  expect(await tls(-1)).toBe('unhealthy TLS_EXPIRED');
  expect(await look(new TlsHealthChecker('cert', { host: 'localhost', port }))).toBe(
    'unhealthy TLS_UNTRUSTED',
  );
  expect(await look(new TlsHealthChecker({ host: '127.0.0.1', port: 1 }))).toBe('unhealthy CONNECT');
  const wrongName = { host: '127.0.0.1', port, ca: cert, serverName: 'other.test' };
  expect(await look(new TlsHealthChecker(wrongName))).toBe('unhealthy TLS_UNTRUSTED');

  // While it is well, one look an hour will do.
  const clock = daysBefore(30);
  const watch = new TlsHealthChecker({ host: '127.0.0.1', port, ca: cert, clock });
  await using manager = createHealthCheckManager();
  manager.registerChecker('tls', watch);
  const before = connections;
  for (let run = 0; run < 3; run += 1) expect((await manager.check('tls')).status).toBe('healthy');
  await eventually(() => expect(connections - before).toBe(1));
  await clock.advance(3_600_001);
  await manager.check('tls');
  await eventually(() => expect(connections - before).toBe(2));
});

test('an https endpoint is well only with a certificate that is trusted and lasts', async () => {
  const server = createHttpsServer({ key, cert }, (_request, response) => response.end('ok'));
  closers.push(() => server.closeAllConnections());
  const url = `https://127.0.0.1:${await listen(server)}`;
  expect(await asked(url)).toBe('unhealthy TLS_UNTRUSTED');
  // The certificate's own check is what matters here, so the request itself is answered by hand.
  const trusting = async (): Promise<Response> => new Response('ok');
  expect(await asked(url, { fetch: trusting, certificate: { ca: cert } })).toBe('healthy');
  expect(await asked(url, { fetch: trusting, certificate: { ca: cert, clock: daysBefore(10) } })).toBe(
    'degraded TLS_EXPIRING',
  );
});

test('a server that does not finish a TLS handshake is cut at the deadline', async () => {
  const port = await listen(createTcpServer((socket) => void socket.on('error', () => {}).resume()));
  const check = trackLeaks();
  expect(await look(new TlsHealthChecker({ host: '127.0.0.1', port }), 200)).toBe('unhealthy TIMEOUT');
  await check(5_000);
});

test('gRPC: serving, not serving, unknown, and gone', async () => {
  const health = new HealthImplementation({ '': 'SERVING', 'med.Schedule': 'NOT_SERVING' });
  const server = new grpc.Server();
  health.addToServer(server);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  closers.push(() => server.forceShutdown());
  const url = `http://127.0.0.1:${port}`;
  expect(await look(new GrpcHealthChecker(url))).toBe('healthy');
  expect(await look(new GrpcHealthChecker('scheduling', url, { service: 'med.Schedule' }))).toBe(
    'unhealthy NOT_SERVING',
  );
  expect(await look(new GrpcHealthChecker(url, { service: 'nobody' }))).toBe('unhealthy SERVICE_UNKNOWN');

  await using manager = createHealthCheckManager();
  manager.registerChecker(new GrpcHealthChecker(url, { service: 'med.Schedule' }), {
    config: { failureThreshold: 1, timeout: 3_000 },
  });
  expect((await manager.check('grpc')).code).toBe('NOT_SERVING');
  health.setStatus('med.Schedule', 'SERVING');
  expect((await manager.check('grpc')).status).toBe('healthy');
  server.forceShutdown();
  await eventually(async () => expect((await manager.check('grpc')).code).toBe('CONNECT'));
});

test('gRPC: a server that speaks something else, answers too much, or nothing', async () => {
  const check = trackLeaks();
  const bare = new grpc.Server();
  const port = await new Promise<number>((resolve) => {
    bare.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (_error, bound) => resolve(bound));
  });
  expect(await look(new GrpcHealthChecker(`http://127.0.0.1:${port}`))).toBe('unhealthy UNIMPLEMENTED');
  bare.forceShutdown();

  const answers: Record<
    string,
    (stream: { respond(headers: Record<string, string | number>): void; end(data?: unknown): void }) => void
  > = {
    teapot: (stream) => {
      stream.respond({ ':status': 418 });
      stream.end();
    },
    denied: (stream) => {
      stream.respond({ ':status': 200, 'grpc-status': '16' });
      stream.end();
    },
    broken: (stream) => {
      stream.respond({ ':status': 200, 'grpc-status': '13' });
      stream.end();
    },
    flood: (stream) => {
      stream.respond({ ':status': 200 });
      stream.end(Buffer.alloc(100_000));
    },
    silent: () => {},
  };
  let answer = answers['teapot'];
  const server = createHttp2Server();
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    answer?.(stream);
  });
  server.on('sessionError', () => {});
  const url = `http://127.0.0.1:${await listen(server)}`;
  const found: string[] = [];
  for (const name of Object.keys(answers)) {
    answer = answers[name];
    found.push(await look(new GrpcHealthChecker(url), 500));
  }
  expect(found).toEqual([
    'unhealthy UNEXPECTED_STATUS',
    'unhealthy AUTH',
    'unhealthy FAILED',
    'unhealthy CONNECT',
    'unhealthy TIMEOUT',
  ]);
  server.close();
  await check(10_000);
});

test.each([
  () => new GrpcHealthChecker('localhost:50051'),
  () => new GrpcHealthChecker('http://x', { service: 'x'.repeat(200) }),
  () => new TlsHealthChecker({ host: '', port: 1 }),
  () => new TlsHealthChecker({ host: 'x', port: 0 }),
  () => new TlsHealthChecker({ host: 'x', port: 1, degraded: '1h', unhealthy: '2h' }),
])('bad options are refused at construction: %s', (make) => {
  expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});
