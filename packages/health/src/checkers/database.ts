import { InvalidOptionError, type Duration } from '@xiaoke/core';
import type { CheckResult } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';
import { isNameBefore } from './naming.ts';
import { isMongoClient, MongoProbe, type MongoClientLike } from './mongodb.ts';
import { isMysqlPool, MysqlProbe, type MysqlPoolLike } from './mysql.ts';
import { isPostgresPool, PostgresProbe, type PostgresPoolLike } from './postgresql.ts';

/** A URL (`postgresql://`, `mongodb://`, `mysql://`), or a pool or client of yours. */
export type DatabaseTarget = string | PostgresPoolLike | MysqlPoolLike | MongoClientLike;

/** What the database must be able to do. */
export interface DatabaseCheckerOptions {
  /** `readable` accepts a standby or secondary. @default 'writable' */
  readonly require?: 'writable' | 'readable';
  /** Seconds a standby may be behind until it is degraded. @default 30 */
  readonly maxLagSeconds?: number;
  /** How long nobody may get a connection of a busy pg pool of yours until it is unhealthy, code `POOL_STUCK`. @default '30s' */
  readonly stuckAfter?: Duration;
}

/** One way of looking at one kind of database. */
export interface DatabaseProbe {
  readonly database: 'postgresql' | 'mysql' | 'mongodb';
  check(context: CheckContext): Promise<CheckResult>;
  close(): Promise<void>;
}

/**
 * Looks whether a database can do its work. From a URL it makes one connection of its own, which the deadline cuts; a pool
 * handed to it is borrowed from, and one whose connections are all lent out is `degraded`, code `POOL_BUSY`, not down,
 * as long as somebody still gets one.
 */
export class DatabaseHealthChecker implements HealthChecker {
  /** By default the kind of database. */
  readonly name: string;
  readonly kind = 'dependency';
  readonly #probe: DatabaseProbe;

  constructor(target: DatabaseTarget, options?: DatabaseCheckerOptions);
  constructor(name: string, target: DatabaseTarget, options?: DatabaseCheckerOptions);
  constructor(...args: readonly unknown[]) {
    const named = isNameBefore(args[0], args[1]) && !isPlainOptions(args[1]);
    const [name, target, given] = named ? args : [undefined, ...args];
    const options = (given ?? {}) as DatabaseCheckerOptions;
    const required: unknown = options.require ?? 'writable';
    if (required !== 'writable' && required !== 'readable') {
      throw new InvalidOptionError('require', "must be 'writable' or 'readable'");
    }
    const { maxLagSeconds = 30 } = options;
    if (!(maxLagSeconds >= 0)) throw new InvalidOptionError('maxLagSeconds', 'must be a number of seconds');
    this.#probe = probeOf(target, options);
    this.name = (name as string | undefined) ?? this.#probe.database;
  }

  check(context: CheckContext): Promise<CheckResult> {
    return this.#probe.check(context);
  }

  close(): Promise<void> {
    return this.#probe.close();
  }
}

function isPlainOptions(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function probeOf(target: unknown, options: DatabaseCheckerOptions): DatabaseProbe {
  if (typeof target === 'string') {
    if (/^postgres(ql)?:\/\//.test(target)) return new PostgresProbe(target, options);
    if (/^mongodb(\+srv)?:\/\//.test(target)) return new MongoProbe(target, options);
    if (/^(mysql|mariadb):\/\//.test(target)) return new MysqlProbe(target, options);
    // The URL itself may hold a password, so it is not repeated.
    throw new InvalidOptionError('target', 'must begin with postgresql://, mongodb:// or mysql://');
  }
  if (isMongoClient(target)) return new MongoProbe(target, options);
  if (isMysqlPool(target)) return new MysqlProbe(target, options);
  if (isPostgresPool(target)) return new PostgresProbe(target, options);
  throw new InvalidOptionError(
    'target',
    'must be a database URL, or a pg pool, mysql2 pool or mongodb client',
  );
}
