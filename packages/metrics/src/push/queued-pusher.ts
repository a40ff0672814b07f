import { randomInt } from 'node:crypto';
import {
  Background,
  InvalidOptionError,
  silentLogger,
  systemClock,
  toMilliseconds,
  type Clock,
  type CloseOptions,
  type HealthIndicator,
  type Logger,
  type Timer,
} from '@xiaoke/core';
import type { MetricsCollector } from '../collector.ts';
import { MetricsError } from '../errors.ts';
import { post } from './post.ts';
import type { BufferedPushOptions, Payload, Pusher, PushStats, PushTarget, Verdict } from './pusher.ts';

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;

/** Sends what a target collects, in order and one request at a time, and keeps what could not be sent. */
export class QueuedPusher implements Pusher {
  readonly #target: PushTarget;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #timeout: number;
  readonly #limit: number;
  readonly #background: Background;
  readonly #closing = new AbortController();
  readonly #outcomes;
  readonly #interval: Timer | undefined;
  readonly #queue: Payload[] = [];
  #bytes = 0;
  #retry: Timer | undefined;
  #sending: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #failures = 0;
  #stats = { sent: 0, failed: 0, dropped: 0 };

  constructor(collector: MetricsCollector, target: PushTarget, options: BufferedPushOptions) {
    const { clock = systemClock, logger = silentLogger, maxBufferBytes = 16 * 2 ** 20 } = options;
    if (!(maxBufferBytes >= 1)) throw new InvalidOptionError('maxBufferBytes', 'must be a number of bytes');
    const interval = toMilliseconds(options.interval ?? '10s', 'interval');
    this.#target = target;
    this.#clock = clock;
    this.#logger = logger;
    this.#limit = maxBufferBytes;
    this.#timeout = toMilliseconds(options.timeout ?? '10s', 'timeout', { min: 1 });
    this.#background = new Background({ logger });
    this.#outcomes = collector.counter({
      name: 'xiaoke_metrics_pushes_total',
      help: 'Requests with metrics, by what became of them.',
      labels: { target: String, outcome: ['sent', 'failed', 'dropped'] },
    });
    if (interval > 0) {
      const turn = (): void => this.#background.run(() => this.#turn(), `push metrics (${target.name})`);
      this.#interval = clock.setInterval(turn, interval).unref();
    }
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  async push(): Promise<void> {
    if (this.closed) throw new MetricsError('PUSH_FAILED', 'the pusher was closed');
    await this.#collect();
    await this.#send();
  }

  stats(): PushStats {
    return { ...this.#stats, pending: this.#queue.length, pendingBytes: this.#bytes };
  }

  healthIndicator(): HealthIndicator {
    return {
      name: `metrics-${this.#target.name}`,
      check: () =>
        Promise.resolve(
          this.#failures > 0 ? { status: 'degraded', code: 'PUSH_FAILED' } : { status: 'healthy' },
        ),
    };
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.#closed ??= this.#close(toMilliseconds(options.timeout ?? 5_000, 'timeout'));
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(timeout: number): Promise<void> {
    this.#interval?.cancel();
    this.#retry?.cancel();
    const limit = this.#clock.setTimeout(() => this.#closing.abort(), timeout);
    try {
      await this.#collect();
      if (this.#target.last !== undefined) this.#enqueue(this.#target.last());
      await this.#send();
    } catch {
      // Counted; there is no later any more.
    }
    limit.cancel();
    this.#retry?.cancel();
    this.#closing.abort();
    await this.#background.settled(100);
  }

  async #turn(): Promise<void> {
    await this.#collect();
    // While a pause after a failure lasts, what was collected waits.
    if (this.#retry === undefined) await this.#send().catch(() => {});
  }

  async #collect(): Promise<void> {
    const payloads = await this.#target.collect();
    if (this.#target.latestOnly) {
      this.#queue.length = 0;
      this.#bytes = 0;
    }
    for (const payload of payloads) this.#enqueue(payload);
  }

  #enqueue(payload: Payload): void {
    this.#queue.push(payload);
    this.#bytes += payload.bytes;
    while (this.#bytes > this.#limit && this.#queue.length > 1) this.#drop(this.#queue[0]);
  }

  #take(payload: Payload): void {
    const at = this.#queue.indexOf(payload);
    if (at < 0) return;
    this.#queue.splice(at, 1);
    this.#bytes -= payload.bytes;
  }

  #drop(payload: Payload | undefined): void {
    if (payload === undefined) return;
    this.#take(payload);
    this.#count('dropped');
  }

  #send(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = undefined));
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    this.#retry?.cancel();
    this.#retry = undefined;
    let refused: string | undefined;
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      const verdict = await this.#attempt(head);
      if (verdict.kind === 'retry') {
        this.#later(verdict.after);
        throw new MetricsError('PUSH_FAILED', verdict.reason);
      }
      this.#failures = 0;
      this.#take(head);
      this.#count(verdict.kind === 'sent' ? 'sent' : 'dropped');
      if (verdict.kind === 'sent') continue;
      this.#logger.warn({ target: this.#target.name, reason: verdict.reason }, 'metrics were refused');
      // What follows may be fine.
      if (verdict.kind === 'refused') refused ??= verdict.reason;
    }
    if (refused !== undefined) throw new MetricsError('PUSH_FAILED', refused);
  }

  async #attempt(payload: Payload): Promise<Verdict> {
    const limit = new AbortController();
    const timer = this.#clock.setTimeout(() => limit.abort(), this.#timeout).unref();
    try {
      const signal = AbortSignal.any([limit.signal, this.#closing.signal]);
      return this.#target.judge(await post(payload, signal));
    } catch (error) {
      const reason = error instanceof MetricsError ? error.message : 'the request failed';
      return { kind: 'retry', reason, after: undefined };
    } finally {
      timer.cancel();
    }
  }

  #later(after: number | undefined): void {
    this.#failures += 1;
    this.#count('failed');
    const pause = Math.min(FIRST_PAUSE * 2 ** Math.min(this.#failures - 1, 10), LONGEST_PAUSE);
    // Between half and all of it, so that many processes do not come back at once.
    const delay = after ?? pause / 2 + randomInt(Math.ceil(pause / 2));
    if (this.#failures === 1)
      this.#logger.warn({ target: this.#target.name }, 'metrics could not be pushed; trying again');
    if (this.closed) return;
    const again = (): void =>
      this.#background.run(() => this.#send().catch(() => {}), `push metrics again (${this.#target.name})`);
    this.#retry = this.#clock.setTimeout(again, Math.min(delay, LONGEST_PAUSE)).unref();
  }

  #count(outcome: 'sent' | 'failed' | 'dropped'): void {
    this.#stats[outcome] += 1;
    this.#outcomes.inc({ target: this.#target.name, outcome });
  }
}
