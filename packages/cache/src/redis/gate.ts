import { XiaokeError, type Clock, type Random, type Timer } from '@xiaoke/core';
import type { RedisConnection, RedisLike } from '@xiaoke/core/redis';

/** Redis could not be asked, or did not answer. Never leaves this tier. */
export class AwayError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.cache.AwayError';

  constructor(reason: string, options: { readonly cause?: unknown } = {}) {
    super('REDIS_AWAY', `Redis is away: ${reason}`, options);
  }
}

/** How a gate works. */
export interface GateOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** How long a command may take. */
  readonly timeout: number;
  /** Makes the connection; called once. */
  readonly open: () => Promise<RedisConnection>;
  /** Has to succeed before the gate opens: what was missed while Redis was away is caught up on here. */
  readonly recover: (client: RedisLike) => Promise<void>;
  readonly onState: (state: 'up' | 'down', reason?: string) => void;
  readonly onTimeout: () => void;
  readonly onError: (error: unknown) => void;
}

const FIRST_PROBE = 25;
const LONGEST_PROBE = 1_000;
// Longer than any write may still take effect (see set.lua), so that no write of the old connection comes after ours.
const CUT_AFTER = 2_000;

/**
 * The breaker before Redis. A command that is late, or a connection that breaks, shuts it at once: nobody else waits. Behind
 * it Redis is probed, and it opens again after an answer, once what was missed is caught up on.
 */
export class Gate {
  readonly #options: GateOptions;
  #connection: RedisConnection | undefined;
  #state: 'connecting' | 'up' | 'down' = 'connecting';
  #closed = false;
  #probing = false;
  #delay = FIRST_PROBE;
  #timer: Timer | undefined;
  #waiters: ((up: boolean) => void)[] = [];
  #failingSince: number | undefined;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  get state(): 'connecting' | 'up' | 'down' {
    return this.#state;
  }

  get connection(): RedisConnection | undefined {
    return this.#connection;
  }

  /** Makes the connection. The first commands wait for it, as long as a command may take. */
  async start(): Promise<void> {
    try {
      const connection = await this.#options.open();
      if (this.#closed) {
        await connection.close();
        return;
      }
      this.#connection = connection;
      connection.client.on('close', this.#onClose);
      connection.client.on('ready', this.#onReady);
    } catch (error) {
      this.#options.onError(error);
      this.shut('no connection');
      return;
    }
    this.#timer = this.#options.clock
      .setTimeout(() => {
        if (this.#state === 'connecting') this.shut('not connected in time');
      }, this.#options.timeout)
      .unref();
    void this.#probe();
  }

  /** Runs a command, unless Redis is away; rejects with {@link AwayError} when it does not answer in time. */
  async run<T>(command: (client: RedisLike) => Promise<T>, onLate?: (reply: T) => void): Promise<T> {
    if (this.#state === 'connecting') await this.opened(this.#options.timeout);
    const client = this.#connection?.client;
    if (this.#state !== 'up' || client === undefined) throw new AwayError(this.#state);
    return this.bounded(command(client), onLate);
  }

  /** Waits for the answer of a command that was sent. One that fails to come shuts the gate. */
  async bounded<T>(reply: Promise<T>, onLate?: (reply: T) => void): Promise<T> {
    try {
      return await this.#inTime(reply, onLate);
    } catch (error) {
      if (error instanceof AwayError) {
        this.#options.onTimeout();
        this.shut('no answer in time');
        throw error;
      }
      this.#options.onError(error);
      // A refused command says nothing about the connection.
      if (!isReplyError(error)) this.shut('the connection broke');
      throw new AwayError('the command failed', { cause: error });
    }
  }

  /** Resolves to whether Redis is in use, as soon as it is, or after `timeout`. */
  opened(timeout: number): Promise<boolean> {
    if (this.#state === 'up' || this.#closed) return Promise.resolve(this.#state === 'up');
    return new Promise((resolve) => {
      const timer = this.#options.clock.setTimeout(() => {
        this.#waiters = this.#waiters.filter((waiter) => waiter !== settle);
        resolve(this.#state === 'up');
      }, timeout);
      const settle = (up: boolean): void => {
        timer.cancel();
        resolve(up);
      };
      this.#waiters.push(settle);
    });
  }

  /** Nothing is sent from now on, until Redis answers and is caught up with. */
  shut(reason: string): void {
    if (this.#state === 'down' || this.#closed) return;
    const first = this.#state === 'connecting';
    this.#state = 'down';
    this.#delay = FIRST_PROBE;
    this.#failingSince = this.#options.clock.monotonic();
    this.#options.onState('down', reason);
    // Calls that waited for the first connection go on without; who waits for `ready` still does.
    if (first) this.#wakeWaiters(false);
    this.#schedule();
  }

  async close(timeout: number): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#wakeWaiters(false);
    // The client may be the user's, and outlive us.
    this.#connection?.client.off('close', this.#onClose);
    this.#connection?.client.off('ready', this.#onReady);
    await this.#connection?.close(timeout);
  }

  /** Waits for an answer without shutting the gate; for what is done before it opens. */
  answer<T>(reply: Promise<T>): Promise<T> {
    return this.#inTime(reply);
  }

  readonly #onClose = (): void => this.shut('the connection was closed');

  readonly #onReady = (): void => {
    this.#delay = FIRST_PROBE;
    void this.#probe();
  };

  #schedule(): void {
    this.#timer?.cancel();
    if (this.#closed) return;
    const delay = this.#delay * (0.75 + this.#options.random() / 2);
    this.#delay = Math.min(LONGEST_PROBE, this.#delay * 2);
    this.#timer = this.#options.clock.setTimeout(() => void this.#probe(), delay).unref();
  }

  async #probe(): Promise<void> {
    const client = this.#connection?.client;
    if (this.#probing || this.#closed || this.#state === 'up' || client === undefined) return;
    this.#probing = true;
    try {
      if (client.status === 'wait') await client.connect();
      if (client.status !== 'ready') throw new AwayError(`the connection is ${client.status}`);
      // As patient as it takes: with nobody waiting, a slow answer is better than another question.
      await this.#answered(client.call('PING'));
      await this.#options.recover(client);
      this.#open();
    } catch (error) {
      if (!(error instanceof AwayError)) this.#options.onError(error);
      if (this.#state === 'connecting') this.shut('no answer');
      else this.#schedule();
    } finally {
      this.#probing = false;
    }
  }

  // A connection that stays silent is cut, since only a new one will ever answer; a user's own client is theirs to cut.
  async #answered(reply: Promise<unknown>): Promise<void> {
    const { clock } = this.#options;
    const since = this.#failingSince ?? clock.monotonic();
    const patience = Math.max(this.#options.timeout, CUT_AFTER - (clock.monotonic() - since));
    try {
      await this.#inTime(reply, undefined, patience);
    } catch (error) {
      const connection = this.#connection;
      if (error instanceof AwayError && connection?.owned === true) connection.client.disconnect(true);
      throw error;
    }
  }

  #open(): void {
    if (this.#closed) return;
    this.#state = 'up';
    this.#timer?.cancel();
    this.#failingSince = undefined;
    this.#options.onState('up');
    this.#wakeWaiters(true);
  }

  #wakeWaiters(up: boolean): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter(up);
  }

  #inTime<T>(reply: Promise<T>, onLate?: (reply: T) => void, timeout = this.#options.timeout): Promise<T> {
    return new Promise((resolve, reject) => {
      let late = false;
      const timer = this.#options.clock.setTimeout(() => {
        // A busy process is not a slow server: answers that lie in the socket are read before time is called.
        setImmediate(() => {
          late = true;
          reject(new AwayError(`no answer within ${timeout} ms`));
        });
      }, timeout);
      reply.then(
        (value) => {
          timer.cancel();
          if (late) onLate?.(value);
          else resolve(value);
        },
        (error: unknown) => {
          timer.cancel();
          reject(error);
        },
      );
    });
  }
}

function isReplyError(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError';
}
