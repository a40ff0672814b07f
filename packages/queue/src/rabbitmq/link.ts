import { sleep, withTimeout, type Background, type Clock, type Logger, type Random } from '@xiaoke/core';
import { QueueError } from '../errors.ts';
import type { AmqpConnect, AmqpConnection } from './amqp.ts';

/** How connections are made. */
export interface LinkOptions {
  readonly connect: AmqpConnect;
  /** Tried one after the other; the one that answered is kept until it fails. */
  readonly urls: readonly string[];
  /** Shown by the broker's tools. */
  readonly name: string;
  /** Whether single small messages go out at once; a connection that publishes lets the system gather them. */
  readonly noDelay: boolean;
  readonly heartbeatMs: number;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly background: Background;
  /** An outage has begun, or an attempt to end it has failed. */
  readonly troubled: (error: unknown) => void;
}

/** Who follows a connection. */
export interface LinkFollower {
  connected(connection: AmqpConnection): void;
  disconnected(error: unknown): void;
}

const FIRST_DELAY = 20;
const LONGEST_DELAY = 2_000;

/** A connection that comes back: tries its brokers in turn, with a jittered delay, until it is closed. */
export class Link {
  readonly #options: LinkOptions;
  readonly #followers = new Set<LinkFollower>();
  readonly #waiting = new Set<() => void>();
  readonly #closing = new AbortController();
  #current: AmqpConnection | undefined;
  #gathering: AmqpConnection | undefined;
  #blocked: string | undefined;
  #lastError: unknown;
  #next = 0;
  #running = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get connection(): AmqpConnection | undefined {
    return this.#current;
  }

  /** Why the broker takes no messages at the moment, if it does not. */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Starts to connect, for as long as it takes. */
  start(): void {
    if (this.#running || this.closed || this.#current !== undefined) return;
    this.#running = true;
    this.#options.background.run(() => this.#connect(), 'connect to RabbitMQ');
  }

  follow(follower: LinkFollower): () => void {
    this.#followers.add(follower);
    if (this.#current !== undefined) follower.connected(this.#current);
    return () => this.#followers.delete(follower);
  }

  /** The connection, as soon as there is one. @throws QueueError `QUEUE_UNAVAILABLE` */
  async ready(timeoutMs: number): Promise<AmqpConnection> {
    this.start();
    const { clock } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    while (this.#current === undefined) {
      const left = deadline - clock.monotonic();
      if (this.closed || left <= 0) throw this.#unavailable(timeoutMs);
      let wake = (): void => {};
      const up = new Promise<void>((resolve) => (wake = resolve));
      this.#waiting.add(wake);
      try {
        await withTimeout(up, left, 'connecting to RabbitMQ', { clock });
      } catch {
        throw this.#unavailable(timeoutMs);
      } finally {
        this.#waiting.delete(wake);
      }
    }
    return this.#current;
  }

  /**
   * Called after something was sent: lets all that is sent in this turn of the event loop go out in one write. amqplib hands it
   * on piece by piece, in an immediate that it asks for at the next tick; the one asked for here comes right after it.
   */
  gather(): void {
    const connection = this.#current;
    if (connection === undefined || this.#gathering === connection) return;
    this.#gathering = connection;
    const { stream } = connection.connection;
    stream.cork();
    process.nextTick(() =>
      setImmediate(() => {
        this.#gathering = undefined;
        stream.uncork();
      }),
    );
  }

  /** Cuts a connection that does not answer any more, so that another one is made. */
  cut(reason: string): void {
    const dead = this.#current;
    if (dead === undefined) return;
    this.#options.logger.warn({ reason }, 'the connection to RabbitMQ is cut');
    dead.connection.stream.destroy();
    this.#down(dead, new QueueError('QUEUE_UNAVAILABLE', reason));
  }

  async close(timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#closing.abort();
    for (const wake of this.#waiting) wake();
    const last = this.#current;
    this.#current = undefined;
    if (last === undefined) return;
    try {
      await withTimeout(last.close(), timeoutMs, 'closing a connection', { clock });
    } catch {
      last.connection.stream.destroy();
    }
  }

  async #connect(): Promise<void> {
    const { urls, clock, random, troubled } = this.#options;
    for (let tries = 0; !this.closed; tries += 1) {
      try {
        await this.#open(urls[this.#next % urls.length] ?? '');
        break;
      } catch (error) {
        if (this.closed) break;
        this.#lastError = error;
        this.#next += 1;
        if (tries === 0) troubled(error);
        // The whole list is tried before there is a pause.
        const round = Math.floor((tries + 1) / urls.length);
        const delay = this.#next % urls.length === 0 ? FIRST_DELAY * 2 ** Math.min(round, 7) : 1;
        await sleep(Math.min(delay, LONGEST_DELAY) * (0.5 + random() / 2), {
          clock,
          ref: false,
          signal: this.#closing.signal,
        }).catch(() => {});
      }
    }
    this.#running = false;
  }

  async #open(url: string): Promise<void> {
    const { connect, name, connectTimeoutMs, heartbeatMs } = this.#options;
    const made = await connect(withHeartbeat(url, heartbeatMs), {
      timeout: connectTimeoutMs,
      noDelay: this.#options.noDelay,
      clientProperties: { connection_name: name },
    });
    made.on('error', (error) => this.#down(made, error));
    made.on('close', (error) => this.#down(made, error));
    if (this.closed) {
      made.connection.stream.destroy();
      return;
    }
    made.on('blocked', (reason) => (this.#blocked = String(reason)));
    made.on('unblocked', () => (this.#blocked = undefined));
    this.#current = made;
    this.#blocked = undefined;
    for (const follower of this.#followers) follower.connected(made);
    for (const wake of this.#waiting) wake();
  }

  // Told by 'error' and by 'close'; only the first counts.
  #down(connection: AmqpConnection, error: unknown): void {
    if (this.#current !== connection) return;
    this.#current = undefined;
    this.#blocked = undefined;
    this.#lastError = error;
    const why = error ?? new QueueError('QUEUE_UNAVAILABLE', 'The connection was closed');
    for (const follower of this.#followers) follower.disconnected(why);
    if (this.closed) return;
    this.#options.troubled(why);
    this.start();
  }

  #unavailable(timeoutMs: number): QueueError {
    if (this.closed) return new QueueError('QUEUE_CLOSED', 'The connection to RabbitMQ is closed');
    return new QueueError('QUEUE_UNAVAILABLE', `RabbitMQ did not answer within ${timeoutMs} ms`, {
      cause: this.#lastError,
    });
  }
}

/** The heartbeat of the URL wins over ours. */
function withHeartbeat(url: string, heartbeatMs: number): string {
  const parsed = new URL(url);
  if (!parsed.searchParams.has('heartbeat'))
    parsed.searchParams.set('heartbeat', String(Math.max(1, Math.round(heartbeatMs / 1_000))));
  return parsed.href;
}
