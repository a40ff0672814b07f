import { TransientMap, type Background, type Clock, type Timer } from '@xiaoke/core';
import { QueueError } from '../errors.ts';
import type { AmqpChannel, AmqpMessage } from './amqp.ts';
import { RecoverableChannel } from './channel.ts';
import { FrameWriter } from './frame-writer.ts';
import type { Link } from './link.ts';

/** A message on its way. */
export interface Outgoing {
  readonly exchange: string;
  readonly routingKey: string;
  readonly text: string;
  /** Whose topology has to be there. */
  readonly queue: string;
  readonly id: string;
  readonly correlationId: string;
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  /** `false`: the exchange keeps the message for later, and would give back at once what has to reach a queue. @default true */
  readonly mandatory?: boolean;
  /** The generation that the ledger owes the broker until this message is confirmed; none for a copy beside. */
  readonly owed?: number | undefined;
}

/** What a publisher needs. */
export interface PublisherOptions {
  readonly link: Link;
  readonly clock: Clock;
  readonly background: Background;
  /** Messages that wait for their confirmation at once. */
  readonly window: number;
  /** Messages that may wait for their turn; more are refused at once. */
  readonly maxBuffered: number;
  /** A connection that confirmed nothing for this long is given up. */
  readonly silenceMs: number;
  readonly timeoutMs: number;
  readonly troubled: (error: unknown) => void;
  /** The broker has the message. */
  readonly confirmed: (message: Outgoing) => void;
  /** No queue took the message: makes the way anew, or rejects. */
  readonly repair: (message: Outgoing) => Promise<void>;
}

interface Pending {
  readonly message: Outgoing;
  readonly deadline: number;
  readonly settle: (error: QueueError | undefined) => void;
  /** Which of all that were sent it is. */
  turn: number;
  sentAt: number;
  returned: boolean;
  over: boolean;
}

const LOOK_EVERY = 50;
/** Milliseconds that a message may wait for others, and the share of what is unconfirmed that goes at once. */
const LONGEST_HOLD = 1;
const COMPANY = 8;

/**
 * Publishes with confirmation: resolves once the broker has the message in a queue. What was not confirmed when its
 * channel was lost is sent again on the next one; the ledger drops the second copy.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #channel: RecoverableChannel;
  #waiting: Pending[] = [];
  /** What waits for its confirmation, in the order in which it was sent. */
  readonly #sent = new TransientMap<number, Pending>();
  /** Of the current channel. */
  #writer: FrameWriter | undefined;
  #writing = false;
  /** How many of those that are sent still lie with the writer. */
  #unwritten = 0;
  #held: Timer | undefined;
  #timer: Timer | undefined;
  #turns = 0;
  #scheduled = false;
  /** amqplib's buffer has room. */
  #room = true;
  #closed = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    const { link, clock, background, timeoutMs, troubled } = options;
    this.#channel = new RecoverableChannel({
      link,
      clock,
      background,
      timeoutMs,
      troubled,
      confirms: true,
      setup: async (channel) => {
        this.#writer = FrameWriter.of(channel);
        channel.on('return', (message) => this.#returned(message as AmqpMessage));
        channel.on('drain', () => {
          this.#room = true;
          this.#schedule();
        });
        // After the set-up the channel is current, and what waits can go.
        this.#schedule();
      },
      down: (error) => this.#down(error),
    });
  }

  /** @throws QueueError `QUEUE_UNAVAILABLE` after `timeoutMs`, or at once when too much waits */
  publish(message: Outgoing, timeoutMs: number): Promise<void> {
    const { clock, link, maxBuffered } = this.#options;
    if (this.#closed) return Promise.reject(new QueueError('QUEUE_CLOSED', 'The publisher is closed'));
    if (this.#waiting.length >= maxBuffered)
      return Promise.reject(
        new QueueError('QUEUE_UNAVAILABLE', `More than ${maxBuffered} messages wait for RabbitMQ`),
      );
    link.start();
    this.#watch();
    return new Promise((resolve, reject) => {
      const now = clock.monotonic();
      const pending: Pending = {
        message,
        deadline: now + timeoutMs,
        settle: (error) => (error === undefined ? resolve() : reject(error)),
        turn: 0,
        sentAt: now,
        returned: false,
        over: false,
      };
      const channel = this.#open();
      if (channel === undefined || this.#waiting.length > 0) this.#waiting.push(pending);
      else this.#send(channel, pending);
    });
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#held?.cancel();
    const error = new QueueError('QUEUE_CLOSED', 'The publisher was closed before the message was confirmed');
    for (const pending of [...this.#sent.values(), ...this.#waiting]) this.#finish(pending, error);
    this.#waiting = [];
    await this.#channel.close(timeoutMs);
  }

  /** The channel, if a message can be sent on it now. Whatever is in the way tells when it is over. */
  #open(): AmqpChannel | undefined {
    const { window, link } = this.#options;
    const free = this.#room && this.#sent.size < window && link.blocked === undefined && !this.#closed;
    return free ? this.#channel.current : undefined;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const now = this.#options.clock.monotonic();
    let taken = 0;
    for (const pending of this.#waiting) {
      const channel = this.#open();
      if (channel === undefined) break;
      taken += 1;
      if (pending.over) continue;
      pending.sentAt = now;
      this.#send(channel, pending);
    }
    if (taken > 0) this.#waiting.splice(0, taken);
  }

  #send(channel: AmqpChannel, pending: Pending): void {
    pending.returned = false;
    this.#turns += 1;
    pending.turn = this.#turns;
    this.#sent.set(pending.turn, pending);
    const confirmed = (error: unknown): void => this.#confirmed(pending, error);
    const writer = this.#writer?.channel === channel ? this.#writer : undefined;
    if (writer?.add(pending.message, confirmed) === true) {
      this.#unwritten += 1;
      this.#scheduleWrite();
      return;
    }
    try {
      this.#unwritten = 0;
      writer?.flush();
      this.#room = publishOn(channel, pending.message, confirmed);
      this.#options.link.gather();
    } catch (error) {
      // The channel was closed under our hands; what was sent on it is sent again on the next one.
      if (isClosed(error)) return;
      this.#sent.delete(pending.turn);
      this.#finish(pending, refused(error));
    }
  }

  /**
   * All that is published by what runs now, and by what that lets go on, goes out together. While the broker has much more to
   * confirm than that, it waits a moment for company: a write costs as much as several messages.
   */
  #scheduleWrite(): void {
    if (this.#writing) return;
    this.#writing = true;
    process.nextTick(() => {
      this.#writing = false;
      if (this.#unwritten * COMPANY >= this.#sent.size) this.#write();
      else this.#held ??= this.#options.clock.setTimeout(() => this.#write(), LONGEST_HOLD);
    });
  }

  #write(): void {
    this.#held?.cancel();
    this.#held = undefined;
    this.#unwritten = 0;
    const writer = this.#writer;
    // Of a channel that is gone, what was not sent is sent on the next one.
    if (writer === undefined || writer.channel !== this.#channel.current) return;
    this.#room = writer.flush();
    this.#options.link.gather();
  }

  #confirmed(pending: Pending, error: unknown): void {
    if (!this.#sent.delete(pending.turn)) return;
    if (this.#unwritten > 0) this.#scheduleWrite();
    // amqplib tells unconfirmed messages of a closed channel as errors; they are sent again.
    if (error != null && this.#channel.current === undefined) this.#waiting.unshift(pending);
    else if (pending.returned) this.#repair(pending);
    // A negative confirmation: the queue is full of something else, or changing its leader.
    else if (error != null) this.#waiting.push(pending);
    else {
      this.#options.confirmed(pending.message);
      this.#finish(pending, undefined);
    }
    if (this.#waiting.length > 0) this.#schedule();
  }

  #repair(pending: Pending): void {
    const { background, repair } = this.#options;
    background.run(async () => {
      try {
        await repair(pending.message);
        this.#waiting.push(pending);
        this.#watch();
        this.#schedule();
      } catch (error) {
        this.#finish(pending, refused(error));
      }
    }, 'make a way for a returned message');
  }

  #returned(message: AmqpMessage): void {
    const { messageId, correlationId } = message.properties;
    for (const pending of this.#sent.values()) {
      const { message: sent, returned } = pending;
      if (returned || sent.id !== messageId || sent.correlationId !== correlationId) continue;
      pending.returned = true;
      return;
    }
  }

  #down(error: unknown): void {
    this.#writer = undefined;
    this.#unwritten = 0;
    const unconfirmed = [...this.#sent.values()];
    this.#sent.clear();
    this.#room = true;
    // Over an exchange that is not there the broker closes the whole channel, and would close the next one too.
    const astray = isNotFound(error) ? unconfirmed.filter(({ message }) => message.exchange !== '') : [];
    this.#waiting = [...unconfirmed.filter((pending) => !astray.includes(pending)), ...this.#waiting];
    for (const pending of astray) this.#repair(pending);
  }

  #finish(pending: Pending, error: QueueError | undefined): void {
    if (pending.over) return;
    pending.over = true;
    pending.settle(error);
  }

  #watch(): void {
    if (this.#closed) return;
    this.#timer ??= this.#options.clock.setInterval(() => this.#look(), LOOK_EVERY).unref();
  }

  #look(): void {
    const { clock, link, silenceMs } = this.#options;
    const now = clock.monotonic();
    if (this.#sent.size === 0 && this.#waiting.length === 0) {
      this.#timer?.cancel();
      this.#timer = undefined;
      return;
    }
    const { blocked } = link;
    let oldest = now;
    for (const pending of this.#sent.values()) {
      oldest = Math.min(oldest, pending.sentAt);
      if (pending.deadline <= now) this.#expire(pending, blocked);
    }
    for (const pending of this.#waiting) if (pending.deadline <= now) this.#expire(pending, blocked);
    this.#waiting = this.#waiting.filter(({ over }) => !over);
    if (blocked === undefined && now - oldest > silenceMs) link.cut('the broker confirms nothing any more');
    else this.#schedule();
  }

  #expire(pending: Pending, blocked: string | undefined): void {
    const why = blocked === undefined ? 'did not confirm in time' : `takes no messages now (${blocked})`;
    this.#finish(
      pending,
      new QueueError('QUEUE_UNAVAILABLE', `RabbitMQ ${why}`, {
        details: { id: pending.message.id, ...(blocked === undefined ? {} : { blocked }) },
      }),
    );
  }
}

function publishOn(channel: AmqpChannel, message: Outgoing, confirmed: (error: unknown) => void): boolean {
  const { exchange, routingKey, text, id, correlationId, headers, mandatory = true } = message;
  const options = { persistent: true, mandatory, messageId: id, correlationId, headers };
  return channel.publish(exchange, routingKey, Buffer.from(text), options, confirmed);
}

function isNotFound(error: unknown): boolean {
  return Reflect.get(Object(error), 'code') === 404;
}

function isClosed(error: unknown): boolean {
  return error instanceof Error && error.name === 'IllegalOperationError';
}

function refused(cause: unknown): QueueError {
  return new QueueError('QUEUE_UNAVAILABLE', 'RabbitMQ did not take the message', { cause });
}
