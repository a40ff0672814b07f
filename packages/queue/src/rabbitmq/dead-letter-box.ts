import { withTimeout, type Clock } from '@xiaoke/core';
import { decodeEnvelope } from '../envelope.ts';
import { QueueError } from '../errors.ts';
import type { AmqpChannel, AmqpMessage } from './amqp.ts';
import type { LedgerClient } from './ledger-client.ts';
import type { Link } from './link.ts';
import { readOffer } from './message.ts';
import type { Names } from './names.ts';
import type { Topology } from './topology.ts';

/** What the dead letters of the broker are looked after with. */
export interface DeadLetterBoxOptions {
  readonly link: Link;
  readonly ledger: LedgerClient;
  readonly names: Names;
  readonly topology: Topology;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

/** The most that is looked through at once. */
const WINDOW = 10_000;

/**
 * Keeps the dead letters of the broker and those of the ledger alike. The broker's copy is what survives a ledger that is
 * lost; it is also where messages end that the broker itself gave up on, because they killed every worker they came to.
 * A message is acknowledged only when the ledger says that it is not needed; all others go back when the channel closes.
 */
export class DeadLetterBox {
  readonly #options: DeadLetterBoxOptions;
  readonly #running = new Map<string, Promise<void>>();

  constructor(options: DeadLetterBoxOptions) {
    this.#options = options;
  }

  /** Looks through a queue's dead letters if there is a difference. */
  async check(queue: string): Promise<void> {
    const { ledger, names, topology } = this.#options;
    await topology.ensureQueue(queue);
    const { dead, litter } = ledger.ledger.tables.queue(queue);
    const count = await this.#within(
      async (channel) => (await channel.checkQueue(names.dead(queue))).messageCount,
    );
    if (count === dead.size && litter.size === 0) return;
    await this.sweep(queue);
  }

  /** Looks through a queue's dead letters; one look at a time. */
  async sweep(queue: string): Promise<void> {
    const running = this.#running.get(queue);
    if (running !== undefined) await running.catch(() => {});
    const mine = this.#running.get(queue) ?? this.#start(queue);
    await mine;
  }

  #start(queue: string): Promise<void> {
    const made = this.#within((channel) => this.#sweep(channel, queue)).finally(() =>
      this.#running.delete(queue),
    );
    this.#running.set(queue, made);
    return made;
  }

  async #sweep(channel: AmqpChannel, queue: string): Promise<void> {
    const { names, ledger, timeoutMs } = this.#options;
    const dug: string[] = [];
    for (let seen = 0; seen < WINDOW; seen += 1) {
      const message = await channel.get(names.dead(queue), {});
      if (message === false) break;
      const { id } = readOffer(message, 1);
      if (await this.#isNeeded(queue, message)) continue;
      channel.ack(message);
      dug.push(id);
    }
    if (dug.length > 0) await ledger.run({ op: 'dug', queue, ids: dug }, timeoutMs);
  }

  async #isNeeded(queue: string, message: AmqpMessage): Promise<boolean> {
    const { ledger, timeoutMs } = this.#options;
    const offer = readOffer(message, priorityOf(message));
    const { litter } = ledger.ledger.tables.queue(queue);
    if ((litter.get(offer.id) ?? -1) >= offer.generation) return false;
    const record = ledger.ledger.tables.records.get(offer.id);
    if (record?.state === 'dead') return record.generation === offer.generation;
    if (record !== undefined && offer.generation < record.generation) return false;
    const error = JSON.stringify({
      name: 'QueueError',
      code: 'STALLED',
      message: 'The broker delivered it too often: its workers died, or the status store forgot it',
      reason: 'STALLED',
    });
    const { count } = await ledger.run({ op: 'bury', queue, offer, error }, timeoutMs);
    return count > 0;
  }

  async #within<T>(work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    try {
      return await this.#attempt(work);
    } catch (cause) {
      if (cause instanceof QueueError) throw cause;
      throw new QueueError('QUEUE_UNAVAILABLE', 'The dead letters of RabbitMQ could not be looked at', {
        cause,
      });
    }
  }

  async #attempt<T>(work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    const { link, clock, timeoutMs } = this.#options;
    const connection = await link.ready(timeoutMs);
    const limit = { clock, ref: false };
    const channel = await withTimeout(connection.createChannel(), timeoutMs, 'opening a channel', limit);
    channel.on('error', () => {});
    try {
      return await withTimeout(
        work(channel),
        Math.max(timeoutMs, 30_000),
        'looking through dead letters',
        limit,
      );
    } finally {
      channel.close().catch(() => {});
    }
  }
}

function priorityOf(message: AmqpMessage): 0 | 1 | 2 {
  try {
    return decodeEnvelope(message.content.toString()).priority;
  } catch {
    return 1;
  }
}
