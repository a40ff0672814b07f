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
 * Looks at RabbitMQ: opens and closes a channel, which is a round trip to the broker and declares nothing. A connection of
 * yours that the broker has blocked (memory or disk alarm) is degraded, code `ALARM`: it takes no messages. A broker only
 * blocks connections that publish, so the check's own is never told.
 */
export class RabbitMqHealthChecker implements HealthChecker {
  readonly name: string;
  readonly kind = 'dependency';
  readonly #target: string | AmqpConnectionLike;
  #own: OwnConnection | undefined;
  readonly #blocking = new Blocking();

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
    if (typeof target !== 'string') this.#blocking.follow(target);
  }

  async check({ signal, timeoutMs, phase }: CheckContext): Promise<CheckOutcome> {
    if (typeof this.#target !== 'string') return await this.#lookAtYours(this.#target, phase);
    if (this.#own === undefined || this.#own.ended) this.#own = new OwnConnection(this.#target, timeoutMs);
    const own = this.#own;
    const cut = (): void => this.#drop();
    signal.addEventListener('abort', cut, { once: true });
    try {
      phase('connect');
      const connection = await abortable(own.connecting, signal);
      // The connection is cut at the deadline, and with it all that waits on it.
      return await abortable(this.#look(connection, own.blocking, phase), signal);
    } catch (error) {
      this.#drop();
      return isMissingModule(error) ? DRIVER_MISSING : driverFailure(error, AUTH);
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }

  async #lookAtYours(connection: AmqpConnectionLike, phase: CheckContext['phase']): Promise<CheckOutcome> {
    try {
      return await this.#look(connection, this.#blocking, phase);
    } catch (error) {
      return driverFailure(error, AUTH);
    }
  }

  async close(): Promise<void> {
    this.#drop();
  }

  async #look(
    connection: AmqpConnectionLike,
    blocking: Blocking,
    phase: CheckContext['phase'],
  ): Promise<CheckOutcome> {
    phase('channel');
    // A broker that blocks a connection does not read from it either: there would be no answer to wait for.
    return (await blocking.orOutcomeOf(() => roundTrip(connection))) ?? ALARM;
  }

  #drop(): void {
    this.#own?.cut();
    this.#own = undefined;
  }
}

const ALARM: CheckOutcome = Object.freeze({ status: 'degraded', code: 'ALARM' });

/** Opens a channel and closes it, which declares nothing. */
async function roundTrip(connection: AmqpConnectionLike): Promise<CheckOutcome> {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  await channel.close();
  return { status: 'healthy' };
}

/** Whether the broker has blocked a connection, for want of memory or disk. */
class Blocking {
  readonly #waiting = new Set<() => void>();
  #blocked = false;

  follow(connection: AmqpConnectionLike): void {
    connection.on('blocked', () => {
      this.#blocked = true;
      for (const tell of this.#waiting) tell();
    });
    connection.on('unblocked', () => void (this.#blocked = false));
  }

  /** What `work` comes to, or `undefined` as soon as the connection is blocked. */
  async orOutcomeOf(work: () => Promise<CheckOutcome>): Promise<CheckOutcome | undefined> {
    if (this.#blocked) return undefined;
    let tell = (): void => {};
    const blocked = new Promise<undefined>((resolve) => {
      tell = () => resolve(undefined);
    });
    this.#waiting.add(tell);
    try {
      const working = work();
      // Given up below, it may still fail.
      working.catch(() => {});
      return await Promise.race([working, blocked]);
    } finally {
      this.#waiting.delete(tell);
    }
  }
}

/** A connection of the check's own. amqplib cannot cancel, so its socket is cut, at whatever stage. */
class OwnConnection {
  readonly connecting: Promise<AmqpConnectionLike>;
  readonly blocking: Blocking = new Blocking();
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
    this.blocking.follow(made);
    return made;
  }
}
