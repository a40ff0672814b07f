import { Background, toMilliseconds, XiaokeError, type Clock, type Logger, type Timer } from '@xiaoke/core';
import type { QueueManager } from '../queue-manager.ts';
import type { TaskOptions } from '../task-options.ts';
import {
  inTransaction,
  type PostgresDatabase,
  type PostgresListener,
  type PostgresQueryable,
  type Statements,
} from './postgres.ts';

/** What a relay needs. */
export interface RelayOptions {
  readonly manager: QueueManager;
  readonly database: PostgresDatabase;
  readonly statements: Statements;
  readonly pollMs: number;
  readonly batch: number;
  readonly logger: Logger;
  readonly clock: Clock;
}

interface Row {
  readonly seq: string | number;
  readonly name: string;
  readonly payload: string | null;
  readonly options: string;
  /** Milliseconds since it was written, by the database's clock. */
  readonly age: number;
}

// What repeating cannot make better; everything else is an outage.
const HOPELESS: ReadonlySet<string> = new Set([
  'INVALID_OPTION',
  'PAYLOAD_INVALID',
  'PAYLOAD_TOO_LARGE',
  'PAYLOAD_NOT_SERIALIZABLE',
]);

/** Moves rows to the queue: locked, enqueued, deleted, in one transaction each batch. */
export class Relay {
  readonly #options: RelayOptions;
  readonly #background: Background;
  #listener: PostgresListener | undefined;
  #timer: Timer | undefined;
  #moving = false;
  #again = false;
  #troubled = false;
  #closed = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#background = new Background({ logger: options.logger });
  }

  start(): void {
    const { clock, pollMs } = this.#options;
    this.#timer = clock.setInterval(() => this.#kick(), pollMs).unref();
    this.#kick();
  }

  /** Moves all that is committed. */
  async flush(): Promise<number> {
    let total = 0;
    for (;;) {
      const moved = await this.#move();
      total += moved;
      if (moved < this.#options.batch || this.#closed) return total;
    }
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#background.settled(timeoutMs);
    this.#release(true);
  }

  #kick(): void {
    if (this.#closed) return;
    if (this.#moving) {
      this.#again = true;
      return;
    }
    this.#moving = true;
    this.#background.run(async () => {
      try {
        await this.#listen();
        await this.flush();
        this.#troubled = false;
      } catch (error) {
        // One outage is one line; the next poll tries again.
        if (!this.#troubled) this.#options.logger.warn({ err: error }, 'the outbox cannot be moved now');
        this.#troubled = true;
      }
      this.#moving = false;
      if (!this.#again) return;
      this.#again = false;
      this.#kick();
    }, 'move the outbox');
  }

  /** A notification is a hint: what it fails to tell, the next poll finds. */
  async #listen(): Promise<void> {
    const { database, statements } = this.#options;
    if (this.#listener !== undefined || this.#closed || !('connect' in database)) return;
    const client = await database.connect();
    this.#listener = client;
    client.on('notification', () => this.#kick());
    client.on('error', () => this.#release(true));
    client.on('end', () => this.#release(true));
    await client.query(statements.listen);
  }

  #release(destroy: boolean): void {
    const client = this.#listener;
    this.#listener = undefined;
    if (client === undefined) return;
    client.removeAllListeners('notification');
    client.removeAllListeners('end');
    client.release(destroy);
  }

  async #move(): Promise<number> {
    const { database, statements, batch } = this.#options;
    return await inTransaction(database, async (client) => {
      const { rows } = await client.query(statements.take, [batch]);
      if (rows.length === 0) return 0;
      const sent = await this.#send(client, rows as readonly Row[]);
      if (sent.length > 0) await client.query(statements.remove, [sent]);
      return rows.length;
    });
  }

  /** Enqueues the rows; gives those that are in the queue now. A row that the queue will never take is marked. */
  async #send(client: PostgresQueryable, rows: readonly Row[]): Promise<readonly (string | number)[]> {
    const { manager, statements, logger } = this.#options;
    try {
      await manager.enqueueTasks(rows.map(toItem));
      return rows.map(({ seq }) => seq);
    } catch (error) {
      const reason = hopeless(error);
      if (reason === undefined) throw error;
      if (rows.length > 1) {
        const sent = [];
        for (const row of rows) sent.push(...(await this.#send(client, [row])));
        return sent;
      }
      const [row] = rows;
      logger.error({ err: error, task: row?.name }, 'the queue refused a task of the outbox');
      await client.query(statements.reject, [row?.seq, reason]);
      return [];
    }
  }
}

function toItem({ name, payload, options, age }: Row): {
  name: string;
  payload: unknown;
  options: TaskOptions;
} {
  const { runAt, delay, ...rest } = JSON.parse(options) as Omit<TaskOptions, 'runAt'> & {
    readonly runAt?: number;
  };
  // What is left of the delay; the clocks of this process and of the writer play no part.
  const left = delay === undefined ? {} : { delay: Math.max(0, toMilliseconds(delay, 'delay') - age) };
  const when = runAt === undefined ? left : { runAt: new Date(runAt) };
  return { name, payload: payload === null ? undefined : JSON.parse(payload), options: { ...rest, ...when } };
}

function hopeless(error: unknown): string | undefined {
  return error instanceof XiaokeError && HOPELESS.has(error.code)
    ? `${error.code}: ${error.message}`
    : undefined;
}
