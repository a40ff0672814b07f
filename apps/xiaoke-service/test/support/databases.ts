import { startPostgres } from '@xiaoke/test-servers';
import { silentLogger } from '@xiaoke/core';
import type { Database } from '../../src/database/database.ts';
import { migrate } from '../../src/database/migrate.ts';
import { openPglite } from '../../src/database/pglite.ts';
import { openPostgresql } from '../../src/database/postgresql.ts';
import { seed, type SeedOptions } from '../../src/database/seed-data.ts';

/** A database for one test file, and what ends it. */
export interface TestDatabase {
  readonly database: Database;
  readonly stop: () => Promise<void>;
}

/** Both databases the service runs on; every test of its SQL passes on each. */
export const DATABASES: Readonly<Record<string, (options: SeedOptions) => Promise<TestDatabase>>> = {
  pglite: async (options) => {
    const database = await openPglite();
    await prepare(database, options);
    return { database, stop: () => database.close() };
  },
  postgresql: async (options) => {
    const server = await startPostgres();
    const database = openPostgresql(server.url, silentLogger);
    await prepare(database, options);
    return {
      database,
      stop: async () => {
        await database.close();
        await server.stop();
      },
    };
  },
};

async function prepare(database: Database, options: SeedOptions): Promise<void> {
  await migrate(database);
  await seed(database, options);
}
