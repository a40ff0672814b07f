import { abortable, systemClock, toMilliseconds } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext } from '../checker.ts';
import type { DatabaseCheckerOptions, DatabaseProbe } from './database.ts';
import { DRIVER_MISSING, driverFailure, isMissingModule } from './driver.ts';

/** The part of a pg client that is used. */
export interface PostgresClientLike {
  query(sql: string): Promise<{ readonly rows: readonly object[] }>;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off?(event: 'error', listener: (error: Error) => void): unknown;
  /** On a client from a pool; with an error, the connection is closed. */
  release?(error?: Error | boolean): void;
  end?(): Promise<void>;
}

/** The part of a pg pool that is used. */
export interface PostgresPoolLike {
  connect(): Promise<PostgresClientLike>;
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
  readonly options: { readonly max?: number | undefined };
  on?(event: 'acquire', listener: () => void): unknown;
  off?(event: 'acquire', listener: () => void): unknown;
}

/** Whether `target` looks like a pg pool. */
export function isPostgresPool(target: unknown): target is PostgresPoolLike {
  return typeof target === 'object' && target !== null && 'totalCount' in target && 'connect' in target;
}

// An idle primary's last replay is long ago, so the lag only counts while something has not been replayed.
const QUERY = `SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS "readOnly",
  CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END::float8 AS lag`;

const AUTH: ReadonlySet<unknown> = new Set(['28P01', '28000', '3D000']);

/** Looks at PostgreSQL. */
export class PostgresProbe implements DatabaseProbe {
  readonly database = 'postgresql';
  readonly #target: string | PostgresPoolLike;
  readonly #options: DatabaseCheckerOptions;
  readonly #stuckMs: number;
  #own: OwnClient | undefined;
  #movement: PoolMovement | undefined;

  constructor(target: string | PostgresPoolLike, options: DatabaseCheckerOptions) {
    this.#target = target;
    this.#options = options;
    this.#stuckMs = toMilliseconds(options.stuckAfter ?? '30s', 'stuckAfter', { min: 1 });
  }

  async check(context: CheckContext): Promise<CheckOutcome> {
    try {
      return typeof this.#target === 'string'
        ? await this.#checkOwn(this.#target, context)
        : await this.#checkPool(this.#target, context);
    } catch (error) {
      return isMissingModule(error) ? DRIVER_MISSING : driverFailure(error, AUTH);
    }
  }

  async close(): Promise<void> {
    this.#own?.destroy();
    this.#own = undefined;
    this.#movement?.close();
    this.#movement = undefined;
  }

  async #checkOwn(url: string, { signal, phase }: CheckContext): Promise<CheckOutcome> {
    phase('connect');
    const own = (this.#own ??= await OwnClient.make(url));
    const destroy = (): void => {
      own.destroy();
      if (this.#own === own) this.#own = undefined;
    };
    signal.addEventListener('abort', destroy, { once: true });
    try {
      // The deadline may have passed while the driver was loaded; nobody would cut what is begun after it.
      signal.throwIfAborted();
      await abortable(own.connected(), signal);
      phase('query');
      return this.#judge(await abortable(own.client.query(QUERY), signal));
    } catch (error) {
      destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', destroy);
    }
  }

  async #checkPool(pool: PostgresPoolLike, { signal, phase }: CheckContext): Promise<CheckOutcome> {
    const { totalCount, idleCount, waitingCount } = pool;
    const observed = { total: totalCount, idle: idleCount, waiting: waitingCount };
    const movement = (this.#movement ??= new PoolMovement(pool));
    // Queueing up behind the application's own work would only say that it is busy, a moment later.
    if (idleCount === 0 && totalCount >= (pool.options.max ?? 10) && waitingCount > 0) {
      return movement.stillMs() < this.#stuckMs
        ? { status: 'degraded', code: 'POOL_BUSY', observed }
        : { status: 'unhealthy', code: 'POOL_STUCK', observed };
    }
    movement.stillMs();
    phase('acquire');
    const acquiring = pool.connect();
    const client = await orAbort(acquiring, signal);
    if (client === undefined) {
      // It may still come; then it goes straight back.
      acquiring.then(
        (late) => late.release?.(),
        () => {},
      );
      return { status: 'unhealthy', code: 'TIMEOUT' };
    }
    phase('query');
    return { ...(await this.#borrow(client, signal)), observed };
  }

  async #borrow(client: PostgresClientLike, signal: AbortSignal): Promise<CheckOutcome> {
    let released = false;
    const release = (error?: Error): void => {
      if (released) return;
      released = true;
      client.release?.(error);
    };
    // Only releasing with an error ends the query that is under way and frees the socket.
    const cut = (): void => release(new Error('the health check timed out'));
    const onError = (): void => {};
    // A client that fails while it is lent out would end the process without this.
    client.on('error', onError);
    signal.addEventListener('abort', cut, { once: true });
    try {
      const outcome = this.#judge(await client.query(QUERY));
      release();
      return outcome;
    } catch (error) {
      release(error instanceof Error ? error : new Error('the health check failed'));
      throw error;
    } finally {
      signal.removeEventListener('abort', cut);
      client.off?.('error', onError);
    }
  }

  #judge({ rows }: { readonly rows: readonly object[] }): CheckOutcome {
    const row = (rows[0] ?? {}) as { standby?: boolean; readOnly?: boolean; lag?: number };
    const lagSeconds = row.lag ?? 0;
    const observed = { standby: row.standby === true, lagSeconds };
    if (row.readOnly === true && (this.#options.require ?? 'writable') === 'writable') {
      return { status: 'unhealthy', code: 'READONLY', observed };
    }
    if (lagSeconds > (this.#options.maxLagSeconds ?? 30))
      return { status: 'degraded', code: 'REPLICA_LAG', observed };
    return { status: 'healthy', observed };
  }
}

/**
 * Whether anybody still gets a connection of a pool. Busy is not broken, but a pool whose server froze looks busy too: all its
 * connections are lent out or being made, and none ever comes back.
 */
class PoolMovement {
  readonly #pool: PostgresPoolLike;
  readonly #moved = (): void => void (this.#stillSince = undefined);
  #stillSince: number | undefined;

  constructor(pool: PostgresPoolLike) {
    this.#pool = pool;
    pool.on?.('acquire', this.#moved);
  }

  /** How long nobody has got one since it was first asked; 0 where the pool does not tell. */
  stillMs(): number {
    if (this.#pool.on === undefined) return 0;
    const now = systemClock.monotonic();
    this.#stillSince ??= now;
    return now - this.#stillSince;
  }

  close(): void {
    this.#pool.off?.('acquire', this.#moved);
  }
}

interface DestroyableClient extends PostgresClientLike {
  connect(): Promise<unknown>;
  readonly connection: { readonly stream: { destroy(): void } };
}

/** A connection of the check's own, which can be cut at any moment. */
class OwnClient {
  readonly client: DestroyableClient;
  #connecting: Promise<unknown> | undefined;

  private constructor(client: DestroyableClient) {
    this.client = client;
    client.on('error', () => {});
  }

  static async make(url: string): Promise<OwnClient> {
    const { default: pg } = await import('pg');
    return new OwnClient(new pg.Client({ connectionString: url, application_name: 'xiaoke-health' }));
  }

  connected(): Promise<unknown> {
    this.#connecting ??= this.client.connect();
    return this.#connecting;
  }

  destroy(): void {
    this.client.connection.stream.destroy();
  }
}

function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => resolve(undefined);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
