import { execFile } from 'node:child_process';
import { readlinkSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { startPostgres, type PostgresServer } from '@xiaoke/test-servers';
import { expect, test } from 'vitest';
import { eventually } from '@xiaoke/core/testing';
import { createHealthCheckManager } from '@xiaoke/health';

const run = promisify(execFile);

/** Makes a hot standby of a primary: its data are replaced by a base backup, and it starts as one that follows. */
async function standbyOf(primary: PostgresServer): Promise<PostgresServer> {
  const server = await startPostgres();
  const binaries = dirname(readlinkSync(`/proc/${server.pid}/exe`));
  const data = join(server.directory, 'data');
  const { uid, gid } = statSync(data);
  await server.kill();
  rmSync(data, { recursive: true });
  const from = ['-h', primary.host, '-p', String(primary.port), '-U', 'postgres'];
  const args = ['-D', data, ...from, '-R', '-X', 'stream', '--checkpoint=fast', '--no-sync'];
  // Only root may run something as somebody else.
  const owner = process.getuid?.() === 0 ? { uid, gid } : {};
  await run(join(binaries, 'pg_basebackup'), args, { cwd: server.directory, ...owner });
  await server.restart();
  return server;
}

test('PostgreSQL: a standby takes no writes; one that may be read is well until it lags', async () => {
  await using primary = await startPostgres();
  await using standby = await standbyOf(primary);
  await using health = createHealthCheckManager();
  const config = { timeout: 10_000, failureThreshold: 1 };
  health
    .registerDatabaseChecker('writing', standby.url, { config })
    .registerDatabaseChecker('reading', standby.url, { config, require: 'readable', maxLagSeconds: 1 })
    .registerDatabaseChecker('primary', primary.url, { config, maxLagSeconds: 1 });
  await primary.psql('create table t (id int)');
  expect(await health.check('writing')).toMatchObject({ status: 'unhealthy', code: 'READONLY' });
  await eventually(async () => expect((await health.check('reading')).status).toBe('healthy'), {
    timeout: 10_000,
  });
  expect((await health.check('reading')).observed).toMatchObject({ standby: true });

  await standby.psql('select pg_wal_replay_pause()');
  await primary.psql('insert into t values (1)');
  await eventually(
    async () =>
      expect(await health.check('reading')).toMatchObject({ status: 'degraded', code: 'REPLICA_LAG' }),
    { timeout: 15_000 },
  );
  await standby.psql('select pg_wal_replay_resume()');
  await eventually(async () => expect((await health.check('reading')).status).toBe('healthy'), {
    timeout: 15_000,
  });
  // However long nobody writes, an idle primary does not lag.
  expect(await health.check('primary')).toMatchObject({ status: 'healthy', observed: { lagSeconds: 0 } });
  await standby.psql('select pg_promote()');
  await eventually(async () => expect((await health.check('writing')).status).toBe('healthy'), {
    timeout: 15_000,
  });
}, 120_000);
