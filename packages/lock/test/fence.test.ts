import { sharedRedis, startPostgres } from '@xiaoke/test-servers';
import { InvalidOptionError } from '@xiaoke/core';
import { Redis } from 'ioredis';
import pg from 'pg';
import { expect, test } from 'vitest';
import { postgresFence, redisFence, StaleTokenError } from '../src/fence/index.ts';

test('PostgreSQL refuses 100 of 100 stale writers, which without the fence would all have written', async () => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 4 });
  const fence = postgresFence({ table: 'fences' });
  await fence.install(pool);
  await fence.install(pool);
  await pool.query('CREATE TABLE account (id int PRIMARY KEY, writer text)');
  await pool.query("INSERT INTO account VALUES (1, 'nobody')");
  const write = (token: number, writer: string): Promise<unknown> =>
    fence.run(pool, { resource: 'account:1', token }, (client) =>
      client.query('UPDATE account SET writer = $1 WHERE id = 1', [writer]),
    );
  for (let round = 1; round <= 100; round += 1) {
    await write(2 * round + 1, 'new');
    await expect(write(2 * round, 'stale')).rejects.toThrow(StaleTokenError);
    const { rows } = await pool.query('SELECT writer FROM account');
    expect(rows[0].writer).toBe('new');
  }
  await write(201, 'the same holder again');
  await expect(write(0, 'x')).rejects.toThrow(InvalidOptionError);
  await expect(fence.run(pool, { resource: '', token: 300 }, async () => 1)).rejects.toThrow(
    InvalidOptionError,
  );
  expect(() => postgresFence({ table: 'a; DROP' })).toThrow(InvalidOptionError);
  await pool.end();
});

test('a connection that PostgreSQL loses while the writer does something else is an error of the write, not of the process', async () => {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 1 });
  pool.on('error', () => {});
  const fence = postgresFence();
  await fence.install(pool);
  const lost = fence.run(pool, { resource: 'r', token: 1 }, async (client) => {
    // The client itself must not be listened to, or the test would do what the fence has to do.
    const other = new pg.Client(server.url);
    other.on('error', () => {});
    await other.connect();
    const ended = new Promise((resolve) => other.once('end', resolve));
    await server.kill();
    await ended;
    return await client.query('SELECT 1');
  });
  await expect(lost).rejects.toThrow();
  await server.restart();
  expect(await fence.run(pool, { resource: 'r', token: 1 }, async () => 'written')).toBe('written');
  await pool.end();
});

test('Redis refuses 100 of 100 stale writers and runs several commands as one', async () => {
  const server = await sharedRedis();
  const client = new Redis(server.url);
  const fence = redisFence(client, { prefix: server.prefix('fence') });
  const key = server.prefix('data');
  for (let round = 1; round <= 100; round += 1) {
    const replies = await fence.write('r', 2 * round + 1, [
      ['SET', key, 'new'],
      ['INCRBY', `${key}n`, 2],
    ]);
    expect(replies[1]).toBe(2 * round);
    await expect(fence.write('r', 2 * round, [['SET', key, 'stale']])).rejects.toThrow(StaleTokenError);
    expect(await client.get(key)).toBe('new');
  }
  await expect(fence.write('r', 500, [])).rejects.toThrow(InvalidOptionError);
  await client.quit();
});
