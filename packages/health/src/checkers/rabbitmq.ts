import { abortable, InvalidOptionError } from '@xiaoke/core';
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
  #own: OwnConnection | undefined;
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
    if (typeof target === 'string') return;
    target.on('blocked', () => void (this.#blocked = true));
    target.on('unblocked', () => void (this.#blocked = false));
  }

  async check({ signal, timeoutMs, phase }: CheckContext): Promise<CheckOutcome> {
    if (typeof this.#target !== 'string') return await this.#look(this.#target, phase);
    if (this.#own === undefined || this.#own.ended) this.#own = new OwnConnection(this.#target, timeoutMs);
    const own = this.#own;
    const cut = (): void => this.#drop();
    signal.addEventListener('abort', cut, { once: true });
    try {
      phase('connect');
      const connection = await abortable(own.connecting, signal);
      // The connection is cut at the deadline, and with it all that waits on it.
      return await abortable(
        this.#look(connection, phase, () => own.blocked),
        signal,
      );
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

  async #look(
    connection: AmqpConnectionLike,
    phase: CheckContext['phase'],
    blocked: () => boolean = () => this.#blocked,
  ): Promise<CheckOutcome> {
    phase('channel');
    try {
      const channel = await connection.createChannel();
      channel.on('error', () => {});
      await channel.close();
      return blocked() ? { status: 'degraded', code: 'ALARM' } : { status: 'healthy' };
    } catch (error) {
      if (typeof this.#target === 'string') throw error;
      return driverFailure(error, AUTH);
    }
  }

  #drop(): void {
    this.#own?.cut();
    this.#own = undefined;
  }
}

/** A connection of the check's own. amqplib cannot cancel, so its socket is cut, at whatever stage. */
class OwnConnection {
  readonly connecting: Promise<AmqpConnectionLike>;
  blocked = false;
  readonly #cutting = new AbortController();

  constructor(url: string, timeoutMs: number) {
    this.connecting = this.#connect(url, timeoutMs);
    // Whoever waits is told; nobody may be waiting any more.
    this.connecting.catch(() => {});
  }

  get ended(): boolean {
    return this.#cutting.signal.aborted;
  }

  cut(): void {
    this.#cutting.abort();
  }

  async #connect(url: string, timeoutMs: number): Promise<AmqpConnectionLike> {
    const amqplib = await import('amqplib');
    const { signal } = this.#cutting;
    // Passed on to net.connect(), which destroys the socket when the signal fires.
    const socketOptions = { signal, timeout: timeoutMs };
    const made = (await amqplib.connect(url, socketOptions)) as unknown as AmqpConnectionLike;
    made.on('error', () => {});
    made.on('close', () => this.cut());
    made.on('blocked', () => void (this.blocked = true));
    made.on('unblocked', () => void (this.blocked = false));
    return made;
  }
}
