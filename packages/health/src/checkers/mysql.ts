import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext } from '../checker.ts';
import type { DatabaseCheckerOptions, DatabaseProbe } from './database.ts';
import { DRIVER_MISSING, driverFailure, isMissingModule } from './driver.ts';

/** The part of a mysql2 promise connection that is used. */
export interface MysqlConnectionLike {
  query(sql: string): Promise<readonly [unknown, ...unknown[]]>;
  /** Cuts the connection without a word. */
  destroy(): void;
  release?(): void;
  on?(event: 'error', listener: (error: Error) => void): unknown;
}

/** The part of a mysql2 promise pool that is used. */
export interface MysqlPoolLike {
  getConnection(): Promise<MysqlConnectionLike>;
}

/** Whether `target` looks like a mysql2 promise pool. */
export function isMysqlPool(target: unknown): target is MysqlPoolLike {
  return typeof target === 'object' && target !== null && 'getConnection' in target;
}

const QUERY = 'SELECT @@global.read_only AS readOnly';
const AUTH: ReadonlySet<unknown> = new Set([
  'ER_ACCESS_DENIED_ERROR',
  'ER_DBACCESS_DENIED_ERROR',
  'ER_BAD_DB_ERROR',
]);

/** Looks at MySQL or MariaDB. */
export class MysqlProbe implements DatabaseProbe {
  readonly database = 'mysql';
  readonly #target: string | MysqlPoolLike;
  readonly #options: DatabaseCheckerOptions;
  #own: MysqlConnectionLike | undefined;

  constructor(target: string | MysqlPoolLike, options: DatabaseCheckerOptions) {
    this.#target = target;
    this.#options = options;
  }

  async check({ signal, timeoutMs, phase }: CheckContext): Promise<CheckOutcome> {
    let connection: MysqlConnectionLike | undefined;
    const destroy = (): void => {
      connection?.destroy();
      this.#own = undefined;
    };
    signal.addEventListener('abort', destroy, { once: true });
    try {
      phase('connect');
      connection = await this.#connect(timeoutMs);
      if (signal.aborted) destroy();
      phase('query');
      const outcome = this.#judge(await connection.query(QUERY));
      // Every connection has the method; on one that is not from a pool it throws.
      if (typeof this.#target !== 'string') connection.release?.();
      return outcome;
    } catch (error) {
      if (isMissingModule(error)) return DRIVER_MISSING;
      destroy();
      return driverFailure(error, AUTH);
    } finally {
      signal.removeEventListener('abort', destroy);
    }
  }

  async close(): Promise<void> {
    this.#own?.destroy();
    this.#own = undefined;
  }

  async #connect(timeoutMs: number): Promise<MysqlConnectionLike> {
    if (typeof this.#target !== 'string') return await this.#target.getConnection();
    if (this.#own !== undefined) return this.#own;
    const mysql = await import('mysql2/promise');
    const uri = this.#target.replace(/^mariadb:/, 'mysql:');
    const made = (await mysql.createConnection({
      uri,
      connectTimeout: timeoutMs,
    })) as unknown as MysqlConnectionLike;
    made.on?.('error', () => (this.#own = undefined));
    this.#own = made;
    return made;
  }

  #judge([rows]: readonly [unknown, ...unknown[]]): CheckOutcome {
    const row = (Array.isArray(rows) ? rows[0] : undefined) as { readOnly?: number | string } | undefined;
    const readOnly = Number(row?.readOnly ?? 0) !== 0;
    if (readOnly && (this.#options.require ?? 'writable') === 'writable') {
      return { status: 'unhealthy', code: 'READONLY', observed: { readOnly } };
    }
    return { status: 'healthy', observed: { readOnly } };
  }
}
