import { Server as NetServer } from 'node:net';
import {
  sleep,
  systemClock,
  toMilliseconds,
  withTimeout,
  type Clock,
  type Duration,
  type Logger,
  type Timer,
  silentLogger,
} from '@xiaoke/core';
import type { HealthCheckManager } from '../manager.ts';

/** The part of a `node:http` server that is used. */
export interface ServerLike {
  close(callback?: (error?: Error) => void): unknown;
  closeIdleConnections?(): void;
  closeAllConnections?(): void;
  prependListener?(event: 'connection' | 'request', listener: (...args: unknown[]) => void): unknown;
}

/** The part of a registration in a service registry that is used. */
export interface RegistrationLike {
  setStatus(status: 'draining'): Promise<void>;
  deregister(): Promise<void>;
}

/** How a service goes down. */
export interface ShutdownOptions {
  readonly server?: ServerLike;
  readonly manager: HealthCheckManager;
  /** How long traffic still comes after readiness was taken away: load balancers need that long to notice. @default '5s' */
  readonly drainDelay?: Duration;
  /** How long requests under way may take after that. @default '20s' */
  readonly closeTimeout?: Duration;
  /** Instances of this process: they drain from the start, and say goodbye once the server is closed. */
  readonly registrations?: readonly RegistrationLike[];
  /** Run after the server is closed, one after the other, such as closing queues and databases. */
  readonly hooks?: readonly (() => unknown)[];
  readonly logger?: Logger;
  readonly clock?: Clock;
}

const IDLE_SWEEP = 50;
/** How long a connection may be without a request before it is closed: one may be on its way. */
const IDLE_GRACE = 500;

/**
 * Takes readiness away and drains the registrations, waits for the load balancers to notice, lets requests under way finish, runs the hooks, and closes
 * the manager last, so that liveness answers as long as anything does. Call it from your own signal handler.
 *
 * From the start every answer says `Connection: close`, so that clients give their connections up by themselves: closing
 * one under a client is what fails a request.
 */
export async function gracefulShutdown(options: ShutdownOptions): Promise<void> {
  const { manager, server, hooks = [], logger = silentLogger, clock = systemClock } = options;
  const drainMs = toMilliseconds(options.drainDelay ?? '5s', 'drainDelay');
  const closeMs = toMilliseconds(options.closeTimeout ?? '20s', 'closeTimeout');
  const { registrations = [] } = options;
  manager.shutDown();
  const draining = Promise.allSettled(registrations.map((each) => each.setStatus('draining')));
  const unused = server && retire(server);
  await Promise.all([sleep(drainMs, { clock }), draining]);
  if (server) await closeServer(server, unused ?? new Set(), { timeout: closeMs, logger, clock });
  await Promise.allSettled(registrations.map((each) => each.deregister()));
  for (const hook of hooks) {
    try {
      await hook();
    } catch (error) {
      logger.error({ err: error }, 'a shutdown hook failed');
    }
  }
  await manager.close();
}

interface SocketLike {
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** From now on every answer ends its connection. Gives the connections on which no request has come. */
function retire(server: ServerLike): ReadonlySet<SocketLike> {
  const unused = new Set<SocketLike>();
  server.prependListener?.('connection', (connection) => {
    const socket = connection as SocketLike;
    unused.add(socket);
    socket.once('close', () => unused.delete(socket));
  });
  server.prependListener?.('request', (request, response) => {
    unused.delete((request as { readonly socket: SocketLike }).socket);
    (response as { setHeader(name: string, value: string): unknown }).setHeader('connection', 'close');
  });
  return unused;
}

async function closeServer(
  server: ServerLike,
  unused: ReadonlySet<SocketLike>,
  { timeout, logger, clock }: { readonly timeout: number; readonly logger: Logger; readonly clock: Clock },
): Promise<void> {
  const closed = stopListening(server);
  // A kept-alive connection that is idle now would stay for a minute or more.
  let sweeping: Timer | undefined;
  const grace = clock.setTimeout(
    () => {
      const closeIdle = (): void => {
        server.closeIdleConnections?.();
        // One that never had a request is not idle to http: it waits for the first for a minute.
        for (const socket of unused) socket.destroy();
      };
      closeIdle();
      sweeping = clock.setInterval(closeIdle, IDLE_SWEEP).unref();
    },
    Math.min(IDLE_GRACE, timeout / 2),
  );
  try {
    await withTimeout(closed, timeout, 'closing the server', { clock });
  } catch {
    logger.warn({ timeoutMs: timeout }, 'requests were still under way and are cut');
    server.closeAllConnections?.();
  } finally {
    grace.cancel();
    sweeping?.cancel();
  }
}

/** Resolves when the last connection is gone. */
async function stopListening(server: ServerLike): Promise<void> {
  // What has been connected to already is still accepted in this turn.
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise<void>((resolve) => {
    // The close() of http cuts idle connections at once, also one whose first request is on its way; that of net does not.
    if (server instanceof NetServer) NetServer.prototype.close.call(server, () => resolve());
    else server.close(() => resolve());
  });
  // Again, for what else http lets go of when it is closed.
  if (server instanceof NetServer) server.close();
}
