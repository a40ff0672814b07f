import type { Logger, MetricsSink } from '@xiaoke/core';
import type { Database, Queryable } from './database.ts';
import { migrate } from './migrate.ts';
import { openPglite } from './pglite.ts';
import { openPostgresql } from './postgresql.ts';
import { seed } from './seed-data.ts';

/** Opens the database of `url`, or PGlite without one, brings its schema up to date, and fills it if it is empty. */
export async function openDatabase(
  url: string | undefined,
  parts: { readonly logger: Logger; readonly metrics: MetricsSink },
): Promise<Database> {
  const database = url === undefined ? await openPglite() : openPostgresql(url, parts.logger);
  try {
    await migrate(database);
    await database.transaction(async (transaction) => await seed(transaction));
  } catch (error) {
    await database.close();
    throw error;
  }
  return measured(database, parts.metrics);
}

// Times every statement by its first word, which is a small closed set.
function measured(database: Database, metrics: MetricsSink): Database {
  const duration = metrics.histogram({
    name: 'database_query_duration_seconds',
    help: 'Time of a database statement.',
    labels: { operation: ['select', 'insert', 'update', 'delete', 'other'], outcome: ['ok', 'error'] },
  });
  const timed = (runner: Queryable): Queryable => ({
    query: async (sql, parameters) => {
      const start = performance.now();
      const operation = operationOf(sql);
      try {
        const rows = await runner.query<never>(sql, parameters);
        duration.observe({ operation, outcome: 'ok' }, (performance.now() - start) / 1_000);
        return rows;
      } catch (error) {
        duration.observe({ operation, outcome: 'error' }, (performance.now() - start) / 1_000);
        throw error;
      }
    },
  });
  return {
    ...database,
    ...timed(database),
    transaction: async (work) =>
      await database.transaction(async (transaction) => await work(timed(transaction))),
  };
}

type Operation = 'select' | 'insert' | 'update' | 'delete' | 'other';

function operationOf(sql: string): Operation {
  const word = /^\s*(\w+)/.exec(sql)?.[1]?.toLowerCase();
  // The one statement that begins with WITH books a slot.
  if (word === 'with') return 'insert';
  return word === 'select' || word === 'insert' || word === 'update' || word === 'delete' ? word : 'other';
}
