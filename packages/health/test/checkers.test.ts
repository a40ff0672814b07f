import { once } from 'node:events';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { eventually, FakeClock, trackLeaks } from '@xiaoke/core/testing';
import {
  createHealthCheckManager,
  DatabaseHealthChecker,
  DiskHealthChecker,
  DnsHealthChecker,
  EventLoopHealthChecker,
  HeartbeatHealthChecker,
  HttpHealthChecker,
  ManualHealthChecker,
  MemoryHealthChecker,
  RedisHealthChecker,
  TcpHealthChecker,
  type CheckSnapshot,
  type HealthChecker,
  type HttpCheckerOptions,
} from '@xiaoke/health';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function look(checker: HealthChecker, timeout = 1_000): Promise<CheckSnapshot> {
  await using manager = createHealthCheckManager();
  manager.registerChecker('x', checker, { config: { timeout } });
  return await manager.check('x');
}

async function listen(server: Server | TcpServer): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

const http = async (handler: Parameters<typeof createHttpServer>[1]): Promise<string> => {
  const server = createHttpServer(handler as never);
  closers.push(() => server.closeAllConnections());
  return `http://127.0.0.1:${await listen(server)}/health`;
};

test('an endpoint is well when it answers as expected', async () => {
  const url = await http((request, response) => {
    response.statusCode = Number(request.headers['x-status'] ?? 200);
    response.end('{"ok":true}');
  });
  const outcome = async (options: HttpCheckerOptions): Promise<string> => {
    const { status, code } = await look(new HttpHealthChecker(url, options));
    return code === undefined ? status : `${status} ${code}`;
  };
  expect(await outcome({})).toBe('healthy');
  expect(await outcome({ expectedStatus: 200, headers: { 'x-status': '204' } })).toBe(
    'unhealthy UNEXPECTED_STATUS',
  );
  expect(await outcome({ expectedStatus: [200, 204], headers: { 'x-status': '204' } })).toBe('healthy');
  expect(await outcome({ expectedStatus: (status) => status < 500, headers: { 'x-status': '404' } })).toBe(
    'healthy',
  );
  expect(await outcome({ headers: { 'x-status': '302' } })).toBe('unhealthy REDIRECTED');
  expect(await outcome({ expectedBody: (text) => text.includes('ok') })).toBe('healthy');
  expect(await outcome({ expectedBody: () => false })).toBe('unhealthy UNEXPECTED_BODY');
  expect(await outcome({ expectedBody: () => true, maxBodyBytes: 3 })).toBe('unhealthy BODY_TOO_LARGE');
  expect(await outcome({ method: 'POST', body: 'hello' })).toBe('healthy');
});

test.each([
  ['never answers', () => {}],
  [
    'drips its body',
    (_request: unknown, response: { write(text: string): void }) => {
      response.write('x');
      const drip = setInterval(() => response.write('x'), 20);
      closers.push(() => clearInterval(drip));
    },
  ],
] as const)('a villain that %s is cut at the deadline', async (_name, handler) => {
  const url = await http(handler);
  const started = performance.now();
  const { code } = await look(new HttpHealthChecker(url, { expectedBody: () => true }), 200);
  expect(code).toBe('TIMEOUT');
  expect(performance.now() - started).toBeLessThan(2_000);
});

test('an endless body, a reset and a refused connection are unhealthy', async () => {
  const endless = await http((_request, response) => {
    const flood = setInterval(() => response.write('x'.repeat(20_000)), 1);
    closers.push(() => clearInterval(flood));
  });
  expect((await look(new HttpHealthChecker(endless, { expectedBody: () => true }))).code).toBe(
    'BODY_TOO_LARGE',
  );
  const reset = await http((request) => void request.socket.destroy());
  expect((await look(new HttpHealthChecker(reset))).status).toBe('unhealthy');
  expect((await look(new HttpHealthChecker('http://127.0.0.1:1/'))).status).toBe('unhealthy');
});

test('a hundred timed-out checks leave no socket and no timer', async () => {
  const url = await http(() => {});
  const check = trackLeaks();
  for (let run = 0; run < 100; run += 1) await look(new HttpHealthChecker(url), 5);
  await check(10_000);
});

test('TCP: what accepts is well', async () => {
  const port = await listen(createTcpServer((socket) => void socket.end()));
  expect((await look(new TcpHealthChecker({ host: '127.0.0.1', port }))).status).toBe('healthy');
  expect(await look(new TcpHealthChecker({ host: '127.0.0.1', port: 1 }))).toMatchObject({
    status: 'unhealthy',
    code: 'CONNECT',
  });
});

test('DNS: a server that does not answer is cut at the deadline', async () => {
  const checker = new DnsHealthChecker('example.test', { servers: ['127.0.0.1:1'] });
  expect((await look(checker, 300)).status).toBe('unhealthy');
});

test('disk, memory and event loop are measured against their limits', async () => {
  expect((await look(new DiskHealthChecker('/', { degraded: 1, unhealthy: 1 }))).status).toBe('healthy');
  expect(await look(new DiskHealthChecker('/', { degraded: 1e-9, unhealthy: 1 }))).toMatchObject({
    status: 'degraded',
    code: 'DISK_FULL',
  });
  expect((await look(new DiskHealthChecker('/nowhere'))).status).toBe('unhealthy');
  expect((await look(new MemoryHealthChecker())).status).toBe('healthy');
  expect(await look(new MemoryHealthChecker({ limitBytes: 1 }))).toMatchObject({
    status: 'unhealthy',
    code: 'MEMORY_LOW',
  });
  await using manager = createHealthCheckManager();
  manager.registerChecker('loop', new EventLoopHealthChecker({ degraded: 50, unhealthy: 100 }));
  expect((await manager.check('loop')).status).toBe('healthy');
  await eventually(async () => {
    const end = performance.now() + 300;
    while (performance.now() < end);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await manager.check('loop')).toMatchObject({ code: 'EVENT_LOOP_BLOCKED' });
  });
});

test('a heartbeat that stops is unhealthy, and a manual check is what it was set to', async () => {
  const clock = new FakeClock();
  const heart = new HeartbeatHealthChecker({ ttl: 100, clock });
  expect(heart.check()).toMatchObject({ status: 'unknown' });
  heart.beat();
  await clock.advance(100);
  expect(heart.check()).toMatchObject({ status: 'healthy' });
  await clock.advance(1);
  expect(heart.check()).toMatchObject({ status: 'unhealthy', code: 'NO_HEARTBEAT' });
  const manual = new ManualHealthChecker();
  expect(manual.check().status).toBe('unknown');
  manual.set('degraded', 'WARMING_UP');
  expect(manual.check()).toEqual({ status: 'degraded', code: 'WARMING_UP' });
  manual.set('healthy');
  expect(manual.check()).toEqual({ status: 'healthy' });
});

test.each([
  () => new HttpHealthChecker('ftp://x'),
  () => new HttpHealthChecker('nonsense'),
  () => new HttpHealthChecker('http://x', { expectedStatus: 20 }),
  () => new HttpHealthChecker('http://x', { expectedStatus: [] }),
  () => new TcpHealthChecker({ host: '', port: 1 }),
  () => new TcpHealthChecker({ host: 'x', port: 0 }),
  () => new DnsHealthChecker(''),
  () => new DnsHealthChecker('x', { servers: ['nonsense'] }),
  () => new DnsHealthChecker('x', { recordType: 'ANY' as never }),
  () => new RedisHealthChecker('redis://x', { memoryWarning: 2 }),
  () => new DatabaseHealthChecker('mysql://x', { maxLagSeconds: -1 }),
  () => new DiskHealthChecker(''),
  () => new MemoryHealthChecker({ degraded: 2 }),
  () => new HeartbeatHealthChecker({ ttl: 0 }),
])('bad options are refused at construction: %s', (make) => {
  expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
});
