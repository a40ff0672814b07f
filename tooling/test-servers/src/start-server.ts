import { chownSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';

import { freePort } from './free-port.ts';
import { processGuard } from './process-guard.ts';
import { ServerProcess, type ServerPlan } from './server-process.ts';

/** What a server needs to know of the place it was given. */
export interface ServerPlace {
  readonly port: number;
  readonly directory: string;
}

/** How {@link startServer} finds that place. */
export interface StartServerOptions {
  readonly name: string;
  /** A fixed port; a free one is taken when absent. */
  readonly port?: number | undefined;
  /** The owner of the directory, for servers that refuse to run as root. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  plan(place: ServerPlace): PlanForPlace | Promise<PlanForPlace>;
}

type PlanForPlace = Omit<ServerPlan, 'name' | 'port' | 'directory' | 'user'>;

const PORT_TAKEN = /address (is )?(already )?in use|eaddrinuse|address not available/i;
const ATTEMPTS = 5;

/**
 * Starts a server in a new temporary directory and waits until it answers.
 *
 * Between finding a free port and listening on it another process may take it; the server then says so and
 * ends, and the start is repeated on another port.
 */
export async function startServer(options: StartServerOptions): Promise<ServerProcess> {
  for (let attempt = 1; ; attempt += 1) {
    const server = await placeServer(options);
    try {
      await server.start();
      return server;
    } catch (error) {
      const retry = options.port === undefined && attempt < ATTEMPTS && PORT_TAKEN.test(server.log());
      await server.stop();
      if (!retry) throw error;
    }
  }
}

async function placeServer(options: StartServerOptions): Promise<ServerProcess> {
  const { name, user } = options;
  const directory = mkdtempSync(join(processGuard().root, `${name}-`));
  if (user !== undefined) chownSync(directory, user.uid, user.gid);
  const place = { port: options.port ?? (await freePort()), directory };
  return new ServerProcess({ ...(await options.plan(place)), name, user, ...place });
}
