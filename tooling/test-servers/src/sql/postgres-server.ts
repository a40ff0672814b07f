import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { findBinary, postgresDirectories } from '../find-binary.ts';
import { runProgram } from '../run-program.ts';
import type { ServerProcess } from '../server-process.ts';
import { startServer } from '../start-server.ts';
import { unprivilegedUser } from '../system-user.ts';

/** How {@link startPostgres} runs the server. */
export interface PostgresOptions {
  /** More arguments of postgres, such as `['-c', 'max_connections=20']`. */
  readonly args?: readonly string[];
  /** A fixed port. @default a free one */
  readonly port?: number;
}

/** A private PostgreSQL server with one superuser, `postgres`, who needs no password. */
export interface PostgresServer extends ServerProcess {
  /** `postgres://postgres@127.0.0.1:<port>/postgres` */
  readonly url: string;
  /** The directory of its unix socket, as drivers take it for `host`. */
  readonly socketDirectory: string;
  /** Runs SQL by psql and returns the rows, columns separated by `|`; throws on an error. */
  psql(sql: string): Promise<string>;
}

/**
 * Starts a private PostgreSQL, in about two seconds.
 *
 * It does not fsync: `kill()` loses nothing, only a failing machine would.
 *
 * @example
 * ```ts
 * await using postgres = await startPostgres();
 * await postgres.psql('create table patients (id int primary key)');
 * ```
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const user = unprivilegedUser('postgres');
  const binary = (name: string): string => findBinary(name, 'postgres', postgresDirectories());
  const server = await startServer({
    name: 'postgres',
    port: options.port,
    user,
    plan: async ({ port, directory }) => {
      const data = join(directory, 'data');
      const initdb = ['-D', data, '-U', 'postgres', '--auth=trust', '--no-sync', '-E', 'UTF8', '--locale=C'];
      await runProgram(binary('initdb'), initdb, { cwd: directory, timeoutMs: 60_000, ...user });
      return {
        command: binary('postgres'),
        args: postgresArguments(data, port, directory, options),
        isReady: ({ pid }) => isReady(data, pid),
      };
    },
  });
  const { host, port, directory } = server;
  return Object.assign(server, {
    url: `postgres://postgres@${host}:${port}/postgres`,
    socketDirectory: directory,
    psql: async (sql: string) => {
      const args = ['-h', host, '-p', String(port), '-U', 'postgres', '-X', '-A', '-t', '-q'];
      const rows = await runProgram(binary('psql'), [...args, '-v', 'ON_ERROR_STOP=1', '-c', sql]);
      return rows.trimEnd();
    },
  });
}

function postgresArguments(
  data: string,
  port: number,
  directory: string,
  { args = [] }: PostgresOptions,
): string[] {
  const place = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', directory];
  return [...place, '-c', 'fsync=off', '-c', 'full_page_writes=off', ...args];
}

/** The server keeps its process id in the first line of this file and its state in the last. */
function isReady(data: string, pid: number): boolean {
  const lines = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n');
  return lines[0] === String(pid) && lines[7]?.trim() === 'ready';
}
