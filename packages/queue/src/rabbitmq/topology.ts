import { withTimeout, type Clock } from '@xiaoke/core';
import type { PriorityIndex } from '../backend.ts';
import type { AmqpChannel, AmqpConnection } from './amqp.ts';
import type { Link } from './link.ts';
import { delayNames, type Names } from './names.ts';

/** What the topology is made with. */
export interface TopologyOptions {
  readonly link: Link;
  readonly names: Names;
  readonly clock: Clock;
  readonly deliveryLimit: number;
  readonly delayedExchange: boolean;
  readonly timeoutMs: number;
  /** A list that this namespace may have used was not there. */
  readonly missing: (queue: string, priority: PriorityIndex) => void;
}

/** The unit of the delay tiers: delays are rounded up to it. */
export const DELAY_UNIT = 100;
/** How many tiers there are at most: 2^28 units, 310 days. */
export const DELAY_LEVELS = 28;

const PRIORITIES: readonly PriorityIndex[] = [0, 1, 2];

/**
 * Declares what messages need: three lists and a place for dead letters per queue, and the tiers that delay them. Every
 * declaration is repeated on each new connection, because a broker can come back without what it was told last.
 */
export class Topology {
  readonly #options: TopologyOptions;
  #connection: AmqpConnection | undefined;
  #queues = new Map<string, Promise<void>>();
  readonly #declared = new Set<string>();
  #targets = new Map<string, Promise<void>>();
  #delays: Promise<void> = Promise.resolve();
  #level = -1;

  constructor(options: TopologyOptions) {
    this.#options = options;
  }

  /** Forgets that a queue was declared: it has been deleted. */
  forget(queue: string): void {
    this.#queues.delete(queue);
    this.#declared.delete(queue);
    this.#targets.clear();
  }

  /** What was declared is declared anew; something of it was not there. */
  forgetAll(): void {
    this.#connection = undefined;
    this.#declared.clear();
  }

  /** Whether a queue is known to be there, on the connection that stands. */
  has(queue: string): boolean {
    return this.#declared.has(queue) && this.#connection === this.#options.link.connection;
  }

  /** The lists of a queue, and where its dead letters go. */
  async ensureQueue(queue: string): Promise<void> {
    const connection = await this.#connect();
    await once(this.#queues, queue, async () => {
      await this.#declareQueue(connection, queue);
      if (this.#connection === connection) this.#declared.add(queue);
    });
  }

  /** The way of a message that is delayed to `target`, from the tier `level` downwards. */
  async ensureDelay(target: string, level: number): Promise<void> {
    const connection = await this.#connect();
    if (level > this.#level) {
      const from = this.#level + 1;
      this.#level = level;
      this.#delays = this.#delays.then(() => this.#declareTiers(connection, from, level));
      this.#delays.catch(() => {
        this.#level = -1;
        this.#delays = Promise.resolve();
      });
    }
    await this.#delays;
    await once(this.#targets, target, () =>
      this.#within(connection, async (channel) => {
        const { delayedExchange } = this.#options;
        if (delayedExchange) await channel.bindQueue(target, delayNames.plugin, target);
        else await channel.bindQueue(target, delayNames.out, `${'*.'.repeat(DELAY_LEVELS)}${target}`);
      }),
    );
  }

  async #connect(): Promise<AmqpConnection> {
    const { link, timeoutMs } = this.#options;
    const connection = link.connection ?? (await link.ready(timeoutMs));
    if (this.#connection === connection) return connection;
    this.#connection = connection;
    this.#declared.clear();
    this.#queues = new Map();
    this.#targets = new Map();
    this.#delays = Promise.resolve();
    this.#level = -1;
    return connection;
  }

  async #declareQueue(connection: AmqpConnection, queue: string): Promise<void> {
    const { names, deliveryLimit, missing } = this.#options;
    const absent: PriorityIndex[] = [];
    for (const priority of PRIORITIES)
      if (!(await this.#exists(connection, names.list(queue, priority)))) absent.push(priority);
    const dead = names.dead(queue);
    await this.#within(connection, async (channel) => {
      // From 4.0 on a limit is the default, and looking at a dead letter counts against it.
      const unlimited = majorVersion(connection) >= 4 ? { 'x-delivery-limit': -1 } : {};
      await channel.assertQueue(dead, quorum(unlimited));
      for (const priority of PRIORITIES) {
        await channel.assertQueue(
          names.list(queue, priority),
          quorum({
            'x-delivery-limit': deliveryLimit,
            'x-dead-letter-exchange': '',
            'x-dead-letter-routing-key': dead,
            'x-dead-letter-strategy': 'at-least-once',
            'x-overflow': 'reject-publish',
          }),
        );
      }
    });
    for (const priority of absent) missing(queue, priority);
  }

  async #declareTiers(connection: AmqpConnection, from: number, to: number): Promise<void> {
    await this.#within(connection, async (channel) => {
      if (this.#options.delayedExchange) {
        await channel.assertExchange(delayNames.plugin, 'x-delayed-message', {
          durable: true,
          arguments: { 'x-delayed-type': 'direct' },
        });
        return;
      }
      if (from === 0) await channel.assertExchange(delayNames.out, 'topic', { durable: true });
      for (let level = from; level <= to; level += 1) await declareTier(channel, level);
    });
  }

  async #exists(connection: AmqpConnection, name: string): Promise<boolean> {
    try {
      await this.#within(connection, (channel) => channel.checkQueue(name));
      return true;
    } catch (error) {
      if (Reflect.get(Object(error), 'code') === 404) return false;
      throw error;
    }
  }

  // A declaration that is refused costs its channel, so none that anybody else uses is taken.
  async #within<T>(connection: AmqpConnection, work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    const { clock, timeoutMs } = this.#options;
    const limit = { clock, ref: false };
    const channel = await withTimeout(connection.createChannel(), timeoutMs, 'opening a channel', limit);
    channel.on('error', () => {});
    try {
      return await withTimeout(work(channel), timeoutMs, 'declaring', limit);
    } finally {
      channel.close().catch(() => {});
    }
  }
}

/** The words of a delay: its bits from the highest tier to the lowest. */
export function delayKey(ticks: number, target: string): string {
  return `${ticks.toString(2).padStart(DELAY_LEVELS, '0').split('').join('.')}.${target}`;
}

/** Arguments of a replicated queue. */
export function quorum(more: Readonly<Record<string, unknown>>): {
  durable: true;
  arguments: Record<string, unknown>;
} {
  return { durable: true, arguments: { 'x-queue-type': 'quorum', ...more } };
}

/** The major version that the broker says it has. */
export function majorVersion(connection: AmqpConnection): number {
  return brokerVersion(connection)[0];
}

/** Major and minor version. Features are told by these: a broker may accept a declaration and ignore half of it. */
export function brokerVersion(connection: AmqpConnection): readonly [major: number, minor: number] {
  const [, major = '0', minor = '0'] =
    /^(\d+)\.(\d+)/.exec(String(connection.connection.serverProperties['version'])) ?? [];
  return [Number(major), Number(minor)];
}

/**
 * A tier keeps a message for `2^level` units, or lets it pass to the next one, as the bit of the routing key says. Times of
 * live are per queue, so nothing waits behind something slower, and a message that moves on is kept until it has arrived.
 */
async function declareTier(channel: AmqpChannel, level: number): Promise<void> {
  const next = level === 0 ? delayNames.out : delayNames.exchange(level - 1);
  const skipped = '*.'.repeat(DELAY_LEVELS - 1 - level);
  await channel.assertExchange(delayNames.exchange(level), 'topic', { durable: true });
  await channel.assertQueue(
    delayNames.queue(level),
    quorum({
      'x-message-ttl': DELAY_UNIT * 2 ** level,
      'x-dead-letter-exchange': next,
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
    }),
  );
  await channel.bindQueue(delayNames.queue(level), delayNames.exchange(level), `${skipped}1.#`);
  await channel.bindExchange(next, delayNames.exchange(level), `${skipped}0.#`);
}

function once(done: Map<string, Promise<void>>, key: string, work: () => Promise<void>): Promise<void> {
  const known = done.get(key);
  if (known !== undefined) return known;
  const made = work();
  done.set(key, made);
  made.catch(() => {
    if (done.get(key) === made) done.delete(key);
  });
  return made;
}
