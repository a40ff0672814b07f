import { existsSync } from 'node:fs';

import { createConnection } from 'mysql2/promise';
import { expect, test } from 'vitest';

import { descendantsOf } from '../src/process-tree.ts';
import { eventually, isRunning, startMariaDb, startPostgres } from '../src/index.ts';

test('a PostgreSQL answers, hangs while paused, and leaves nothing behind', async () => {
  const postgres = await startPostgres();
  const pids = [postgres.pid, ...descendantsOf(postgres.pid)];
  expect(await postgres.psql('select 1, 2')).toBe('1|2');
  await expect(postgres.psql('select nonsense')).rejects.toThrow(/nonsense/);

  postgres.pause();
  let answered = false;
  const late = postgres.psql('select 3').finally(() => (answered = true));
  await expect(eventually(() => answered, { timeoutMs: 150 })).rejects.toThrow();
  postgres.resume();
  expect(await late).toBe('3');

  await postgres.stop();
  await eventually(() => !pids.some(isRunning));
  expect(existsSync(postgres.directory)).toBe(false);
});

test('what PostgreSQL committed survives a kill -9', async () => {
  await using postgres = await startPostgres({ args: ['-c', 'max_connections=20'] });
  await postgres.psql('create table facts (id int primary key); insert into facts values (42)');

  await postgres.kill();
  await expect(postgres.psql('select 1')).rejects.toThrow(/refused/);
  await postgres.restart();
  expect(await postgres.psql('select id from facts')).toBe('42');
  expect(await postgres.psql('show max_connections')).toBe('20');
});

test('a MariaDB answers, and what it committed survives a kill -9', async () => {
  const mariadb = await startMariaDb();
  const { pid } = mariadb;
  const before = await createConnection(mariadb.url);
  before.on('error', () => undefined);
  await before.query('create table facts (id int primary key)');
  await before.query('insert into facts values (42)');

  await mariadb.restart();
  const after = await createConnection(mariadb.url);
  const [rows] = await after.query('select id from facts');
  expect(rows).toEqual([{ id: 42 }]);
  await after.end();

  await mariadb.stop();
  expect(isRunning(pid)).toBe(false);
  expect(existsSync(mariadb.directory)).toBe(false);
});
