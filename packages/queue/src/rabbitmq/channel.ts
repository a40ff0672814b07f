import { sleep, withTimeout, type Background, type Clock } from '@xiaoke/core';
import { QueueError } from '../errors.ts';
import type { AmqpChannel, AmqpConnection } from './amqp.ts';
import type { Link } from './link.ts';

/** What a channel is for. */
export interface ChannelOptions {
  readonly link: Link;
  readonly confirms: boolean;
  readonly clock: Clock;
  readonly background: Background;
  readonly timeoutMs: number;
  /** Makes the topology, the consumers and what else lives in the channel, each time that it is opened. */
  readonly setup: (channel: AmqpChannel) => Promise<void>;
  /** Everything that was bound to the channel is gone. */
  readonly down: (error: unknown) => void;
  readonly troubled: (error: unknown) => void;
}

const FIRST_DELAY = 10;
const LONGEST_DELAY = 1_000;
/** What amqplib takes at once; its default is four messages, which then are written four by four. */
const WRITE_BUFFER = 262_144;

/**
 * A channel that comes back: after its connection was lost, and also when the broker closed the channel alone. It is
 * ready once its set-up has run, so nobody uses a channel whose topology is not there.
 */
export class RecoverableChannel {
  readonly #options: ChannelOptions;
  readonly #unfollow: () => void;
  #connection: AmqpConnection | undefined;
  #opening: AmqpConnection | undefined;
  #current: AmqpChannel | undefined;
  #waiting: (() => void)[] = [];
  #lastError: unknown;
  #closed = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#unfollow = options.link.follow({
      connected: (connection) => {
        this.#connection = connection;
        options.background.run(() => this.#open(connection), 'open a channel');
      },
      disconnected: (error) => {
        this.#connection = undefined;
        this.#lost(this.#current, error);
      },
    });
  }

  get current(): AmqpChannel | undefined {
    return this.#current;
  }

  /** The channel, as soon as it is set up. @throws QueueError `QUEUE_UNAVAILABLE` */
  async ready(timeoutMs: number): Promise<AmqpChannel> {
    const { clock, link } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    link.start();
    while (this.#current === undefined) {
      const left = deadline - clock.monotonic();
      if (this.#closed || left <= 0) throw this.#unavailable(timeoutMs);
      const up = new Promise<void>((resolve) => this.#waiting.push(resolve));
      try {
        await withTimeout(up, left, 'a channel', { clock });
      } catch {
        throw this.#unavailable(timeoutMs);
      }
    }
    return this.#current;
  }

  /** Closes it and opens it anew: what it was set up with is not there any more. */
  renew(reason: unknown): void {
    const old = this.#current;
    if (old === undefined) return;
    this.#lost(old, reason);
    this.#options.background.run(() => old.close().catch(() => {}), 'close a channel');
  }

  async close(timeoutMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#unfollow();
    const last = this.#current;
    this.#current = undefined;
    this.#wake();
    if (last === undefined) return;
    try {
      await withTimeout(last.close(), timeoutMs, 'closing a channel', { clock: this.#options.clock });
    } catch {
      // Its connection is closed next, and it with it.
    }
  }

  async #open(connection: AmqpConnection): Promise<void> {
    if (this.#opening === connection) return;
    this.#opening = connection;
    const { clock, troubled } = this.#options;
    for (let tries = 0; this.#connection === connection && !this.#closed; tries += 1) {
      try {
        await this.#attempt(connection);
        break;
      } catch (error) {
        this.#lastError = error;
        if (this.#connection !== connection || this.#closed) break;
        if (tries === 0) troubled(error);
        await sleep(Math.min(FIRST_DELAY * 2 ** tries, LONGEST_DELAY), { clock, ref: false });
      }
    }
    if (this.#opening === connection) this.#opening = undefined;
  }

  async #attempt(connection: AmqpConnection): Promise<void> {
    const { confirms, setup, timeoutMs, clock } = this.#options;
    let broken: unknown;
    const made = await withTimeout(
      confirms
        ? connection.createConfirmChannel({ highWaterMark: WRITE_BUFFER })
        : connection.createChannel({ highWaterMark: WRITE_BUFFER }),
      timeoutMs,
      'opening a channel',
      { clock, ref: false },
    );
    made.on('error', (error) => {
      broken = error;
      this.#lost(made, error);
    });
    made.on('close', () => {
      broken ??= new QueueError('QUEUE_UNAVAILABLE', 'The channel was closed');
      this.#lost(made, broken);
    });
    try {
      await withTimeout(setup(made), timeoutMs, 'setting up a channel', { clock, ref: false });
    } catch (error) {
      made.close().catch(() => {});
      throw broken ?? error;
    }
    this.#assertWhole(broken);
    if (this.#closed || this.#connection !== connection) {
      made.close().catch(() => {});
      return;
    }
    this.#current = made;
    this.#wake();
  }

  // Whatever amqplib gave as the reason is an error.
  #assertWhole(broken: unknown): void {
    if (broken instanceof Error) throw broken;
  }

  #lost(channel: AmqpChannel | undefined, error: unknown): void {
    if (channel === undefined || this.#current !== channel) return;
    this.#current = undefined;
    this.#lastError = error;
    this.#options.down(error);
    const connection = this.#connection;
    if (connection === undefined || this.#closed) return;
    this.#options.troubled(error);
    this.#options.background.run(() => this.#open(connection), 'open a channel again');
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #unavailable(timeoutMs: number): QueueError {
    if (this.#closed) return new QueueError('QUEUE_CLOSED', 'The channel to RabbitMQ is closed');
    return new QueueError('QUEUE_UNAVAILABLE', `RabbitMQ did not answer within ${timeoutMs} ms`, {
      cause: this.#lastError,
    });
  }
}
