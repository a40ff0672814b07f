import { withTimeout, type Background, type Clock, type Timer } from '@xiaoke/core';
import type { AmqpChannel, AmqpMessage } from './amqp.ts';
import { RecoverableChannel } from './channel.ts';
import type { LedgerLog, LogReader, LogSnapshot } from './ledger-log.ts';
import type { Link } from './link.ts';

/** What a log in RabbitMQ streams needs. */
export interface StreamLogOptions {
  /** Where entries are published: apart from where they are read, so that a broker that takes none still delivers. */
  readonly publishing: Link;
  readonly consuming: Link;
  readonly name: string;
  readonly snapshots: string;
  readonly clock: Clock;
  readonly background: Background;
  readonly timeoutMs: number;
  readonly troubled: (error: unknown) => void;
}

const PREFETCH = 1_000;
const ACK_EVERY = 250;
/** Segments are dropped in whole; snapshots come long before that. */
const MAX_BYTES = 2_000_000_000;
const SNAPSHOT_WAIT = 2_000;
const SILENCE = 100;
const SETTLED_WITHIN = 10_000;

/** A log in a RabbitMQ stream, with its snapshots in another one. */
export class StreamLog implements LedgerLog {
  readonly #options: StreamLogOptions;
  #reader: LogReader | undefined;
  /** Of the entry at the reader's place: what tells one stream from another. */
  #lastText: string | undefined;
  #patient = false;
  #appending: RecoverableChannel | undefined;
  #reading: RecoverableChannel | undefined;

  constructor(options: StreamLogOptions) {
    this.#options = options;
  }

  start(reader: LogReader): void {
    if (this.#reader !== undefined) return;
    this.#reader = reader;
    const { publishing, consuming, clock, background, timeoutMs, troubled } = this.#options;
    const shared = { clock, background, timeoutMs: Math.max(timeoutMs, 10_000), troubled };
    this.#reading = new RecoverableChannel({
      ...shared,
      link: consuming,
      confirms: false,
      setup: (channel) => this.#attach(channel),
      down: () => {},
    });
    this.#appending = new RecoverableChannel({
      ...shared,
      link: publishing,
      confirms: false,
      setup: async (channel) => {
        // Two declarations of a stream at once can leave it half made: only the channel that reads it declares it.
        await this.#reading?.ready(SETTLED_WITHIN);
        channel.on('return', () => this.#reading?.renew(new Error('the ledger is gone')));
        // Once this set-up is over the channel is current, and can take what is sent again.
        setImmediate(() => reader.connected());
      },
      down: () => {},
    });
    publishing.start();
    consuming.start();
  }

  append(text: string): void {
    const channel = this.#appending?.current;
    if (channel === undefined) return;
    try {
      channel.publish('', this.#options.name, Buffer.from(text), { persistent: true, mandatory: true });
    } catch {
      // The channel was closed under our hands; all that was not read back is sent again on the next one.
    }
  }

  async keep({ position, text }: LogSnapshot): Promise<void> {
    const channel = await this.#appending?.ready(this.#options.timeoutMs);
    await declareStream(channel, this.#options.snapshots);
    channel?.publish('', this.#options.snapshots, Buffer.from(text), {
      persistent: true,
      headers: { position },
    });
  }

  async close(timeoutMs: number): Promise<void> {
    await Promise.all([this.#appending?.close(timeoutMs), this.#reading?.close(timeoutMs)]);
  }

  async #attach(channel: AmqpChannel): Promise<void> {
    const reader = this.#reader;
    if (reader === undefined) return;
    await declareStream(channel, this.#options.name);
    await declareStream(channel, this.#options.snapshots);
    await channel.prefetch(PREFETCH);
    const snapshot = await this.#lastSnapshot(channel);
    if (snapshot !== undefined && snapshot.position > reader.position()) reader.restore(snapshot);
    if (await this.#goOn(channel, reader)) return;
    // Another stream than the one we know, or one that begins after the place where we were.
    this.#lastText = undefined;
    reader.emptied();
    await this.#read(channel, 'first', (position, text) => this.#entry(reader, position, text));
  }

  /**
   * Goes on after the last entry that was read, and begins with that entry to see that it is the same stream: a broker can
   * come back without what it was told last, and would wait for our place in a stream that it began anew.
   */
  async #goOn(channel: AmqpChannel, reader: LogReader): Promise<boolean> {
    const place = reader.position();
    if (place < 0 || this.#lastText === undefined) {
      await this.#read(channel, Math.max(0, place + 1) || 'first', (position, text) =>
        this.#entry(reader, position, text),
      );
      return true;
    }
    let settle = (_same: boolean): void => {};
    const same = new Promise<boolean>((resolve) => (settle = resolve));
    let verdict: boolean | undefined;
    const tag = await this.#read(channel, place, (position, text) => {
      if (verdict === undefined) {
        verdict = position === place && text === this.#lastText;
        settle(verdict);
      }
      if (verdict) this.#entry(reader, position, text);
    });
    const { clock } = this.#options;
    const timer = clock.setTimeout(() => settle(false), SNAPSHOT_WAIT);
    const isSame = await same;
    timer.cancel();
    verdict ??= isSame;
    if (!isSame) await channel.cancel(tag);
    return isSame;
  }

  #entry(reader: LogReader, position: number, text: string): void {
    if (position > 0 && reader.position() < -1 && !this.#patient) {
      // What came before is gone, so there is a snapshot that we did not wait for long enough.
      this.#patient = true;
      this.#reading?.renew(new Error('the ledger begins with a snapshot'));
      return;
    }
    this.#lastText = text;
    reader.entry({ position, text });
  }

  async #read(
    channel: AmqpChannel,
    from: number | 'first',
    entry: (position: number, text: string) => void,
  ): Promise<string> {
    let unacked = 0;
    const { consumerTag } = await channel.consume(
      this.#options.name,
      (message) => {
        if (message === null) {
          this.#reading?.renew(new Error('the ledger was deleted'));
          return;
        }
        entry(offsetOf(message), message.content.toString());
        unacked += 1;
        // Acknowledging a stream only asks for more of it.
        if (unacked < ACK_EVERY) return;
        unacked = 0;
        channel.ack(message, true);
      },
      { arguments: { 'x-stream-offset': from } },
    );
    return consumerTag;
  }

  /** The youngest state that was kept; the broker begins with the chunk that it lies in, which can hold older ones. */
  async #lastSnapshot(channel: AmqpChannel): Promise<LogSnapshot | undefined> {
    let last: LogSnapshot | undefined;
    let quiet: Timer | undefined;
    const { clock } = this.#options;
    let finish = (): void => {};
    const done = new Promise<void>((resolve) => (finish = resolve));
    // The count of a stream lags behind, so an empty one is told by its silence.
    const { messageCount } = await channel.checkQueue(this.#options.snapshots);
    const patience = messageCount > 0 || this.#patient ? SNAPSHOT_WAIT : SILENCE;
    const { consumerTag } = await channel.consume(
      this.#options.snapshots,
      (message) => {
        if (message === null) return finish();
        const position = Number(message.properties.headers?.['position'] ?? -1);
        last = { position, text: message.content.toString() };
        channel.ack(message);
        quiet?.cancel();
        quiet = clock.setTimeout(finish, 50);
      },
      { arguments: { 'x-stream-offset': 'last' } },
    );
    await withTimeout(done, patience, 'a snapshot', { clock }).catch(() => {});
    await channel.cancel(consumerTag);
    return last;
  }
}

async function declareStream(channel: AmqpChannel | undefined, name: string): Promise<void> {
  await channel?.assertQueue(name, {
    durable: true,
    arguments: { 'x-queue-type': 'stream', 'x-max-length-bytes': MAX_BYTES },
  });
}

function offsetOf(message: AmqpMessage): number {
  return Number(message.properties.headers?.['x-stream-offset'] ?? -1);
}
