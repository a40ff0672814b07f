import { fileURLToPath } from 'node:url';

import { runProgram } from './run-program.ts';

/** The servers that the tests may need. */
export type ServerName =
  | 'redis'
  | 'rabbitmq'
  | 'postgres'
  | 'mariadb'
  | 'prometheus'
  | 'alertmanager'
  | 'pushgateway'
  | 'chromium'
  | 'faketime';

/**
 * Makes sure that these servers, or all, are installed, and installs what is missing where that is allowed.
 *
 * @throws Error that says what to install, when it could not.
 */
export async function ensureServers(names: readonly ServerName[] = []): Promise<void> {
  const program = fileURLToPath(new URL('../bin/ensure-servers.mjs', import.meta.url));
  await runProgram(process.execPath, [program, ...names], { timeoutMs: 30 * 60_000 });
}
