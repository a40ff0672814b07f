import { XiaokeError, type Clock, type Random, type Timer } from '@xiaoke/core';
import { renewConnection, type RedisConnection, type RedisLike } from '@xiaoke/core/redis';

/** Redis could not be asked, or did not answer. Never leaves this tier. */
export class AwayError extends XiaokeError {
  static override readonly brand: string = 'xiaoke.cache.AwayError';

  constructor(reason: string, options: { readonly cause?: unknown } = {}) {
    super('REDIS_AWAY', `Redis is away: ${reason}`, options);
  }

  /** It answered, by refusing the command: it is out of memory, or does not allow it. */
  get refused(): boolean {
    return isReplyError(this.cause);
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
  readonly onTimeout: (op: RedisOperation) => void;
  readonly onError: (error: unknown, op: RedisOperation) => void;
}

/** What Redis was asked for; the label `op` of the errors. */
export type RedisOperation = 'connect' | 'read' | 'write' | 'claim' | 'renew' | 'invalidate' | 'heartbeat';

const FIRST_PROBE = 25;
const LONGEST_PROBE = 1_000;
// An answer is waited for longer while others come at least this many times as often as the timeout, up to so many timeouts.
const QUIET = 3;
const PATIENCE = 6;
const ON_ITS_WAY: ReadonlySet<string> = new Set(['connecting', 'connect']);
// What the first call waits at the very most, loading the driver included.
const LONGEST_FIRST_WAIT = 900;
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
  #steps = 0;
  #delay = FIRST_PROBE;
  #timer: Timer | undefined;
  #waiters: ((up: boolean) => void)[] = [];
  #failingSince: number | undefined;
  #lastReply = -Infinity;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  get state(): 'connecting' | 'up' | 'down' {
    return this.#state;
  }

  get connection(): RedisConnection | undefined {
    return this.#connection;
  }

  /** Makes the connection. The first commands wait for it, as long as each of its steps takes no longer than a command may. */
  async start(): Promise<void> {
    try {
      const connection = await this.#options.open();
      if (this.#closed) {
        await connection.close();
        return;
      }
      this.#connection = connection;
      connection.client.on('close', this.#onClose);
      connection.client.on('connect', this.#onConnect);
      connection.client.on('ready', this.#onReady);
    } catch (error) {
      this.#options.onError(error, 'connect');
      this.shut('no connection');
      return;
    }
    this.#expectProgress();
    void this.#probe();
  }

  /** Runs a command, unless Redis is away; rejects with {@link AwayError} when it does not answer in time. */
  async run<T>(
    op: RedisOperation,
    command: (client: RedisLike) => Promise<T>,
    onLate?: (reply: T) => void,
  ): Promise<T> {
    if (this.#state === 'connecting') await this.opened(LONGEST_FIRST_WAIT);
    const client = this.#connection?.client;
    if (this.#state !== 'up' || client === undefined) throw new AwayError(this.#state);
    return this.#bounded(op, command(client), onLate);
  }

  /** Waits for the answer of a command that was sent. One that fails to come shuts the gate. */
  async #bounded<T>(op: RedisOperation, reply: Promise<T>, onLate?: (reply: T) => void): Promise<T> {
    try {
      return await this.#inTime(reply, onLate);
    } catch (error) {
      if (error instanceof AwayError) {
        this.#options.onTimeout(op);
        this.shut('no answer in time');
        throw error;
      }
      this.#options.onError(error, op);
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
    this.#connection?.client.off('connect', this.#onConnect);
    this.#connection?.client.off('ready', this.#onReady);
    await this.#connection?.close(timeout);
  }

  /** Waits for an answer without shutting the gate; for what is done before it opens. */
  answer<T>(reply: Promise<T>): Promise<T> {
    return this.#inTime(reply);
  }

  readonly #onClose = (): void => this.shut('the connection was closed');

  readonly #onConnect = (): void => this.#expectProgress();

  readonly #onReady = (): void => {
    this.#expectProgress();
    this.#delay = FIRST_PROBE;
    void this.#probe();
  };

  // The first connection takes several steps, and a busy process is slow at each: only a step that does not come tells.
  #expectProgress(): void {
    if (this.#state !== 'connecting' || this.#closed) return;
    this.#timer?.cancel();
    this.#steps += 1;
    const step = this.#steps;
    const giveUp = (): void => {
      if (this.#state === 'connecting' && step === this.#steps) this.shut('not connected in time');
    };
    this.#timer = this.#options.clock.setTimeout(() => setImmediate(giveUp), this.#options.timeout).unref();
  }

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
      // A client that was handed in may still be on its way; it tells when it is there.
      if (this.#state === 'connecting' && ON_ITS_WAY.has(client.status)) return;
      if (client.status !== 'ready') throw new AwayError(`the connection is ${client.status}`);
      // As patient as it takes: with nobody waiting, a slow answer is better than another question.
      await this.#answered(client.call('PING'));
      this.#expectProgress();
      await this.#options.recover(client);
      this.#open();
    } catch (error) {
      if (!(error instanceof AwayError)) this.#options.onError(error, 'connect');
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
      if (error instanceof AwayError && connection?.owned === true) renewConnection(connection.client);
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

  /**
   * A server that goes on answering others is busy, not away: its answer is waited for somewhat longer. Neither is a busy process
   * a slow server: answers that lie in the socket are read before time is called.
   */
  #inTime<T>(reply: Promise<T>, onLate?: (reply: T) => void, timeout = this.#options.timeout): Promise<T> {
    const { clock } = this.#options;
    const started = clock.monotonic();
    return new Promise((resolve, reject) => {
      let late = false;
      const expire = (): void => {
        const now = clock.monotonic();
        const quiet = now - this.#lastReply;
        if (quiet < timeout / QUIET && now - started < timeout * PATIENCE)
          timer = clock.setTimeout(onTimer, timeout / QUIET - quiet);
        else {
          late = true;
          reject(new AwayError(`no answer within ${timeout} ms`));
        }
      };
      const onTimer = (): void => void setImmediate(expire);
      let timer = clock.setTimeout(onTimer, timeout);
      const settled = (): void => {
        timer.cancel();
        this.#lastReply = clock.monotonic();
      };
      reply.then(
        (value) => {
          settled();
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
