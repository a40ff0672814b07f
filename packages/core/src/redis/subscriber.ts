import { Background } from '../background.ts';
import { systemClock, type Clock, type Timer } from '../clock.ts';
import { silentLogger, type Logger } from '../logger.ts';
import { withTimeout } from '../wait.ts';
import { renewConnection, type RedisConnection } from './connection.ts';
import type { RedisLike } from './redis-like.ts';

/** Receives the messages of one channel. */
export type MessageListener = (message: string, channel: string) => void;

/** How a subscriber notices trouble. */
export interface SubscriberOptions {
  /**
   * Called after the subscriptions stand again following a lost connection: messages may have been missed in between, so
   * whoever relies on them has to look at the truth now.
   */
  readonly onGap?: () => void;
  /** How often the connection is probed, in milliseconds; a probe that stays unanswered as long again cuts it. @default 5000 */
  readonly probeEvery?: number;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock;
}

/**
 * A subscription connection that comes back by itself and says when messages may have been missed. Pub/sub promises
 * nothing, so it is a hint everywhere in the suite, never the truth.
 */
export class RedisSubscriber {
  readonly #client: RedisLike;
  readonly #listeners = new Map<string, Set<MessageListener>>();
  readonly #options: SubscriberOptions;
  readonly #background: Background;
  readonly #probe: Timer;
  readonly #probeEvery: number;
  #everReady = false;
  #closed = false;

  constructor(connection: RedisConnection, options: SubscriberOptions = {}) {
    this.#options = options;
    this.#background = new Background({ logger: options.logger ?? silentLogger });
    this.#probeEvery = options.probeEvery ?? 5_000;
    this.#client = connection.duplicate({
      // We subscribe again ourselves, to know when it is done.
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: null,
      enableOfflineQueue: false,
      enableReadyCheck: true,
      lazyConnect: true,
      // A server that froze also accepts connections: without this, the first question on a new one would wait for ever.
      socketTimeout: this.#probeEvery,
    });
    this.#client.on('ready', () => this.#background.run(() => this.#onReady(), 'subscribe again'));
    this.#client.on('message', (channel, message) => this.#deliver(String(channel), String(message)));
    this.#probe = (options.clock ?? systemClock)
      .setInterval(
        () => this.#background.run(() => this.#check(), 'probe the subscription connection'),
        this.#probeEvery,
      )
      .unref();
  }

  /**
   * Listens to `channel`. Resolves when the server has confirmed it, or, with the server away, rejects; the listener stays
   * and is subscribed once the server is back.
   */
  async subscribe(channel: string, listener: MessageListener): Promise<() => Promise<void>> {
    const existing = this.#listeners.get(channel);
    const listeners = existing ?? new Set();
    listeners.add(listener);
    this.#listeners.set(channel, listeners);
    const unsubscribe = (): Promise<void> => this.#unsubscribe(channel, listener);
    if (this.#client.status === 'wait') await this.#client.connect();
    if (existing === undefined || existing.size === 1) await this.#client.subscribe(channel);
    return unsubscribe;
  }

  /** Ends the connection. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#probe.cancel();
    this.#listeners.clear();
    this.#client.disconnect();
  }

  async #unsubscribe(channel: string, listener: MessageListener): Promise<void> {
    const listeners = this.#listeners.get(channel);
    listeners?.delete(listener);
    if (listeners === undefined || listeners.size > 0) return;
    this.#listeners.delete(channel);
    if (this.#client.status === 'ready') await this.#client.unsubscribe(channel);
  }

  #deliver(channel: string, message: string): void {
    for (const listener of this.#listeners.get(channel) ?? []) {
      try {
        listener(message, channel);
      } catch (error) {
        (this.#options.logger ?? silentLogger).error({ err: error, channel }, 'a message listener failed');
      }
    }
  }

  async #onReady(): Promise<void> {
    if (this.#closed) return;
    const again = this.#everReady;
    this.#everReady = true;
    const channels = [...this.#listeners.keys()];
    if (channels.length > 0) await this.#client.subscribe(...channels);
    if (again) this.#options.onGap?.();
  }

  // A half-open connection looks healthy and delivers nothing: only an answer proves that it lives.
  async #check(): Promise<void> {
    if (this.#client.status !== 'ready' || this.#listeners.size === 0) return;
    try {
      await withTimeout(this.#client.call('PING'), this.#probeEvery, 'PING', { ref: false });
    } catch {
      if (!this.#closed) renewConnection(this.#client);
    }
  }
}
