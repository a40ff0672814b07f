import { PGlite, type Transaction } from '@electric-sql/pglite';
import type { Database, Queryable } from './database.ts';

/** Opens PostgreSQL inside this process. Without a directory everything is forgotten at the end. */
export async function openPglite(directory?: string): Promise<Database> {
  const pglite = directory === undefined ? await PGlite.create() : await PGlite.create(directory);
  return {
    kind: 'pglite',
    ...queries(pglite),
    execute: async (sql) => void (await pglite.exec(sql)),
    transaction: async (work) =>
      await pglite.transaction(async (transaction) => await work(queries(transaction))),
    close: async () => {
      if (!pglite.closed) await pglite.close();
    },
  };
}

function queries(runner: PGlite | Transaction): Queryable {
  return {
    query: async <R extends object>(sql: string, parameters: readonly unknown[] = []) =>
      (await runner.query<R>(sql, [...parameters])).rows,
  };
}
