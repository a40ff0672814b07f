import {
  sleep,
  systemClock,
  toMilliseconds,
  withTimeout,
  type Clock,
  type Duration,
  type Logger,
  silentLogger,
} from '@xiaoke/core';
import type { HealthCheckManager } from '../manager.ts';

/** The part of a `node:http` server that is used. */
export interface ServerLike {
  close(callback?: (error?: Error) => void): unknown;
  closeIdleConnections?(): void;
  closeAllConnections?(): void;
}

/** How a service goes down. */
export interface ShutdownOptions {
  readonly server?: ServerLike;
  readonly manager: HealthCheckManager;
  /** How long traffic still comes after readiness was taken away: load balancers need that long to notice. @default '5s' */
  readonly drainDelay?: Duration;
  /** How long requests under way may take after that. @default '20s' */
  readonly closeTimeout?: Duration;
  /** Run after the server is closed, one after the other, such as closing queues and databases. */
  readonly hooks?: readonly (() => unknown)[];
  readonly logger?: Logger;
  readonly clock?: Clock;
}

const IDLE_SWEEP = 50;

/**
 * Takes readiness away, waits for the load balancers to notice, lets requests under way finish, runs the hooks, and closes
 * the manager last, so that liveness answers as long as anything does. Call it from your own signal handler.
 */
export async function gracefulShutdown(options: ShutdownOptions): Promise<void> {
  const { manager, server, hooks = [], logger = silentLogger, clock = systemClock } = options;
  const drainMs = toMilliseconds(options.drainDelay ?? '5s', 'drainDelay');
  const closeMs = toMilliseconds(options.closeTimeout ?? '20s', 'closeTimeout');
  manager.shutDown();
  await sleep(drainMs, { clock });
  if (server) await closeServer(server, closeMs, logger, clock);
  for (const hook of hooks) {
    try {
      await hook();
    } catch (error) {
      logger.error({ err: error }, 'a shutdown hook failed');
    }
  }
  await manager.close();
}

async function closeServer(server: ServerLike, timeout: number, logger: Logger, clock: Clock): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  // A kept-alive connection becomes idle when its last answer is out, and would stay for a minute or more.
  const closeIdle = (): void => server.closeIdleConnections?.();
  closeIdle();
  const sweeping = clock.setInterval(closeIdle, IDLE_SWEEP).unref();
  try {
    await withTimeout(closed, timeout, 'closing the server', { clock });
  } catch {
    logger.warn({ timeoutMs: timeout }, 'requests were still under way and are cut');
    server.closeAllConnections?.();
  } finally {
    sweeping.cancel();
  }
}
