import type { Background, Clock } from '@xiaoke/core';
import type { PriorityIndex } from '../backend.ts';
import { AckWindow } from './ack-window.ts';
import type { AmqpChannel, AmqpMessage } from './amqp.ts';
import { RecoverableChannel } from './channel.ts';
import type { Offer } from './ledger-commands.ts';
import type { Link } from './link.ts';
import { readOffer, type ReadOffer } from './message.ts';

/** A message in the hands of a session; of no use any more once its channel is gone. */
export interface Delivery {
  readonly offer: ReadOffer;
  readonly tag: number;
  readonly list: ListConsumer;
  /** The channel's, which tells whether the delivery is still ours to acknowledge. */
  readonly window: AckWindow;
}

/** What a list's consumer needs. */
export interface ListConsumerOptions {
  readonly link: Link;
  readonly name: string;
  readonly priority: PriorityIndex;
  readonly prefetch: number;
  readonly clock: Clock;
  readonly background: Background;
  readonly timeoutMs: number;
  /** Makes sure that the list is there. */
  readonly ensure: () => Promise<void>;
  /** It was deleted under its consumer. */
  readonly deleted: () => void;
  readonly arrived: () => void;
  readonly troubled: (error: unknown) => void;
}

/** How long an answer to returned credit may take before the list counts as empty. */
const PATIENCE = 10;
const FIRST_PATIENCE = 150;
const LONGEST_HOLD = 1_000;
const SET_UP_WITHIN = 500;

/** Consumes one priority of one queue: a buffer of what was delivered, and the acknowledgements of what is done. */
export class ListConsumer {
  readonly priority: PriorityIndex;
  readonly #options: ListConsumerOptions;
  readonly #channel: RecoverableChannel;
  #buffer: Delivery[] = [];
  #head = 0;
  /** Deliveries that are here a moment before their time, the soonest first. */
  #early: Delivery[] = [];
  #window = new AckWindow();
  /** The broker had more than it was allowed to deliver, and may answer to credit until then, on the monotonic clock. */
  #moreUntil = -Infinity;
  #expected: number | undefined;
  #probing = false;
  #paused = false;
  #prefetch: number;
  #tag: string | undefined;

  constructor(options: ListConsumerOptions) {
    this.#options = options;
    this.priority = options.priority;
    this.#prefetch = options.prefetch;
    const { link, clock, background, timeoutMs, troubled } = options;
    this.#reset();
    this.#channel = new RecoverableChannel({
      link,
      clock,
      background,
      timeoutMs,
      troubled,
      confirms: false,
      setup: (channel) => this.#setUp(channel),
      down: () => this.#reset(),
    });
  }

  get size(): number {
    this.#promote();
    return this.#buffer.length - this.#head;
  }

  /**
   * Whether something may arrive at any moment, so that it is worth a short wait. After credit was returned nobody says that
   * a list is empty, so silence is followed by a question.
   */
  get mayHaveMore(): boolean {
    const { clock } = this.#options;
    const { outstanding } = this.#window;
    if (this.#paused) return false;
    if (this.#expected !== undefined) {
      if (outstanding < this.#expected && clock.monotonic() < this.#moreUntil) return true;
      this.#expected = undefined;
    }
    if (outstanding >= this.#prefetch || this.#moreUntil === -Infinity) return false;
    if (clock.monotonic() < this.#moreUntil) return true;
    this.#probe();
    return this.#probing;
  }

  /** Takes the first delivery that `fits`. */
  take(fits: (offer: Offer) => boolean): Delivery | undefined {
    this.#promote();
    for (let at = this.#head; at < this.#buffer.length; at += 1) {
      const delivery = this.#buffer[at];
      if (delivery === undefined || !fits(delivery.offer)) continue;
      if (at === this.#head) this.#head += 1;
      else this.#buffer.splice(at, 1);
      if (this.#head > 256 && this.#head * 2 > this.#buffer.length) {
        this.#buffer = this.#buffer.slice(this.#head);
        this.#head = 0;
      }
      return delivery;
    }
    return undefined;
  }

  /** When the next delivery is due that is here too early. */
  get nextDueAt(): number | undefined {
    return this.#early[0]?.offer.dueAt;
  }

  /** Whether there is a delivery that `fits`. */
  has(fits: (offer: Offer) => boolean): boolean {
    this.#promote();
    for (let at = this.#head; at < this.#buffer.length; at += 1) {
      const delivery = this.#buffer[at];
      if (delivery !== undefined && fits(delivery.offer)) return true;
    }
    return false;
  }

  /** Puts deliveries that could not be used back where they were, in their order. */
  putBack(deliveries: readonly Delivery[]): void {
    const own = deliveries.filter(({ window }) => window === this.#window);
    if (own.length > 0) {
      this.#buffer = [...own, ...this.#buffer.slice(this.#head)];
      this.#head = 0;
    }
  }

  /** The delivery needs no message any more. Sent with the next {@link flush}. */
  done(delivery: Delivery): void {
    if (delivery.window === this.#window) this.#window.done(delivery.tag);
  }

  /** Gives a delivery back to the broker. */
  giveBack(delivery: Delivery): void {
    const channel = this.#channel.current;
    if (channel === undefined || delivery.window !== this.#window) return;
    try {
      channel.nack({ fields: { deliveryTag: delivery.tag } }, false, true);
      this.#window.returned(delivery.tag);
    } catch {
      // The channel is closing, which gives everything back.
    }
  }

  flush(): void {
    const channel = this.#channel.current;
    if (channel === undefined) return;
    const full = this.#window.outstanding >= this.#prefetch;
    try {
      const acked = this.#window.flush(channel);
      if (acked > 0 && (full || this.#moreUntil === Infinity))
        this.#moreUntil = this.#options.clock.monotonic() + PATIENCE;
    } catch {
      // The channel is closed; what was done is recognised when it comes again.
    }
  }

  /** A paused list takes no deliveries, and holds none but those that run. */
  set paused(paused: boolean) {
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#options.background.run(() => this.#applyPause(), 'pause or resume a list');
  }

  /** How many deliveries it may hold. */
  set prefetch(prefetch: number) {
    if (prefetch === this.#prefetch) return;
    this.#prefetch = prefetch;
    this.#options.background.run(() => this.#applyPrefetch(), 'change how much a list delivers');
  }

  async close(timeoutMs: number): Promise<void> {
    this.#reset();
    await this.#channel.close(timeoutMs);
  }

  async #setUp(channel: AmqpChannel): Promise<void> {
    const { ensure, name, clock } = this.#options;
    const prefetch = this.#prefetch;
    this.#reset();
    await ensure();
    await channel.prefetch(prefetch);
    const { messageCount } = await channel.checkQueue(name);
    this.#expected = Math.min(messageCount, prefetch);
    this.#moreUntil = this.#expected === 0 ? -Infinity : clock.monotonic() + FIRST_PATIENCE;
    if (!this.#paused) await this.#consume(channel);
  }

  async #consume(channel: AmqpChannel): Promise<void> {
    const window = this.#window;
    const { consumerTag } = await channel.consume(this.#options.name, (message) => {
      if (message === null) this.#cancelled();
      else if (window === this.#window) this.#deliver(message, window);
    });
    this.#tag = consumerTag;
  }

  /**
   * Gives back what nobody runs and asks for no more, or begins again. Held messages would run into the broker's limit of time,
   * and each time they come again count as if a worker had died of them.
   */
  async #applyPause(): Promise<void> {
    const channel = this.#channel.current;
    if (channel === undefined) return;
    try {
      if (!this.#paused) {
        if (this.#tag === undefined) await this.#consume(channel);
        return;
      }
      const tag = this.#tag;
      this.#tag = undefined;
      if (tag !== undefined) await channel.cancel(tag);
      if (!this.#paused) await this.#consume(channel);
      else for (const delivery of this.#unused()) this.giveBack(delivery);
    } catch {
      // The channel is gone, and the next one begins as it should.
    }
  }

  /** The broker applies it to consumers that come after it. What was delivered stays here. */
  async #applyPrefetch(): Promise<void> {
    const channel = this.#channel.current;
    if (channel === undefined) return;
    try {
      await channel.prefetch(this.#prefetch);
      const tag = this.#tag;
      if (tag === undefined) return;
      this.#tag = undefined;
      await channel.cancel(tag);
      this.#moreUntil = this.#options.clock.monotonic() + SET_UP_WITHIN;
      if (!this.#paused && this.#tag === undefined) await this.#consume(channel);
    } catch {
      // The channel is gone, and the next one begins as it should.
    }
  }

  #unused(): Delivery[] {
    const unused = [...this.#buffer.slice(this.#head), ...this.#early];
    this.#buffer = [];
    this.#early = [];
    this.#head = 0;
    return unused;
  }

  #deliver(message: AmqpMessage, window: AckWindow): void {
    const tag = message.fields.deliveryTag;
    window.delivered(tag);
    this.#count(window.outstanding);
    const offer = readOffer(message, this.priority);
    const delivery = { offer, tag, list: this, window };
    const earlyBy = offer.dueAt === 0 ? 0 : offer.dueAt - this.#options.clock.now();
    // One that is much too early was delayed for longer than the tiers reach: the ledger sends it round again.
    if (earlyBy <= 0 || earlyBy > LONGEST_HOLD) this.#buffer.push(delivery);
    else {
      const at = this.#early.findIndex((other) => other.offer.dueAt > offer.dueAt);
      this.#early.splice(at < 0 ? this.#early.length : at, 0, delivery);
    }
    this.#options.arrived();
  }

  #count(outstanding: number): void {
    if (outstanding >= this.#prefetch) {
      this.#expected = undefined;
      this.#moreUntil = Infinity;
    } else if (this.#expected !== undefined && outstanding >= this.#expected) {
      this.#expected = undefined;
      this.#moreUntil = -Infinity;
    }
  }

  #probe(): void {
    const channel = this.#channel.current;
    if (this.#probing) return;
    if (channel === undefined) {
      this.#moreUntil = -Infinity;
      return;
    }
    this.#probing = true;
    const { background, clock, name } = this.#options;
    background.run(async () => {
      let more = false;
      try {
        const { messageCount } = await channel.checkQueue(name);
        more = messageCount > 0;
      } catch {
        // The channel is gone, and its successor asks for itself.
      }
      this.#probing = false;
      if (this.#moreUntil !== Infinity && channel === this.#channel.current)
        this.#moreUntil = more ? clock.monotonic() + PATIENCE : -Infinity;
      this.#options.arrived();
    }, 'look whether a list is empty');
  }

  #promote(): void {
    if (this.#early.length === 0) return;
    const now = this.#options.clock.now();
    while ((this.#early[0]?.offer.dueAt ?? Infinity) <= now) this.#buffer.push(...this.#early.splice(0, 1));
  }

  /** The broker ended the consumer: its queue was deleted, or moved to another node. */
  #cancelled(): void {
    this.#options.deleted();
    this.#channel.renew(new Error('the consumer was cancelled by the broker'));
  }

  #reset(): void {
    this.#window = new AckWindow();
    this.#buffer = [];
    this.#early = [];
    this.#head = 0;
    this.#tag = undefined;
    this.#expected = undefined;
    // A consumer that is being set up may be about to get something.
    this.#moreUntil = this.#options.clock.monotonic() + SET_UP_WITHIN;
  }
}
