import pg from 'pg';
import type { Logger } from '@xiaoke/core';
import type { Database, Queryable } from './database.ts';

/** Opens a pool of connections to a PostgreSQL server. Nothing here waits without a limit. */
export function openPostgresql(url: string, logger: Logger): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: 10,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: 10_000,
    query_timeout: 12_000,
    application_name: 'xiaoke-service',
  });
  // An idle connection that the server ends is an 'error' event; without a listener it would end the process.
  pool.on('error', (error) =>
    logger.warn({ code: Reflect.get(error, 'code') }, 'an idle database connection was lost'),
  );
  return {
    kind: 'postgresql',
    ...queries(pool),
    execute: async (sql) => void (await pool.query(sql)),
    transaction: (work) => transact(pool, work),
    close: async () => {
      if (!pool.ended) await pool.end();
    },
  };
}

async function transact<T>(pool: pg.Pool, work: (transaction: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // The pool listens only to the connections that it has at home: without this, losing one that is lent ends the process.
  const onError = (error: Error): void => void (broken = error);
  client.on('error', onError);
  try {
    await client.query('BEGIN');
    const result = await work(queries(client));
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // A connection that cannot even roll back is thrown away.
    await client.query('ROLLBACK').catch((failure: Error) => (broken = failure));
    throw error;
  } finally {
    client.release(broken);
    client.off('error', onError);
  }
}

function queries(runner: pg.Pool | pg.PoolClient): Queryable {
  return {
    query: async <R extends object>(sql: string, parameters: readonly unknown[] = []) =>
      (await runner.query(sql, [...parameters])).rows as R[],
  };
}
