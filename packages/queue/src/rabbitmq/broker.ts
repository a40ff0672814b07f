import { sleep, type Background } from '@xiaoke/core';
import type { PriorityIndex } from '../backend.ts';
import { QueueError } from '../errors.ts';
import type { ResolvedQueueOptions } from '../options.ts';
import type { AmqpConnect, AmqpConnection } from './amqp.ts';
import type { Reply, Ticket } from './ledger-commands.ts';
import { Link } from './link.ts';
import { graveOf, messageOf } from './message.ts';
import { delayNames, Names } from './names.ts';
import { Publisher, type Outgoing } from './publisher.ts';
import { brokerVersion, Topology } from './topology.ts';

/** What the broker is reached with. */
export interface BrokerOptions {
  readonly options: ResolvedQueueOptions;
  readonly connect: AmqpConnect;
  readonly background: Background;
  readonly missing: (queue: string, priority: PriorityIndex) => void;
  /** The broker has the message of this generation. */
  readonly paid: (id: string, generation: number) => void;
}

const DECLARE_AGAIN = 50;

/**
 * The broker: one connection that publishes and one that consumes, because a broker short of memory stops reading from
 * those that publish, and acknowledgements have to go on. The first lets the system gather small packets, which halves what a
 * message costs both sides; the second does not, because answers are waited for.
 */
export class Broker {
  readonly names: Names;
  readonly publishing: Link;
  readonly consuming: Link;
  /** For the ledger's log, each of whose entries somebody waits for; connected only when it is used. */
  readonly logging: Link;
  readonly topology: Topology;
  readonly publisher: Publisher;
  readonly #options: BrokerOptions;
  #repairs = 0;

  constructor(made: BrokerOptions) {
    this.#options = made;
    const { options, background } = made;
    const { clock, logger, enqueueTimeoutMs, maxBuffered, rabbitmqOptions } = options;
    this.names = new Names(options.namespace);
    this.publishing = this.#link('publishing');
    this.consuming = this.#link('consuming');
    this.logging = this.#link('logging');
    const timeoutMs = Math.max(enqueueTimeoutMs, 10_000);
    const troubled = (error: unknown): void => logger.debug({ err: error }, 'a RabbitMQ channel was lost');
    this.topology = new Topology({
      link: this.consuming,
      names: this.names,
      clock,
      deliveryLimit: rabbitmqOptions.deliveryLimit,
      delayedExchange: rabbitmqOptions.delayedExchange,
      timeoutMs,
      missing: made.missing,
    });
    this.publisher = new Publisher({
      link: this.publishing,
      clock,
      background,
      window: rabbitmqOptions.confirmWindow,
      maxBuffered: Math.max(maxBuffered, 1_000),
      silenceMs: Math.max(2 * enqueueTimeoutMs, 5_000),
      timeoutMs,
      troubled,
      confirmed: ({ id, owed }) => {
        if (owed !== undefined) made.paid(id, owed);
      },
      repair: (message) => this.#repair(message),
    });
  }

  /** Connects and looks at what the broker is. @throws QueueError `QUEUE_UNAVAILABLE`, `UNSUPPORTED` */
  async open(timeoutMs: number): Promise<void> {
    this.publishing.start();
    const connection = await this.consuming.ready(timeoutMs);
    const [major, minor] = brokerVersion(connection);
    if (major < 3 || (major === 3 && minor < 10))
      throw new QueueError('UNSUPPORTED', 'RabbitMQ 3.10 or later is needed', {
        details: { version: String(connection.connection.serverProperties['version']) },
      });
    if (this.#options.options.rabbitmqOptions.delayedExchange) await this.#probePlugin();
  }

  /** Publishes what is owed; resolves when all of it is confirmed. */
  deliver(reply: Reply, timeoutMs: number): Promise<void> {
    const { tickets, graves } = reply;
    const [only] = tickets;
    if (only !== undefined && tickets.length + graves.length === 1 && this.topology.has(only.queue))
      return this.#send(only, this.#options.options.clock.now(), timeoutMs);
    return this.#deliverAll(reply, timeoutMs);
  }

  async #deliverAll({ tickets, graves }: Reply, timeoutMs: number): Promise<void> {
    const queues = new Set<string>();
    for (const { queue } of tickets) queues.add(queue);
    for (const { queue } of graves) queues.add(queue);
    for (const queue of queues) await this.ensureQueue(queue, timeoutMs);
    // What is due first also lies first where it arrives, should all of it be due by then; and what is due at one time goes
    // one way, which depends on how long that is from now.
    const now = this.#options.options.clock.now();
    const sent = [...tickets]
      .sort((a, b) => a.dueAt - b.dueAt)
      .map((ticket) => this.#send(ticket, now, timeoutMs));
    for (const grave of graves) sent.push(this.publisher.publish(graveOf(grave, this.names), timeoutMs));
    await Promise.all(sent);
  }

  /** Declares a queue, through outages. @throws QueueError `QUEUE_UNAVAILABLE` */
  ensureQueue(queue: string, timeoutMs: number): Promise<void> {
    return this.#ensure(() => this.topology.ensureQueue(queue), timeoutMs);
  }

  /** Makes the way of delayed messages to a list that was made again. */
  async reconnect(queue: string, priority: PriorityIndex, timeoutMs: number): Promise<void> {
    const target = this.names.list(queue, priority);
    await this.#ensure(() => this.topology.ensureDelay(target, 0), timeoutMs);
  }

  async close(timeoutMs: number): Promise<void> {
    await this.publisher.close(timeoutMs / 2);
    const links = [this.publishing, this.consuming, this.logging];
    await Promise.all(links.map((link) => link.close(timeoutMs)));
  }

  /** Declares through outages, as messages wait through them. */
  async #ensure(declare: () => Promise<void>, timeoutMs: number): Promise<void> {
    const { clock } = this.#options.options;
    const deadline = clock.monotonic() + timeoutMs;
    for (;;) {
      try {
        await declare();
        return;
      } catch (cause) {
        if (clock.monotonic() + DECLARE_AGAIN >= deadline)
          throw new QueueError('QUEUE_UNAVAILABLE', 'RabbitMQ did not declare the queues in time', { cause });
        await sleep(DECLARE_AGAIN, { clock, ref: false });
      }
    }
  }

  #send(ticket: Ticket, now: number, timeoutMs: number): Promise<void> {
    const { rabbitmqOptions } = this.#options.options;
    const message = messageOf(ticket, { names: this.names, now, plugin: rabbitmqOptions.delayedExchange });
    if (message.level < 0) return this.publisher.publish(message, timeoutMs);
    return this.#sendDelayed(message, ticket, timeoutMs);
  }

  async #sendDelayed(
    message: Outgoing & { level: number },
    ticket: Ticket,
    timeoutMs: number,
  ): Promise<void> {
    const target = this.names.list(ticket.queue, ticket.priority);
    await this.#ensure(() => this.topology.ensureDelay(target, message.level), timeoutMs);
    await this.publisher.publish(message, timeoutMs);
  }

  /** Nothing took a message: what was declared is not there any more. Many messages come back for one reason. */
  async #repair({ queue, exchange, routingKey }: Outgoing): Promise<void> {
    if (this.#repairs === 0) this.topology.forgetAll();
    this.#repairs += 1;
    try {
      await this.topology.ensureQueue(queue);
      if (exchange === '') return;
      const target = routingKey.replace(/^(?:[01]\.){28}/, '');
      await this.topology.ensureDelay(target, Number(/\.(\d+)$/.exec(exchange)?.[1] ?? 0));
    } finally {
      this.#repairs -= 1;
    }
  }

  #link(purpose: 'publishing' | 'consuming' | 'logging'): Link {
    const { options, connect, background } = this.#options;
    const { clock, random, logger, namespace, rabbitmq, rabbitmqOptions } = options;
    return new Link({
      connect,
      urls: rabbitmq,
      noDelay: purpose !== 'publishing',
      name: `@xiaoke/queue ${namespace} ${purpose}`,
      heartbeatMs: rabbitmqOptions.heartbeatMs,
      connectTimeoutMs: rabbitmqOptions.connectTimeoutMs,
      clock,
      random,
      logger,
      background,
      troubled: (error) => logger.warn({ err: error, purpose }, 'the connection to RabbitMQ was lost'),
    });
  }

  // An exchange type that a broker does not know costs the connection, so one is made for the question.
  async #probePlugin(): Promise<void> {
    const { options, connect } = this.#options;
    const connection: AmqpConnection = await connect(options.rabbitmq[0] ?? '', {
      timeout: options.rabbitmqOptions.connectTimeoutMs,
    });
    connection.on('error', () => {});
    try {
      const channel = await connection.createChannel();
      channel.on('error', () => {});
      await channel.assertExchange(delayNames.plugin, 'x-delayed-message', {
        durable: true,
        arguments: { 'x-delayed-type': 'direct' },
      });
    } catch (cause) {
      throw new QueueError('UNSUPPORTED', 'This broker lacks the plugin rabbitmq_delayed_message_exchange', {
        cause,
      });
    } finally {
      connection.connection.stream.destroy();
    }
  }
}
