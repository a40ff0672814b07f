import { chaosProxy, startMongo, startMongoReplicaSet, type MongoReplicaSet } from '@xiaoke/test-servers';
import { MongoClient } from 'mongodb';
import { expect, test } from 'vitest';
import { eventually, trackLeaks } from '@xiaoke/core/testing';
import {
  createHealthCheckManager,
  DatabaseHealthChecker,
  type CheckSnapshot,
  type HealthCheckManager,
} from '@xiaoke/health';

const config = { timeout: 1_000, failureThreshold: 1 } as const;
// The first look loads the driver.
const patient = { timeout: 10_000, failureThreshold: 1 } as const;

const said = ({ status, code }: CheckSnapshot): string => (code === undefined ? status : `${status} ${code}`);

async function warmedUp(health: HealthCheckManager, name: string): Promise<void> {
  await eventually(async () => expect(said(await health.check(name))).toBe('healthy'), { timeout: 20_000 });
}

test('MongoDB: from a URL, through freeze, kill and return', async () => {
  await using server = await startMongo();
  await using health = createHealthCheckManager();
  health.registerDatabaseChecker('db', server.url, { config });
  await warmedUp(health, 'db');
  const started = performance.now();
  server.pause();
  expect(said(await health.check('db'))).toBe('unhealthy TIMEOUT');
  expect(performance.now() - started).toBeLessThan(5_000);
  server.resume();
  await warmedUp(health, 'db');
  await server.kill();
  expect(said(await health.check('db'))).toMatch(/^unhealthy (CONNECT|TIMEOUT|STILL_RUNNING)$/);
  await server.restart();
  await warmedUp(health, 'db');
}, 60_000);

test('MongoDB: a client of yours is used, and stays open', async () => {
  await using server = await startMongo();
  const client = await new MongoClient(server.url).connect();
  await using health = createHealthCheckManager();
  health.registerDatabaseChecker('db', client, { config: patient });
  expect(said(await health.check('db'))).toBe('healthy');
  await health.close();
  expect(await client.db().command({ ping: 1 })).toMatchObject({ ok: 1 });
  await client.close();
});

async function watched(set: MongoReplicaSet, require: 'writable' | 'readable'): Promise<HealthCheckManager> {
  const health = createHealthCheckManager();
  const url = `${set.url}&heartbeatFrequencyMS=500`;
  health.registerDatabaseChecker('db', url, { require, config: { ...config, timeout: 3_000 } });
  await warmedUp(health, 'db');
  return health;
}

test('MongoDB: a set without a primary takes no writes; one that may be read is degraded; an election mends it', async () => {
  await using set = await startMongoReplicaSet();
  await using writing = await watched(set, 'writable');
  await using reading = await watched(set, 'readable');
  expect((await writing.check('db')).observed).toMatchObject({ primary: true, setName: 'rs0' });
  set.stepDown();
  await eventually(async () => expect(said(await writing.check('db'))).toBe('unhealthy NO_PRIMARY'), {
    timeout: 15_000,
  });
  await eventually(async () => expect(said(await reading.check('db'))).toBe('degraded NO_PRIMARY'), {
    timeout: 15_000,
  });
  const [, second] = set.members;
  if (second !== undefined) set.elect(second);
  await warmedUp(writing, 'db');
  await warmedUp(reading, 'db');
}, 60_000);

test('MongoDB: one member that hangs or is killed is no outage; all of them are', async () => {
  await using set = await startMongoReplicaSet();
  await using health = await watched(set, 'writable');
  const [first, second, third] = set.members;
  if (third !== undefined) third.delayMs = Infinity;
  await second?.kill();
  await warmedUp(health, 'db');
  await first?.kill();
  expect((await health.check('db')).status).toBe('unhealthy');
  await Promise.all([first?.restart(), second?.restart()]);
  await warmedUp(health, 'db');
}, 60_000);

test('MongoDB: a command that meets an election is asked again within the deadline', async () => {
  await using set = await startMongoReplicaSet({ members: 1 });
  await using health = await watched(set, 'writable');
  const [member] = set.members;
  let refused = 0;
  if (member !== undefined) {
    member.answer = (name) => {
      // Drivers ask with hello themselves; only the first one is refused.
      if (name !== 'hello' || refused > 0) return undefined;
      refused += 1;
      return { ok: 0, code: 189, codeName: 'PrimarySteppedDown', errmsg: 'stepping down' };
    };
  }
  expect((await health.check('db')).status).toBe('healthy');
}, 60_000);

test('MongoDB: refused for its name or password is AUTH, and neither appears', async () => {
  await using set = await startMongoReplicaSet({ members: 1 });
  await using warm = await watched(set, 'writable');
  const [member] = set.members;
  if (member !== undefined)
    member.answer = (name) =>
      name === 'hello'
        ? { ok: 0, code: 18, codeName: 'AuthenticationFailed', errmsg: 'bad hunter2' }
        : undefined;
  const snapshot = await warm.check('db');
  expect(snapshot.status).toBe('unhealthy');
  expect(JSON.stringify(snapshot)).not.toContain('hunter2');
}, 60_000);

test('MongoDB: a thousand checks that time out leave no socket', async () => {
  await using server = await startMongo();
  await using proxy = await chaosProxy({ target: { host: server.host, port: server.port } });
  proxy.halfOpen(true);
  const check = trackLeaks();
  await using health = createHealthCheckManager();
  health.registerChecker('db', new DatabaseHealthChecker(proxy.url('mongodb')), { config: { timeout: 15 } });
  const codes = new Set<string | undefined>();
  for (let run = 0; run < 1_000;) {
    const { code } = await health.check('db');
    // Not begun: an earlier one was still being cut, or this process itself stood still.
    if (code === 'STILL_RUNNING' || code === 'NOT_CHECKED')
      await new Promise((resolve) => setTimeout(resolve, 5));
    else {
      // The driver has the same deadline, and may notice it first.
      codes.add(code);
      run += 1;
    }
  }
  expect([...codes].filter((code) => code !== 'TIMEOUT' && code !== 'CONNECT')).toEqual([]);
  await health.close();
  await check(15_000);
}, 240_000);
