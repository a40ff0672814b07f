import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  eventually as wait,
  spawnNode,
  startMariaDb,
  startMongo,
  startPostgres,
  startRabbitMq,
  startRedis,
} from '@xiaoke/test-servers';
import { afterEach, expect, test } from 'vitest';
import { eventually, FakeClock, recordingLogger, recordingMetrics, trackLeaks } from '@xiaoke/core/testing';
import {
  createHealthCheckManager,
  RabbitMqHealthChecker,
  type HealthCheckManager,
  type HealthCheckManagerOptions,
} from '@xiaoke/health';
import { createHealthHandler, type HealthHandlerOptions } from '@xiaoke/health/http';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function manager(options: HealthCheckManagerOptions = {}): HealthCheckManager {
  const health = createHealthCheckManager(options);
  closers.push(() => health.close());
  return health;
}

async function serve(health: HealthCheckManager, options: HealthHandlerOptions = {}): Promise<string> {
  const server: Server = createServer(createHealthHandler(health, options));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const statusOf = async (url: string): Promise<number> => {
  const response = await fetch(url);
  await response.arrayBuffer();
  return response.status;
};

const fast = { interval: 200, timeout: 400, failureThreshold: 2, successThreshold: 2, jitter: 0 } as const;
// A first look loads a driver and makes a connection, which a loaded machine may take its time over.
const first = { timeout: 20_000 } as const;

interface Pausable {
  readonly url: string;
  pause(): unknown;
  resume(): unknown;
  stop(): Promise<unknown>;
}

const servers: Readonly<Record<string, () => Promise<Pausable>>> = {
  Redis: () => startRedis(),
  PostgreSQL: () => startPostgres(),
  MariaDB: () => startMariaDb(),
  MongoDB: () => startMongo(),
  RabbitMQ: () => startRabbitMq(),
};

test.each(Object.keys(servers))(
  'scenarios 1 and 2: %s is paused: readiness goes within the threshold, liveness stays, and both are well after it',
  async (kind) => {
    const server = await servers[kind]?.();
    if (server === undefined) throw new Error('unreachable');
    closers.push(() => server.stop());
    const health = manager();
    if (kind === 'Redis') health.registerRedisChecker('it', server.url, { config: fast });
    else if (kind === 'RabbitMQ')
      health.registerChecker('it', new RabbitMqHealthChecker(server.url), { config: fast });
    else health.registerDatabaseChecker('it', server.url, { config: fast });
    health.registerCustomChecker('alive', () => true, { config: { groups: ['liveness'], interval: 100 } });
    const url = await serve(health);
    await health.start();
    await eventually(async () => expect(await statusOf(`${url}/readyz`)).toBe(200), first);

    server.pause();
    const paused = performance.now();
    await eventually(async () => expect(await statusOf(`${url}/readyz`)).toBe(503), { interval: 20 });
    // Two runs that time out, the pause between them, and what a loaded machine adds.
    expect(performance.now() - paused).toBeLessThan(2 * (fast.timeout + fast.interval) + 2_500);
    expect(await statusOf(`${url}/livez`)).toBe(200);
    server.resume();
    await eventually(async () => expect(await statusOf(`${url}/readyz`)).toBe(200), first);
    expect(await statusOf(`${url}/livez`)).toBe(200);
  },
  120_000,
);

test('scenario 3: one of ten checks hangs: answers are as fast as ever', async () => {
  const health = manager();
  for (let index = 0; index < 9; index += 1) health.registerCustomChecker(`ok-${index}`, () => true);
  health.registerCustomChecker('hangs', () => new Promise(() => {}), {
    config: { interval: 50, timeout: 50 },
  });
  const handler = createHealthHandler(health);
  void health.start();
  await eventually(() => expect(health.stats().timeouts).toBeGreaterThan(0));
  const took = Array.from({ length: 1_000 }, () => {
    const start = performance.now();
    handler({ method: 'GET', url: '/readyz', headers: {} }, { writeHead: () => {}, end: () => {} });
    return performance.now() - start;
  }).sort((a, b) => a - b);
  expect(took[500]).toBeLessThan(0.2);
  expect(took[990]).toBeLessThan(2);
});

test('scenario 4: fifty probes at once run no check, whatever they ask for', async () => {
  const health = manager();
  let runs = 0;
  health.registerCustomChecker('x', () => void (runs += 1), { config: { interval: '1h' } });
  await health.start();
  const url = await serve(health);
  const before = runs;
  await Promise.all(
    Array.from({ length: 50 }, (_, n) => statusOf(`${url}/readyz${n % 2 ? '?fresh=1' : ''}`)),
  );
  expect(runs).toBe(before);
});

test('scenario 5: a scheduler that stopped is noticed: what is too old is unknown, and not ready', async () => {
  const clock = new FakeClock();
  const health = manager({ clock });
  let hang = false;
  health.registerCustomChecker('x', () => (hang ? new Promise<void>(() => {}) : undefined), {
    config: { interval: 1_000, timeout: 100_000, maxAge: 5_000 },
  });
  await health.start();
  expect(health.status('readiness')).toBe('healthy');
  // As good as stopped: a run that does not end, with a deadline that is far away.
  hang = true;
  await clock.advance(4_500);
  expect(health.status('readiness')).toBe('healthy');
  await clock.advance(1_000);
  expect(health.report('readiness')).toMatchObject({ status: 'unknown', checks: { x: { code: 'STALE' } } });
  expect(await statusOf(`${await serve(health)}/readyz`)).toBe(503);
});

test('scenario 6: an optional MongoDB that is down leaves the service ready, and degraded', async () => {
  const mongo = await startMongo();
  closers.push(() => mongo.stop());
  const health = manager();
  const config = { ...fast, critical: false, timeout: 1_000 };
  health.registerDatabaseChecker('mongo', mongo.url, { config });
  health.registerCustomChecker('self', () => true);
  const url = await serve(health);
  await health.start();
  await eventually(() => expect(health.status('readiness')).toBe('healthy'), first);
  await mongo.kill();
  await eventually(() => expect(health.status('readiness')).toBe('degraded'), first);
  expect(await statusOf(`${url}/readyz`)).toBe(200);
  const report = (await (await fetch(`${url}/readyz`)).json()) as { checks: { mongo: { status: string } } };
  expect(report.checks.mongo.status).toBe('unhealthy');
}, 60_000);

test('scenario 7: results that alternate are one flapping, and no storm of alarms', async () => {
  const clock = new FakeClock();
  const health = manager({ clock });
  let flaps = 0;
  let alarms = 0;
  let run = 0;
  health.on('flapping', () => (flaps += 1));
  health.registerCustomChecker('x', () => (run += 1) % 2 === 0, {
    config: { interval: 1_000, failureThreshold: 1, jitter: 0 },
  });
  health.addStatusChangeCallback(() => (alarms += 1), { check: 'x' });
  await health.start();
  await clock.advance(10 * 60_000);
  expect(flaps).toBe(1);
  expect(run).toBeGreaterThan(500);
  expect(alarms).toBeLessThan(25);
});

test('scenario 8: a secret in a URL or in an error appears in no endpoint, log, label, event or page', async () => {
  const secret = 'hunter2-s3cr3t';
  const logger = recordingLogger();
  const metrics = recordingMetrics();
  const health = manager({ logger, metrics });
  const config = { timeout: 2_000, failureThreshold: 1 } as const;
  const events: unknown[] = [];
  health.on('change', (change) => void events.push(change));
  health
    .registerDatabaseChecker('pg', `postgresql://user:${secret}@127.0.0.1:1/db`, { config })
    .registerDatabaseChecker('mysql', `mysql://user:${secret}@127.0.0.1:1/db`, { config })
    .registerDatabaseChecker('mongo', `mongodb://user:${secret}@127.0.0.1:1/db`, { config })
    .registerRedisChecker('redis', `redis://:${secret}@127.0.0.1:1`, { config })
    .registerHttpChecker('http', `http://user:${secret}@127.0.0.1:1/?token=${secret}`, { config })
    .registerChecker('rabbit', new RabbitMqHealthChecker(`amqp://user:${secret}@127.0.0.1:1`), { config })
    .registerCustomChecker('throws', () => Promise.reject(new Error(`bad password ${secret}`)))
    .registerCustomChecker('coded', () =>
      Promise.reject(Object.assign(new Error(secret), { code: `password ${secret}` })),
    )
    .registerCustomChecker('told', () => ({ status: 'unhealthy', code: `is ${secret}` }));
  await health.start();
  for (const { name } of health.snapshots()) await health.check(name);
  const url = await serve(health, { details: true, paths: { page: '/page' } });
  const texts = [JSON.stringify(health.history('throws')), JSON.stringify(events)];
  for (const path of ['/livez', '/readyz', '/startupz', '/healthz', '/page'])
    for (const accept of ['application/json', 'application/health+json', 'text/plain'])
      texts.push(await (await fetch(url + path, { headers: { accept } })).text());
  texts.push(JSON.stringify(logger.lines, replaceErrors));
  await metrics.collect();
  const labels = metrics.names().flatMap((name) => metrics.series(name));
  expect(labels.length).toBeGreaterThan(9);
  texts.push(...metrics.names(), JSON.stringify(labels));
  expect(health.status()).toBe('unhealthy');
  for (const text of texts) expect(text).not.toContain(secret);
}, 60_000);

/** As a logger writes an error: its message and stack too. */
function replaceErrors(_key: string, value: unknown): unknown {
  return value instanceof Error ? { message: value.message, stack: value.stack, cause: value.cause } : value;
}

test('scenario 9: SIGTERM under load fails no request, and takes readiness away first', async () => {
  await using service = spawnNode({
    from: import.meta.url,
    code: `
      import { createServer } from 'node:http';
      import { createHealthCheckManager } from '@xiaoke/health';
      import { createHealthHandler, gracefulShutdown } from '@xiaoke/health/http';
      const health = createHealthCheckManager();
      health.registerCustomChecker('self', () => true);
      await health.start();
      const probe = createHealthHandler(health);
      const server = createServer((request, response) =>
        probe(request, response, () => setTimeout(() => response.end('done'), 5 + Math.random() * 30)));
      process.once('SIGTERM', () => {
        gracefulShutdown({ manager: health, server, drainDelay: 1_500 }).then(() => process.send({ kind: 'down' }, () => process.disconnect()));
      });
      server.listen(0, '127.0.0.1', () => process.send({ kind: 'up', port: server.address().port }));
    `,
  });
  const { port } = (await service.message((message) => message['kind'] === 'up')) as unknown as {
    port: number;
  };
  const url = `http://127.0.0.1:${port}`;
  let ready = true;
  const failures: unknown[] = [];
  let served = 0;
  // As a load balancer does it: new requests go there as long as readiness was there a moment ago.
  const balancer = (async () => {
    while (ready) {
      ready = (await statusOf(`${url}/readyz`)) === 200;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  const clients = Array.from({ length: 16 }, async () => {
    while (ready) {
      try {
        const response = await fetch(`${url}/work`);
        if ((await response.text()) !== 'done') failures.push(response.status);
        served += 1;
      } catch (error) {
        failures.push(error);
      }
    }
  });
  await wait(() => served > 200);
  const down = service.message((message) => message['kind'] === 'down');
  process.kill(service.pid, 'SIGTERM');
  await balancer;
  expect(await statusOf(`${url}/livez`)).toBe(200);
  await Promise.all(clients);
  await down;
  expect(failures).toEqual([]);
  expect(served).toBeGreaterThan(200);
}, 60_000);

test('scenario 10: HEAD, query strings, trailing slashes, and two managers in one process that do not mix', async () => {
  const [well, ill] = [manager(), manager()];
  well.registerCustomChecker('x', () => true);
  ill.registerCustomChecker('y', () => false);
  await Promise.all([well.start(), ill.start()]);
  const [wellUrl, illUrl] = [await serve(well), await serve(ill)];
  for (const path of ['/readyz', '/readyz/', '/readyz?verbose=1', '/readyz/?x=1&y=2']) {
    expect([await statusOf(wellUrl + path), await statusOf(illUrl + path)]).toEqual([200, 503]);
    const head = await fetch(wellUrl + path, { method: 'HEAD' });
    expect([head.status, await head.text(), Number(head.headers.get('content-length')) > 0]).toEqual([
      200,
      '',
      true,
    ]);
  }
  expect(await (await fetch(`${wellUrl}/readyz`)).json()).toMatchObject({ checks: { x: {} } });
  expect(await (await fetch(`${illUrl}/readyz`)).json()).not.toHaveProperty('checks.x');
});

test('scenario 11: recovery begins after N failures, pauses longer each time, ends, and is aborted by a stop', async () => {
  const clock = new FakeClock();
  const health = manager({ clock });
  const tried: number[] = [];
  const signals: AbortSignal[] = [];
  health.registerCustomChecker('x', () => false, {
    config: {
      interval: 1_000,
      failingInterval: 1_000,
      jitter: 0,
      recover: {
        after: 3,
        backoff: 2_000,
        maxAttempts: 3,
        action: (_check, signal) => {
          tried.push(clock.monotonic());
          signals.push(signal);
          return tried.length === 3 ? new Promise(() => {}) : undefined;
        },
      },
    },
  });
  await health.start();
  await clock.advance(60_000);
  expect(tried).toEqual([2_000, 4_000, 8_000]);
  expect(signals[2]?.aborted).toBe(false);
  await health.close();
  expect(signals[2]?.aborted).toBe(true);
});

test('scenario 20: a manager can be stopped and made again, and the process ends by itself when it is done', async () => {
  await using redis = await startRedis();
  await using child = spawnNode(
    {
      from: import.meta.url,
      code: `
        import { createHealthCheckManager, EventLoopHealthChecker } from '@xiaoke/health';
        for (let round = 0; round < 3; round += 1) {
          const health = createHealthCheckManager();
          health.registerRedisChecker('redis', process.argv[2], { config: { interval: 50 } });
          health.registerChecker('loop', new EventLoopHealthChecker());
          health.registerCustomChecker('hangs', () => new Promise(() => {}), { config: { interval: 50, timeout: 50 } });
          void health.start();
          await new Promise((resolve) => setTimeout(resolve, 150));
          await health.close();
        }
        process.send({ kind: 'closed' }, () => process.disconnect());
      `,
    },
    { args: [redis.url] },
  );
  await child.message((message) => message['kind'] === 'closed');
  const exit = await child.exited;
  expect([exit.code, exit.signal]).toEqual([0, null]);
}, 60_000);

test('a thousand checks that time out leave no socket, timer, listener, pool client or queued command', async () => {
  const silent = createServer(() => {});
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  closers.push(() => (silent.closeAllConnections(), silent.close()));
  const { port } = silent.address() as AddressInfo;
  const check = trackLeaks();
  const health = createHealthCheckManager();
  const config = { timeout: 15, failureThreshold: 1, interval: '1h' } as const;
  health.registerHttpChecker('http', `http://127.0.0.1:${port}`, { config });
  health.registerRedisChecker('redis', `redis://127.0.0.1:${port}`, { config });
  health.registerDatabaseChecker('pg', `postgresql://u:p@127.0.0.1:${port}/d`, { config });
  health.registerDatabaseChecker('mysql', `mysql://u:p@127.0.0.1:${port}/d`, { config });
  health.registerChecker('rabbit', new RabbitMqHealthChecker(`amqp://127.0.0.1:${port}`), { config });
  const names = health.snapshots().map(({ name }) => name);
  // Each is really begun and really cut: what was left out because an earlier run was still being cut is begun again.
  const cut = async (name: string): Promise<void> => {
    while ((await health.check(name)).code === 'STILL_RUNNING')
      await new Promise((resolve) => setTimeout(resolve, 5));
  };
  for (let run = 0; run < 200; run += 1) await Promise.all(names.map((name) => cut(name)));
  expect(health.stats().runs).toBeGreaterThanOrEqual(1_000);
  await eventually(async () => {
    const open = await new Promise<number>((resolve) =>
      silent.getConnections((_error, count) => resolve(count)),
    );
    expect(open).toBeLessThanOrEqual(names.length);
  });
  await health.close();
  await check(15_000);
}, 120_000);
