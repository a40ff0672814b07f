import {
  InvalidOptionError,
  silentLogger,
  systemClock,
  toMilliseconds,
  type Clock,
  type CloseOptions,
  type Duration,
  type Logger,
} from '@xiaoke/core';
import type { QueueManager } from '../queue-manager.ts';
import { checkInteger, type TaskOptions } from '../task-options.ts';
import {
  inTransaction,
  statementsFor,
  type PostgresDatabase,
  type PostgresQueryable,
  type Statements,
} from './postgres.ts';
import { Relay } from './relay.ts';

/** How an outbox is made. */
export interface OutboxOptions {
  /** Where tasks go; also checks them before they are written. Not closed with the outbox. */
  readonly manager: QueueManager;
  /** A pool of `pg`, or a PGlite. Not closed with the outbox. */
  readonly database: PostgresDatabase;
  /** May name its schema. @default 'xiaoke_outbox' */
  readonly table?: string;
  /** Whether this process moves tasks to the queue. Several may; each task is moved by one. @default true */
  readonly relay?: boolean;
  /** How long a task waits at most should its notification be lost. @default '1s' */
  readonly pollInterval?: Duration;
  /** Tasks moved per transaction. @default 200 */
  readonly batch?: number;
  readonly logger?: Logger;
  /** For tests. */
  readonly clock?: Clock;
}

/** Tasks inside transactions. */
export interface Outbox extends AsyncDisposable {
  /** Creates the table if it is not there; done by `createOutbox` too. */
  install(): Promise<void>;
  /**
   * Writes a task with a client inside your transaction: if it commits, the task will be enqueued, even if everything
   * dies in the next moment; if it rolls back, there is no task. `duplicate` says that its `id` is there already. A `delay`
   * counts from now.
   *
   * @throws what `enqueueTask` throws for bad options and payloads, before anything is written
   */
  enqueueTask(
    client: PostgresQueryable,
    name: string,
    payload: unknown,
    options?: TaskOptions,
  ): Promise<{ readonly id: string; readonly duplicate: boolean }>;
  /** Moves what is committed now. Resolves to how many tasks. */
  flush(): Promise<number>;
  /** How many wait to be moved, and how many the queue refused (with the reason in their row). */
  counts(): Promise<{ readonly pending: number; readonly rejected: number }>;
  close(options?: CloseOptions): Promise<void>;
}

/**
 * Makes an outbox over one table, and its relay.
 *
 * A task is moved at least once: a relay that dies between enqueuing and deleting leaves the row to another one, which
 * enqueues it under the same id, so the queue keeps one as long as it keeps the task's record (`keepResult`).
 *
 * @example
 * ```ts skip
 * const outbox = await createOutbox({ manager, database: pool });
 * await client.query('BEGIN');
 * await client.query('INSERT INTO orders …');
 * await outbox.enqueueTask(client, 'order.confirm', { orderId });
 * await client.query('COMMIT');
 * ```
 */
export async function createOutbox(options: OutboxOptions): Promise<Outbox> {
  const outbox = new PostgresOutbox(options);
  await outbox.install();
  outbox.start();
  return outbox;
}

class PostgresOutbox implements Outbox {
  readonly #manager: QueueManager;
  readonly #database: PostgresDatabase;
  readonly #statements: Statements;
  readonly #relay: Relay;
  readonly #relays: boolean;

  constructor(options: OutboxOptions) {
    const { manager, database, clock = systemClock, logger = silentLogger } = options;
    if (typeof database?.query !== 'function')
      throw new InvalidOptionError('database', 'must be a pool of pg, or a PGlite');
    if (typeof manager?.checkTask !== 'function')
      throw new InvalidOptionError('manager', 'must be a queue manager');
    this.#manager = manager;
    this.#database = database;
    this.#statements = statementsFor(options.table ?? 'xiaoke_outbox');
    this.#relays = options.relay ?? true;
    this.#relay = new Relay({
      manager,
      database,
      statements: this.#statements,
      pollMs: toMilliseconds(options.pollInterval ?? '1s', 'pollInterval', { min: 10 }),
      batch: checkInteger(options.batch ?? 200, 'batch', 1, 10_000),
      logger,
      clock,
    });
  }

  async install(): Promise<void> {
    await inTransaction(this.#database, async (client) => {
      // Two that create the same table at once fail one another, IF NOT EXISTS or not.
      await client.query('SELECT pg_advisory_xact_lock(hashtext($1))', [this.#statements.install]);
      await client.query(this.#statements.install);
    });
  }

  start(): void {
    if (this.#relays) this.#relay.start();
  }

  async enqueueTask(
    client: PostgresQueryable,
    name: string,
    payload: unknown,
    options: TaskOptions = {},
  ): Promise<{ readonly id: string; readonly duplicate: boolean }> {
    if (typeof options.backoff?.strategy === 'function')
      throw new InvalidOptionError('backoff.strategy', 'cannot be a function here: give it to the handler');
    const { id } = await this.#manager.checkTask(name, payload, options);
    const stored = JSON.stringify({ ...options, id, runAt: options.runAt?.getTime() });
    const text = payload === undefined ? null : JSON.stringify(payload);
    const { rows } = await client.query(this.#statements.insert, [id, name, text, stored]);
    // Delivered when the transaction commits, and not at all when it does not.
    await client.query(this.#statements.notify);
    return { id, duplicate: rows.length === 0 };
  }

  async flush(): Promise<number> {
    return await this.#relay.flush();
  }

  async counts(): Promise<{ readonly pending: number; readonly rejected: number }> {
    const { rows } = await this.#database.query(this.#statements.count);
    return rows[0] as { pending: number; rejected: number };
  }

  async close(options: CloseOptions = {}): Promise<void> {
    await this.#relay.close(toMilliseconds(options.timeout ?? '5s', 'timeout'));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
