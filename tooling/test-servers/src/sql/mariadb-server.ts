import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { findBinary } from '../find-binary.ts';
import { runProgram } from '../run-program.ts';
import type { ServerProcess } from '../server-process.ts';
import { startServer } from '../start-server.ts';

/** How {@link startMariaDb} runs the server. */
export interface MariaDbOptions {
  /** More arguments of mariadbd, such as `['--max-connections=20']`. */
  readonly args?: readonly string[];
  /** A fixed port. @default a free one */
  readonly port?: number;
}

/** A private MariaDB server with one user, `test` with password `test`, who may do everything. */
export interface MariaDbServer extends ServerProcess {
  /** `mysql://test:test@127.0.0.1:<port>/test`; the database `test` exists. */
  readonly url: string;
}

const FIRST_STATEMENTS = `
CREATE DATABASE IF NOT EXISTS test;
CREATE USER IF NOT EXISTS 'test'@'%' IDENTIFIED BY 'test';
GRANT ALL PRIVILEGES ON *.* TO 'test'@'%' WITH GRANT OPTION;
`;

/** Starts a private MariaDB, in about three seconds. */
export async function startMariaDb(options: MariaDbOptions = {}): Promise<MariaDbServer> {
  // As root it insists on being told so.
  const user = process.getuid?.() === 0 ? ['--user=root'] : [];
  const server = await startServer({
    name: 'mariadb',
    port: options.port,
    plan: async ({ port, directory }) => {
      const data = ['--no-defaults', `--datadir=${join(directory, 'data')}`, ...user];
      const initFile = join(directory, 'init.sql');
      writeFileSync(initFile, FIRST_STATEMENTS);
      const install = [...data, '--auth-root-authentication-method=normal', '--skip-test-db'];
      await runProgram(findBinary('mariadb-install-db', 'mariadb'), install, {
        cwd: directory,
        timeoutMs: 120_000,
      });
      return {
        command: findBinary('mariadbd', 'mariadb'),
        args: [...data, ...mariaDbArguments(port, directory, initFile), ...(options.args ?? [])],
        isReady: ({ log }) => log().includes('ready for connections'),
        startTimeoutMs: 60_000,
      };
    },
  });
  return Object.assign(server, { url: `mysql://test:test@${server.host}:${server.port}/test` });
}

function mariaDbArguments(port: number, directory: string, initFile: string): string[] {
  return [
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(directory, 'mariadb.sock')}`,
    `--pid-file=${join(directory, 'mariadb.pid')}`,
    `--init-file=${initFile}`,
    '--skip-name-resolve',
    '--innodb-buffer-pool-size=16M',
    '--innodb-flush-log-at-trx-commit=2',
  ];
}
