/**
 * Health checks that cannot hang, leak or lie.
 *
 * Terms: a *checker* looks at one thing; a *check* is a checker with a name, a schedule and a place in *groups*; a *run* is
 * one look; *thresholds* turn runs into a status; a *critical* check makes its group unhealthy, an optional one only
 * degraded; a *report* is what a *probe* is told, from memory.
 *
 * @module
 */
export { createHealthCheckManager, getHealthCheckManager } from './create.ts';
export type {
  CheckOptions,
  HealthCheckManager,
  HealthStats,
  StatusCallback,
  StatusFilter,
} from './manager.ts';
export type { HealthCheckConfig, HealthCheckManagerOptions, HealthGroup, RecoveryConfig } from './options.ts';
export type { CheckOutcome, CheckResult } from './check-result.ts';
export type { CheckContext, HealthChecker } from './checker.ts';
export type { CheckRecord, CheckSnapshot, StatusChange, Uptime } from './snapshot.ts';
export type { HealthReport, ReportedCheck } from './report.ts';
export type { HealthEvents } from './events.ts';
export { HEALTH_ERRORS, HealthError, type HealthErrorCode } from './errors.ts';
export { CustomHealthChecker } from './checkers/custom.ts';
export {
  DatabaseHealthChecker,
  type DatabaseCheckerOptions,
  type DatabaseTarget,
} from './checkers/database.ts';
export type { PostgresClientLike, PostgresPoolLike } from './checkers/postgresql.ts';
export type { MysqlConnectionLike, MysqlPoolLike } from './checkers/mysql.ts';
export type { MongoClientLike } from './checkers/mongodb.ts';
export { RedisHealthChecker, type RedisCheckerOptions, type RedisTarget } from './checkers/redis.ts';
export { HttpHealthChecker, type HttpCheckerOptions } from './checkers/http.ts';
export { TlsHealthChecker, type CertificateLimits } from './checkers/tls.ts';
export { GrpcHealthChecker, type GrpcCheckerOptions } from './checkers/grpc.ts';
export { RabbitMqHealthChecker, type AmqpConnectionLike } from './checkers/rabbitmq.ts';
export { TcpHealthChecker, type TcpTarget } from './checkers/tcp.ts';
export { DnsHealthChecker, type DnsCheckerOptions } from './checkers/dns.ts';
export {
  DiskHealthChecker,
  EventLoopHealthChecker,
  HeartbeatHealthChecker,
  ManualHealthChecker,
  MemoryHealthChecker,
  type EventLoopCheckerOptions,
  type HeartbeatCheckerOptions,
  type MemoryCheckerOptions,
  type ShareLimits,
} from './checkers/process.ts';
