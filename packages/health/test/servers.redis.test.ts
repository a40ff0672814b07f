import {
  chaosProxy,
  startMariaDb,
  startPostgres,
  startRabbitMq,
  startRedis,
  startRedisCluster,
} from '@xiaoke/test-servers';
import amqplib from 'amqplib';
import { Cluster, Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { expect, test } from 'vitest';
import { eventually, trackLeaks } from '@xiaoke/core/testing';
import {
  createHealthCheckManager,
  DatabaseHealthChecker,
  RabbitMqHealthChecker,
  RedisHealthChecker,
  type CheckSnapshot,
  type HealthChecker,
} from '@xiaoke/health';

const config = { timeout: 500, failureThreshold: 1 } as const;
// The first look loads the driver.
const patient = { timeout: 5_000, failureThreshold: 1 } as const;

async function look(checker: HealthChecker, timeout = 5_000): Promise<CheckSnapshot> {
  await using manager = createHealthCheckManager();
  manager.registerChecker('x', checker, { config: { timeout } });
  return await manager.check('x');
}

test('Redis: well, frozen, back, killed, and back', async () => {
  await using redis = await startRedis();
  await using health = createHealthCheckManager();
  health.registerRedisChecker('redis', redis.url, { config });
  const status = async (): Promise<string> => {
    const { status: now, code } = await health.check('redis');
    return code === undefined ? now : `${now} ${code}`;
  };
  expect(await status()).toBe('healthy');
  redis.pause();
  expect(await status()).toBe('unhealthy TIMEOUT');
  redis.resume();
  await eventually(async () => (await status()) === 'healthy');
  await redis.kill();
  expect(await status()).toBe('unhealthy CONNECT');
  await redis.restart();
  expect(await status()).toBe('healthy');
});

test('Redis: one that still reads its data answers, and is LOADING until it has', async () => {
  await using redis = await startRedis({
    args: ['--key-load-delay', '1000', '--loading-process-events-interval-bytes', '1024'],
  });
  const fill = "for i = 1, 2000 do redis.call('SET', 'key' .. i, string.rep('x', 100)) end";
  await redis.cli('EVAL', fill, '0');
  await redis.cli('SAVE');
  const back = redis.restart();
  const seen = await eventually(async () => {
    const snapshot = await look(new RedisHealthChecker(redis.url));
    expect(snapshot.code).toBe('LOADING');
    return snapshot;
  });
  expect(seen.status).toBe('unhealthy');
  await back;
  expect((await look(new RedisHealthChecker(redis.url))).status).toBe('healthy');
});

test('Redis: a PONG from a server that cannot be written to is no health', async () => {
  await using primary = await startRedis();
  await using replica = await startRedis({ args: ['--replicaof', primary.host, String(primary.port)] });
  expect(await look(new RedisHealthChecker(replica.url))).toMatchObject({
    status: 'unhealthy',
    code: 'READONLY',
  });
  await eventually(async () =>
    expect((await look(new RedisHealthChecker(replica.url, { require: 'readable' }))).status).toBe('healthy'),
  );
  await primary.kill();
  await eventually(async () =>
    expect(await look(new RedisHealthChecker(replica.url, { require: 'readable' }))).toMatchObject({
      status: 'degraded',
      code: 'REPLICA_LINK_DOWN',
    }),
  );
  await using full = await startRedis({ args: ['--maxmemory', '1', '--maxmemory-policy', 'noeviction'] });
  expect(await look(new RedisHealthChecker(full.url))).toMatchObject({
    status: 'unhealthy',
    code: 'OUT_OF_MEMORY',
  });
});

test('Redis: where the ACL allows PING only, PING has to do; a wrong password is AUTH and appears nowhere', async () => {
  await using redis = await startRedis();
  await redis.cli('ACL', 'SETUSER', 'probe', 'on', '>hunter2', '+ping', '+hello', '+auth', '+client');
  const url = (password: string): string => `redis://probe:${password}@${redis.host}:${redis.port}`;
  expect((await look(new RedisHealthChecker(url('hunter2')))).status).toBe('healthy');
  const refused = await look(new RedisHealthChecker(url('hunter3')));
  expect(refused.status).toBe('unhealthy');
  expect(JSON.stringify(refused)).not.toContain('hunter');
});

test('Redis: your own client is looked at through a connection beside it, which is closed again', async () => {
  await using redis = await startRedis();
  const mine = new Redis(redis.url);
  await mine.ping();
  const check = trackLeaks();
  expect((await look(new RedisHealthChecker(mine))).status).toBe('healthy');
  await check();
  expect(await mine.ping()).toBe('PONG');
  mine.disconnect();
});

test('Redis: checks that time out leave no socket behind', async () => {
  await using redis = await startRedis();
  await using proxy = await chaosProxy({ target: { host: redis.host, port: redis.port } });
  proxy.halfOpen(true);
  const check = trackLeaks();
  for (let run = 0; run < 50; run += 1) {
    expect((await look(new RedisHealthChecker(proxy.url('redis')), 10)).code).toBe('TIMEOUT');
  }
  await check(10_000);
});

test('Redis: a Cluster is well while all its slots are served', async () => {
  await using cluster = await startRedisCluster();
  const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })));
  await using health = createHealthCheckManager();
  health.registerRedisChecker('cluster', client, { config: { ...config, timeout: 3_000 } });
  await eventually(async () => expect((await health.check('cluster')).status).toBe('healthy'), {
    timeout: 10_000,
  });
  expect((await health.check('cluster')).observed).toMatchObject({ slotsOk: 16_384, slotsFailed: 0 });
  await cluster.nodes[0]?.kill();
  await eventually(async () => expect((await health.check('cluster')).status).toBe('unhealthy'), {
    timeout: 30_000,
  });
  await health.close();
  expect(['ready', 'reconnecting', 'connect']).toContain(client.status);
  client.disconnect();
}, 90_000);

test('Redis: a server that could not save is degraded: it works, and would lose its data', async () => {
  await using redis = await startRedis({ args: ['--enable-protected-configs', 'yes'] });
  // Nobody can write there, whoever the server runs as.
  await redis.cli('CONFIG', 'SET', 'dir', '/proc');
  await redis.cli('BGSAVE').catch(() => {});
  await eventually(async () =>
    expect(await look(new RedisHealthChecker(redis.url))).toMatchObject({
      status: 'degraded',
      code: 'SNAPSHOT_FAILED',
    }),
  );
});

test('PostgreSQL: from a URL on a connection of its own, through freeze, kill and return', async () => {
  await using server = await startPostgres();
  await using health = createHealthCheckManager();
  health.registerDatabaseChecker('db', server.url, { config: { ...config, timeout: 1_000 } });
  const status = async (): Promise<string> => {
    const { status: now, code } = await health.check('db');
    return code === undefined ? now : `${now} ${code}`;
  };
  expect(await status()).toBe('healthy');
  server.pause();
  expect(await status()).toBe('unhealthy TIMEOUT');
  server.resume();
  await eventually(async () => (await status()) === 'healthy');
  await server.kill();
  expect(await status()).toMatch(/^unhealthy/);
  await server.restart();
  await eventually(async () => (await status()) === 'healthy');
});

test('PostgreSQL: a busy pool is degraded, a frozen server gives its client back, and read-only is no health', async () => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 1 });
  pool.on('error', () => {});
  const checker = new DatabaseHealthChecker(pool);
  expect((await look(checker)).status).toBe('healthy');

  const lent = await pool.connect();
  const waiting = pool.query('SELECT 1');
  expect(await look(new DatabaseHealthChecker(pool))).toMatchObject({
    status: 'degraded',
    code: 'POOL_BUSY',
  });
  lent.release();
  await waiting;

  server.pause();
  expect((await look(new DatabaseHealthChecker(pool), 300)).code).toBe('TIMEOUT');
  server.resume();
  await eventually(() => pool.waitingCount === 0 && pool.totalCount - pool.idleCount === 0);

  const readonly = `${server.url}${server.url.includes('?') ? '&' : '?'}options=${encodeURIComponent('-c default_transaction_read_only=on')}`;
  expect((await look(new DatabaseHealthChecker(readonly))).code).toBe('READONLY');
  expect((await look(new DatabaseHealthChecker(readonly, { require: 'readable' }))).status).toBe('healthy');
  await pool.end();
});

test('PostgreSQL: a pool whose server froze looks busy, and is stuck: unhealthy until somebody gets a connection again', async () => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 1 });
  pool.on('error', () => {});
  const checker = new DatabaseHealthChecker(pool, { stuckAfter: 1_000 });
  await using health = createHealthCheckManager();
  health.registerChecker('pool', checker, { config: { ...config, timeout: 500 } });
  const said = async (): Promise<string | undefined> => (await health.check('pool')).code;
  await eventually(async () => (await health.check('pool')).status === 'healthy');
  server.pause();
  // The work of the application waits, one behind the other.
  const work = [1, 2, 3].map(() => pool.query('SELECT 1'));
  await eventually(async () => (await said()) === 'POOL_BUSY');
  await eventually(async () => (await said()) === 'POOL_STUCK');
  expect(health.status()).toBe('unhealthy');
  server.resume();
  await Promise.all(work);
  await eventually(async () => (await health.check('pool')).status === 'healthy');
  await health.close();
  expect(pool.listenerCount('acquire')).toBe(0);
  await pool.end();
});

test('MariaDB: by URL and by pool, and down', async () => {
  await using server = await startMariaDb();
  const pool = mysql.createPool({ uri: server.url, connectionLimit: 1 });
  await using health = createHealthCheckManager();
  health.registerDatabaseChecker('url', server.url, { config: patient });
  health.registerDatabaseChecker('pool', pool, { config: patient });
  expect((await health.check('url')).status).toBe('healthy');
  expect((await health.check('pool')).status).toBe('healthy');
  await server.kill();
  expect((await health.check('url')).status).toBe('unhealthy');
  await pool.end().catch(() => {});
});

test('RabbitMQ: well, alarmed, down', async () => {
  await using broker = await startRabbitMq();
  await using health = createHealthCheckManager();
  health.registerChecker('rabbit', new RabbitMqHealthChecker(broker.url), {
    config: { ...config, timeout: 5_000 },
  });
  expect((await health.check('rabbit')).status).toBe('healthy');
  await broker.stopApp();
  expect((await health.check('rabbit')).status).toBe('unhealthy');
  await broker.startApp();
  await eventually(async () => (await health.check('rabbit')).status === 'healthy', { timeout: 30_000 });
}, 90_000);

test('RabbitMQ: a connection of yours that the broker blocks is degraded, and stays yours', async () => {
  await using broker = await startRabbitMq();
  const mine = await amqplib.connect(broker.url);
  await using health = createHealthCheckManager();
  health.registerChecker('rabbit', new RabbitMqHealthChecker(mine), {
    config: { timeout: 5_000, failureThreshold: 1 },
  });
  expect((await health.check('rabbit')).status).toBe('healthy');
  // A broker only blocks who publishes.
  await broker.setMemoryHighWatermark(0.000_01);
  const channel = await mine.createChannel();
  channel.publish('', 'nobody', Buffer.from('x'));
  await eventually(
    async () => expect(await health.check('rabbit')).toMatchObject({ status: 'degraded', code: 'ALARM' }),
    { timeout: 20_000 },
  );
  await broker.setMemoryHighWatermark(0.6);
  await eventually(async () => expect((await health.check('rabbit')).status).toBe('healthy'), {
    timeout: 20_000,
  });
  await health.close();
  await (await mine.createChannel()).close();
  await mine.close();
  expect((await look(new RabbitMqHealthChecker(mine))).status).toBe('unhealthy');
}, 90_000);

// The first check loads its driver, and its deadline may pass meanwhile.
test.each([
  ['PostgreSQL', (at: string) => new DatabaseHealthChecker(`postgres://postgres@${at}/postgres`)],
  ['Redis', (at: string) => new RedisHealthChecker(`redis://${at}`)],
] as const)('%s: a check whose deadline passed before it connects is over at once', async (_name, make) => {
  await using redis = await startRedis();
  await using proxy = await chaosProxy({ target: { host: redis.host, port: redis.port } });
  proxy.blackhole(true);
  const checker = make(`${proxy.host}:${proxy.port}`);
  const context = { signal: AbortSignal.abort(new Error('too late')), timeoutMs: 500, phase: () => {} };
  const running = new Promise((resolve) => setTimeout(resolve, 5_000, 'still running'));
  expect(await Promise.race([checker.check(context), running])).toMatchObject({ status: 'unhealthy' });
  await checker.close?.();
});

test.each([
  () => new DatabaseHealthChecker('oracle://user:hunter2@host/db'),
  () => new DatabaseHealthChecker({} as never),
  () => new DatabaseHealthChecker('postgresql://x', { require: 'perfect' as never }),
  () => new RedisHealthChecker('http://x'),
  () => new RedisHealthChecker('redis://x', { require: 'perfect' as never }),
  () => new RabbitMqHealthChecker('http://x'),
])('bad targets are refused without being repeated: %s', (make) => {
  expect(make).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  expect(make).not.toThrow(/hunter2/);
});

test('a wrong database password is AUTH, and appears nowhere', async () => {
  await using server = await startMariaDb();
  const url = new URL(server.url);
  url.password = 'hunter2';
  url.username = 'nobody';
  const snapshot = await look(new DatabaseHealthChecker(url.href));
  expect(snapshot).toMatchObject({ status: 'unhealthy', code: 'AUTH' });
  expect(JSON.stringify(snapshot)).not.toContain('hunter2');
});
