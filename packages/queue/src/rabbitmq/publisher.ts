import type { Background, Clock, Timer } from '@xiaoke/core';
import { QueueError } from '../errors.ts';
import type { AmqpChannel, AmqpMessage, PublishOptions } from './amqp.ts';
import { RecoverableChannel } from './channel.ts';
import type { Link } from './link.ts';

/** A message on its way. */
export interface Outgoing {
  readonly exchange: string;
  readonly routingKey: string;
  readonly content: Buffer;
  /** Whose topology has to be there. */
  readonly queue: string;
  readonly id: string;
  readonly correlationId: string;
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
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
  /** No queue took the message: makes the way anew, or rejects. */
  readonly repair: (message: Outgoing) => Promise<void>;
}

interface Pending {
  readonly message: Outgoing;
  readonly deadline: number;
  readonly settle: (error: QueueError | undefined) => void;
  sentAt: number;
  returned: boolean;
  over: boolean;
}

const LOOK_EVERY = 50;

/**
 * Publishes with confirmation: resolves once the broker has the message in a queue. What was not confirmed when its
 * channel was lost is sent again on the next one; the ledger drops the second copy.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #channel: RecoverableChannel;
  #waiting: Pending[] = [];
  readonly #sent = new Set<Pending>();
  readonly #byId = new Map<string, Pending>();
  #timer: Timer | undefined;
  #scheduled = false;
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
        channel.on('return', (message) => this.#returned(message as AmqpMessage));
        channel.on('drain', () => this.#schedule());
        // After the set-up the channel is current, and what waits can go.
        this.#schedule();
      },
      down: () => this.#down(),
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
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        message,
        deadline: clock.monotonic() + timeoutMs,
        settle: (error: QueueError | undefined) => (error === undefined ? resolve() : reject(error)),
        sentAt: 0,
        returned: false,
        over: false,
      });
      this.#timer ??= clock.setInterval(() => this.#look(), LOOK_EVERY).unref();
      this.#schedule();
    });
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    const error = new QueueError('QUEUE_CLOSED', 'The publisher was closed before the message was confirmed');
    for (const pending of [...this.#sent, ...this.#waiting]) this.#finish(pending, error);
    this.#waiting = [];
    await this.#channel.close(timeoutMs);
  }

  // What is published in one turn of the event loop goes out together.
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const channel = this.#channel.current;
    const { window, link } = this.#options;
    if (channel === undefined || link.blocked !== undefined || this.#closed) {
      return;
    }
    link.gather();
    let taken = 0;
    while (taken < this.#waiting.length && this.#sent.size < window) {
      const pending = this.#waiting[taken];
      taken += 1;
      if (pending === undefined || pending.over) continue;
      if (!this.#send(channel, pending)) break;
    }
    if (taken > 0) this.#waiting.splice(0, taken);
  }

  /** Whether more may be sent. */
  #send(channel: AmqpChannel, pending: Pending): boolean {
    const { exchange, routingKey, content, id, correlationId, headers } = pending.message;
    const options: PublishOptions = {
      persistent: true,
      mandatory: true,
      messageId: id,
      correlationId,
      ...(headers === undefined ? {} : { headers }),
    };
    pending.sentAt = this.#options.clock.monotonic();
    pending.returned = false;
    this.#sent.add(pending);
    this.#byId.set(key(id, correlationId), pending);
    try {
      return channel.publish(exchange, routingKey, content, options, (error) =>
        this.#confirmed(pending, error),
      );
    } catch (error) {
      // The channel was closed under our hands; what was sent on it is sent again on the next one.
      if (!isClosed(error)) this.#finish(pending, refused(error));
      return false;
    }
  }

  #confirmed(pending: Pending, error: unknown): void {
    if (!this.#sent.delete(pending)) return;
    const { id, correlationId } = pending.message;
    if (this.#byId.get(key(id, correlationId)) === pending) this.#byId.delete(key(id, correlationId));
    // amqplib tells unconfirmed messages of a closed channel as errors; they are sent again.
    if (error != null && this.#channel.current === undefined) this.#waiting.unshift(pending);
    else if (pending.returned) this.#repair(pending);
    // A negative confirmation: the queue is full of something else, or changing its leader.
    else if (error != null) this.#waiting.push(pending);
    else this.#finish(pending, undefined);
    if (this.#waiting.length > 0) this.#schedule();
  }

  #repair(pending: Pending): void {
    const { background, repair } = this.#options;
    background.run(async () => {
      try {
        await repair(pending.message);
        this.#waiting.push(pending);
        this.#schedule();
      } catch (error) {
        this.#finish(pending, refused(error));
      }
    }, 'make a way for a returned message');
  }

  #returned(message: AmqpMessage): void {
    const { messageId, correlationId } = message.properties;
    const pending = this.#byId.get(key(String(messageId), String(correlationId)));
    if (pending !== undefined) pending.returned = true;
  }

  #down(): void {
    const unconfirmed = [...this.#sent];
    this.#sent.clear();
    this.#byId.clear();
    this.#waiting = [...unconfirmed, ...this.#waiting];
  }

  #finish(pending: Pending, error: QueueError | undefined): void {
    if (pending.over) return;
    pending.over = true;
    pending.settle(error);
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
    for (const pending of this.#sent) {
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

function key(id: string, correlationId: string): string {
  return `${correlationId}\n${id}`;
}

function isClosed(error: unknown): boolean {
  return error instanceof Error && error.name === 'IllegalOperationError';
}

function refused(cause: unknown): QueueError {
  return new QueueError('QUEUE_UNAVAILABLE', 'RabbitMQ did not take the message', { cause });
}
