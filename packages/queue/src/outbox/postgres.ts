import { InvalidOptionError } from '@xiaoke/core';

/** What is used of a client of `pg`, inside or outside a transaction. */
export interface PostgresQueryable {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>;
}

/** A client of `pg` taken from its pool. */
export interface PostgresListener extends PostgresQueryable {
  on(event: 'notification' | 'error' | 'end', listener: (...args: never[]) => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
  removeAllListeners(event?: 'notification' | 'error' | 'end'): unknown;
  release(destroy?: boolean): void;
}

/** A pool of `pg`, or a PGlite, which has `transaction` instead of `connect`. */
export type PostgresDatabase = PostgresQueryable &
  (
    | { connect(): Promise<PostgresListener> }
    | { transaction<T>(work: (client: PostgresQueryable) => Promise<T>): Promise<T> }
  );

/** The statements over one table. */
export interface Statements {
  readonly install: string;
  readonly insert: string;
  readonly take: string;
  readonly remove: string;
  readonly reject: string;
  readonly count: string;
  readonly listen: string;
  readonly notify: string;
}

/** Writes the statements for a table. @throws InvalidOptionError when it is no plain name */
export function statementsFor(table: string): Statements {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$/.test(table))
    throw new InvalidOptionError('table', 'must be a name, or a schema and a name');
  const name = table
    .split('.')
    .map((part) => `"${part}"`)
    .join('.');
  const channel = `"${table.replace('.', '_')}"`;
  return {
    install: `CREATE TABLE IF NOT EXISTS ${name} (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, name text NOT NULL,
        payload text, options text NOT NULL, enqueued_at timestamptz NOT NULL DEFAULT now(), rejected text)`,
    // The time of writing, not of the transaction's beginning: a delay counts from it.
    insert: `INSERT INTO ${name} (id, name, payload, options, enqueued_at) VALUES ($1, $2, $3, $4, clock_timestamp())
      ON CONFLICT (id) DO NOTHING RETURNING id`,
    // Rows that another relay has are left to it.
    take: `SELECT seq, id, name, payload, options,
      (extract(epoch FROM clock_timestamp() - enqueued_at) * 1000)::float8 AS age FROM ${name} WHERE rejected IS NULL
      ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED`,
    remove: `DELETE FROM ${name} WHERE seq = ANY($1::bigint[])`,
    reject: `UPDATE ${name} SET rejected = $2 WHERE seq = $1`,
    count: `SELECT count(*) FILTER (WHERE rejected IS NULL)::int AS pending,
      count(*) FILTER (WHERE rejected IS NOT NULL)::int AS rejected FROM ${name}`,
    listen: `LISTEN ${channel}`,
    notify: `NOTIFY ${channel}`,
  };
}

/** Runs `work` in a transaction; on an error everything is rolled back. */
export async function inTransaction<T>(
  database: PostgresDatabase,
  work: (client: PostgresQueryable) => Promise<T>,
): Promise<T> {
  if ('transaction' in database) return await database.transaction(work);
  const client = await database.connect();
  let broken = true;
  // A pool listens only to the connections that it holds: an error of this one would end the process.
  const failed = (): void => void (broken = true);
  client.on('error', failed);
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    broken = false;
    return result;
  } catch (error) {
    try {
      await client.query('ROLLBACK');
      broken = false;
    } catch {
      // The connection is gone, and with it the transaction.
    }
    throw error;
  } finally {
    // What is thrown away may still fail once more.
    if (!broken) client.off('error', failed);
    client.release(broken);
  }
}
