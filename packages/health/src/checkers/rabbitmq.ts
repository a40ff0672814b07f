import { InvalidOptionError } from '@xiaoke/core';
import type { CheckOutcome } from '../check-result.ts';
import type { CheckContext, HealthChecker } from '../checker.ts';
import { isNameBefore } from './naming.ts';
import { DRIVER_MISSING, driverFailure, isMissingModule } from './driver.ts';

/** The part of an amqplib connection that is used. */
export interface AmqpConnectionLike {
  createChannel(): Promise<{
    close(): Promise<void>;
    on(event: 'error', listener: (error: Error) => void): unknown;
  }>;
  close(): Promise<void>;
  on(event: string, listener: (...args: never[]) => void): unknown;
}

const AUTH: ReadonlySet<unknown> = new Set([403, 'ACCESS_REFUSED']);

/**
 * Looks at RabbitMQ: opens and closes a channel, which is a round trip to the broker and declares nothing. A connection that
 * the broker has blocked (memory or disk alarm) is degraded, code `ALARM`: it takes no messages.
 */
export class RabbitMqHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'dependency';
  readonly #target: string | AmqpConnectionLike;
  #own: AmqpConnectionLike | undefined;
  #socket: { destroy(): void } | undefined;
  #blocked = false;

  constructor(target: string | AmqpConnectionLike);
  constructor(name: string, target: string | AmqpConnectionLike);
  constructor(...args: readonly unknown[]) {
    const [name, given] = isNameBefore(args[0], args[1]) ? args : ['rabbitmq', args[0]];
    const target = given as string | AmqpConnectionLike;
    this.name = name as string;
    if (typeof target === 'string' && !/^amqps?:\/\//.test(target)) {
      throw new InvalidOptionError('target', 'must begin with amqp:// or amqps://');
    }
    this.#target = target;
    if (typeof target !== 'string') this.#watch(target);
  }

  async check({ signal, phase }: CheckContext): Promise<CheckOutcome> {
    const cut = (): void => this.#drop();
    signal.addEventListener('abort', cut, { once: true });
    try {
      phase('connect');
      const connection = await this.#connect();
      phase('channel');
      const channel = await connection.createChannel();
      channel.on('error', () => {});
      await channel.close();
      return this.#blocked ? { status: 'degraded', code: 'ALARM' } : { status: 'healthy' };
    } catch (error) {
      this.#drop();
      return isMissingModule(error) ? DRIVER_MISSING : driverFailure(error, AUTH);
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }

  async close(): Promise<void> {
    this.#drop();
  }

  async #connect(): Promise<AmqpConnectionLike> {
    if (typeof this.#target !== 'string') return this.#target;
    if (this.#own !== undefined) return this.#own;
    const amqplib = await import('amqplib');
    const made = (await amqplib.connect(this.#target)) as unknown as AmqpConnectionLike;
    this.#socket = (made as unknown as { connection?: { stream?: { destroy(): void } } }).connection?.stream;
    this.#watch(made);
    this.#own = made;
    return made;
  }

  #watch(connection: AmqpConnectionLike): void {
    connection.on('blocked', () => void (this.#blocked = true));
    connection.on('unblocked', () => void (this.#blocked = false));
    connection.on('close', () => void (this.#own = undefined));
    if (typeof this.#target === 'string') connection.on('error', () => {});
  }

  // amqplib cannot cancel: the socket is cut, which ends everything on it.
  #drop(): void {
    this.#own = undefined;
    this.#blocked = false;
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}
