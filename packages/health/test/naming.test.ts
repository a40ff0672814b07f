import { createPool } from 'mysql2/promise';
import { expect, test } from 'vitest';
import {
  createHealthCheckManager,
  CustomHealthChecker,
  DatabaseHealthChecker,
  DiskHealthChecker,
  DnsHealthChecker,
  EventLoopHealthChecker,
  GrpcHealthChecker,
  HeartbeatHealthChecker,
  HttpHealthChecker,
  ManualHealthChecker,
  MemoryHealthChecker,
  RabbitMqHealthChecker,
  RedisHealthChecker,
  TcpHealthChecker,
  TlsHealthChecker,
  type HealthChecker,
} from '@xiaoke/health';

const pool = createPool({ host: '127.0.0.1', port: 1 });

test.each<[HealthChecker, HealthChecker, string]>([
  [new CustomHealthChecker('x', () => true), new CustomHealthChecker(() => true), 'custom'],
  [
    new DatabaseHealthChecker('x', 'postgresql://h/d'),
    new DatabaseHealthChecker('postgresql://h/d'),
    'postgresql',
  ],
  [new DatabaseHealthChecker('x', pool), new DatabaseHealthChecker(pool, { require: 'readable' }), 'mysql'],
  [
    new DatabaseHealthChecker('x', 'mongodb://h/d', { require: 'readable' }),
    new DatabaseHealthChecker('mongodb://h/d', { require: 'readable' }),
    'mongodb',
  ],
  [
    new RedisHealthChecker('x', 'redis://h'),
    new RedisHealthChecker('redis://h', { memoryWarning: 0.5 }),
    'redis',
  ],
  [
    new HttpHealthChecker('x', 'http://h', { expectedStatus: 200 }),
    new HttpHealthChecker('http://h', { expectedStatus: 200 }),
    'http',
  ],
  [new RabbitMqHealthChecker('x', 'amqp://h'), new RabbitMqHealthChecker('amqp://h'), 'rabbitmq'],
  [new TcpHealthChecker('x', { host: 'h', port: 1 }), new TcpHealthChecker({ host: 'h', port: 1 }), 'tcp'],
  [new TlsHealthChecker('x', { host: 'h', port: 1 }), new TlsHealthChecker({ host: 'h', port: 1 }), 'tls'],
  [new GrpcHealthChecker('x', 'http://h:1'), new GrpcHealthChecker('http://h:1', { service: 's' }), 'grpc'],
  [new DnsHealthChecker('x', 'h.test'), new DnsHealthChecker('h.test', { recordType: 'A' }), 'dns'],
  [new DiskHealthChecker('x', '/'), new DiskHealthChecker('/', { degraded: 0.5 }), 'disk'],
  [new DiskHealthChecker('x', { path: '/' }), new DiskHealthChecker({ path: '/' }), 'disk'],
  [new MemoryHealthChecker('x', { degraded: 0.5 }), new MemoryHealthChecker(), 'memory'],
  [
    new EventLoopHealthChecker('x', { degraded: 50 }),
    new EventLoopHealthChecker({ degraded: 50 }),
    'event-loop',
  ],
  [new HeartbeatHealthChecker('x', { ttl: '1s' }), new HeartbeatHealthChecker({ ttl: '1s' }), 'heartbeat'],
  [new ManualHealthChecker('x', { status: 'healthy' }), new ManualHealthChecker(), 'manual'],
])('%o and %o are registered under their names', async (named, unnamed, byKind) => {
  await using health = createHealthCheckManager();
  health.registerChecker(named).registerChecker(unnamed).registerChecker('y', unnamed);
  expect(health.snapshots().map(({ name }) => name)).toEqual(['x', byKind, 'y']);
});

test('a checker of your own brings its name, or is given one; without either it is refused', async () => {
  await using health = createHealthCheckManager();
  health.registerChecker({ name: 'mine', check: () => true }, { config: { groups: ['liveness'] } });
  expect(await health.check('mine')).toMatchObject({ status: 'healthy', groups: ['liveness'] });
  const refused = expect.objectContaining({ code: 'INVALID_OPTION' });
  expect(() => health.registerChecker({ check: () => true })).toThrow(refused);
  expect(() => health.registerChecker(undefined as never)).toThrow(refused);
});

test('a target that makes no sense is refused, and never taken for a name', async () => {
  await using health = createHealthCheckManager();
  const refused = expect.objectContaining({ code: 'INVALID_OPTION' });
  for (const target of ['nonsense', 7, {}, null] as never[]) {
    expect(() => health.registerDatabaseChecker('x', target, { require: 'readable' })).toThrow(refused);
    expect(() => health.registerHttpChecker('x', target, { expectedStatus: 200 })).toThrow(refused);
  }
  for (const target of ['nonsense', 'http://h', 7, null, []] as never[])
    expect(() => health.registerRedisChecker('x', target, { require: 'readable' })).toThrow(refused);
  expect(() => new RedisHealthChecker('nonsense', { require: 'readable' })).toThrow(refused);
  expect(new RedisHealthChecker('x', { host: 'h', port: 1 }).name).toBe('x');
  expect(health.snapshots()).toEqual([]);
});
