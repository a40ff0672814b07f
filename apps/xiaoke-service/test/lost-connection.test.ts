import { silentLogger } from '@xiaoke/core';
import { startPostgres } from '@xiaoke/test-servers';
import pg from 'pg';
import { expect, test } from 'vitest';
import { openPostgresql } from '../src/database/postgresql.ts';

test('a database that dies in the middle of a transaction fails that transaction only, and is used again once it is back', async () => {
  await using server = await startPostgres();
  const database = openPostgresql(server.url, silentLogger);
  const lost = database.transaction(async (transaction) => {
    // Something else is waited for while the server dies, so that no query is there to fail.
    const other = new pg.Client(server.url);
    other.on('error', () => {});
    await other.connect();
    const ended = new Promise((resolve) => other.once('end', resolve));
    await server.kill();
    await ended;
    return await transaction.query('SELECT 1');
  });
  await expect(lost).rejects.toThrow();
  await server.restart();
  expect(await database.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  await database.close();
});
