import { InvalidOptionError } from '@xiaoke/core';
import { StaleTokenError } from '../errors.ts';
import { checkResource, tokenOf, type TokenSource } from './token.ts';

/** What is used of a `pg` client; one that is inside a transaction. */
export interface PostgresClient {
  query(
    text: string,
    values?: unknown[],
  ): Promise<{ readonly rows: readonly unknown[]; readonly rowCount: number | null }>;
}

/** What is used of a `pg` pool. */
export interface PostgresPool<C extends PostgresClient> {
  connect(): Promise<C & PostgresLoan>;
}

/** What a pool adds to a client that it lends. */
export interface PostgresLoan {
  release(destroy?: boolean): void;
  on?(event: 'error', listener: (error: Error) => void): unknown;
  off?(event: 'error', listener: (error: Error) => void): unknown;
}

/** Refuses writers of the past, in PostgreSQL. */
export interface PostgresFence {
  /** Creates the table if it is not there. Safe to repeat. */
  install(client: PostgresClient): Promise<void>;
  /**
   * Refuses a token smaller than one seen before. Call it first in the transaction that writes: the row stays locked
   * until the transaction ends, so no newer writer can come in between and then be overwritten.
   *
   * @throws {@link StaleTokenError} when a newer holder was there; roll back
   */
  check(client: PostgresClient, resource: string, token: TokenSource): Promise<void>;
  /** Runs `write` in a transaction that starts with {@link check}, commits it, and rolls it back on any error. */
  run<C extends PostgresClient, T>(
    pool: PostgresPool<C>,
    target: { readonly resource: string; readonly token: TokenSource },
    write: (client: C) => Promise<T>,
  ): Promise<T>;
}

/**
 * Makes a fence over one small table: resource and largest token.
 *
 * @param options - `table`, by default `xiaoke_fences`, may name its schema
 */
export function postgresFence(options: { readonly table?: string } = {}): PostgresFence {
  const table = quoteTable(options.table ?? 'xiaoke_fences');
  const install = `CREATE TABLE IF NOT EXISTS ${table} (resource text PRIMARY KEY, token bigint NOT NULL)`;
  const raise =
    `INSERT INTO ${table} AS fence (resource, token) VALUES ($1, $2) ` +
    'ON CONFLICT (resource) DO UPDATE SET token = excluded.token WHERE fence.token <= excluded.token';
  const check: PostgresFence['check'] = async (client, resource, source) => {
    checkResource(resource);
    const token = tokenOf(source);
    const { rowCount } = await client.query(raise, [resource, token]);
    if (rowCount !== 0) return;
    const { rows } = await client.query(`SELECT token FROM ${table} WHERE resource = $1`, [resource]);
    const seen = Number((rows[0] as { token?: unknown } | undefined)?.token);
    throw new StaleTokenError(resource, token, Number.isNaN(seen) ? undefined : seen);
  };
  return {
    check,
    install: async (client) => void (await client.query(install)),
    run: async (pool, { resource, token }, write) => {
      checkResource(resource);
      tokenOf(token);
      const client = await pool.connect();
      let broken = false;
      // A pool listens only to the connections that it has at home: without this, losing one that is lent ends the process.
      const onError = (): void => void (broken = true);
      client.on?.('error', onError);
      try {
        await client.query('BEGIN');
        await check(client, resource, token);
        const result = await write(client);
        await client.query('COMMIT');
        return result;
      } catch (error) {
        await client.query('ROLLBACK').catch(() => (broken = true));
        throw error;
      } finally {
        client.release(broken);
        client.off?.('error', onError);
      }
    },
  };
}

function quoteTable(table: string): string {
  if (!/^[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*)?$/.test(table)) {
    throw new InvalidOptionError('table', 'must be a plain table name, with or without its schema');
  }
  return table
    .split('.')
    .map((part) => `"${part}"`)
    .join('.');
}
