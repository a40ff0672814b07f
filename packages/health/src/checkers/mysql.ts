import { abortable } from '@xiaoke/core';
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

  async check(context: CheckContext): Promise<CheckOutcome> {
    try {
      return typeof this.#target === 'string'
        ? await this.#checkOwn(this.#target, context)
        : await this.#checkPool(this.#target, context);
    } catch (error) {
      return isMissingModule(error) ? DRIVER_MISSING : driverFailure(error, AUTH);
    }
  }

  async close(): Promise<void> {
    this.#own?.destroy();
    this.#own = undefined;
  }

  async #checkOwn(url: string, { signal, timeoutMs, phase }: CheckContext): Promise<CheckOutcome> {
    phase('connect');
    const own = (this.#own ??= await connectOwn(url, timeoutMs, () => (this.#own = undefined)));
    const cut = (): void => {
      own.destroy();
      if (this.#own === own) this.#own = undefined;
    };
    if (signal.aborted) cut();
    signal.addEventListener('abort', cut, { once: true });
    try {
      phase('query');
      return this.#judge(await abortable(own.query(QUERY), signal));
    } catch (error) {
      cut();
      throw error;
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }

  async #checkPool(pool: MysqlPoolLike, { signal, phase }: CheckContext): Promise<CheckOutcome> {
    phase('acquire');
    const connection = await pool.getConnection();
    const destroy = (): void => connection.destroy();
    if (signal.aborted) destroy();
    signal.addEventListener('abort', destroy, { once: true });
    try {
      phase('query');
      const outcome = this.#judge(await connection.query(QUERY));
      connection.release?.();
      return outcome;
    } catch (error) {
      destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', destroy);
    }
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

interface RawConnection {
  promise(): { query(sql: string): Promise<readonly [unknown, ...unknown[]]> };
  destroy(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/** A connection that is there at once, while it still connects, so that it can be cut then too. */
async function connectOwn(url: string, timeoutMs: number, onError: () => void): Promise<MysqlConnectionLike> {
  const { default: mysql } = await import('mysql2');
  const uri = url.replace(/^mariadb:/, 'mysql:');
  const raw = mysql.createConnection({ uri, connectTimeout: timeoutMs }) as unknown as RawConnection;
  raw.on('error', onError);
  return { query: (sql) => raw.promise().query(sql), destroy: () => raw.destroy() };
}
